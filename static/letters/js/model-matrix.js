/** A confusion matrix that is walked with the arrow keys, a mouse or a finger, and says what the cell holds. */

const SVG = "http://www.w3.org/2000/svg";

/** Where a key leads from a cell on a square of `size`; null for a key that leads nowhere. */
export function step(key, { row, column }, size, control = false) {
  const last = size - 1;
  const clamped = (value) => Math.min(last, Math.max(0, value));
  switch (key) {
    case "ArrowUp": return { row: clamped(row - 1), column };
    case "ArrowDown": return { row: clamped(row + 1), column };
    case "ArrowLeft": return { row, column: clamped(column - 1) };
    case "ArrowRight": return { row, column: clamped(column + 1) };
    case "Home": return { row: control ? 0 : row, column: 0 };
    case "End": return { row: control ? last : row, column: last };
    case "PageUp": return { row: 0, column };
    case "PageDown": return { row: last, column };
    default: return null;
  }
}

/** What a cell holds, in words. */
export function words({ row, column }, { classes, matrix }) {
  const total = matrix[row].reduce((sum, count) => sum + count, 0);
  const read = row === column ? `${classes[row]} read right` : `${classes[row]} read as ${classes[column]}`;
  return `${read}, ${matrix[row][column]} of ${total}`;
}

/** The most frequent mistake: where one begins. */
export function worst({ matrix }) {
  let found = { row: 0, column: 0, count: -1 };
  matrix.forEach((counts, row) => counts.forEach((count, column) => {
    if (row !== column && count > found.count) found = { row, column, count };
  }));
  return { row: found.row, column: found.column };
}

/** Make a grid of the picture: one cell can be focused at a time, and `says` tells which. */
export function walkable(svg, says, config) {
  const size = config.matrix.length;
  const marks = [shape("across"), shape("across"), shape("at")];
  const cells = gridOf(svg, config);
  const names = { side: [...svg.parentNode.querySelectorAll(".matrix-side text")], top: [...svg.querySelectorAll(".matrix-top text")] };
  let here = worst(config);
  let shown = null;
  cells[here.row][here.column].tabIndex = 0;
  svg.append(...marks);
  for (const mark of marks) mark.setAttribute("hidden", "");

  function show(cell) {
    if (shown && shown.row === cell.row && shown.column === cell.column) return;
    if (shown) for (const name of [names.side[shown.row], names.top[shown.column]]) name.classList.remove("here");
    shown = cell;
    says.textContent = words(cell, config);
    place(marks[0], { x: 0, y: cell.row, width: size, height: 1 });
    place(marks[1], { x: cell.column, y: 0, width: 1, height: size });
    place(marks[2], { x: cell.column, y: cell.row, width: 1, height: 1 });
    for (const name of [names.side[cell.row], names.top[cell.column]]) name.classList.add("here");
  }

  function go(cell) {
    cells[here.row][here.column].tabIndex = -1;
    here = cell;
    const target = cells[cell.row][cell.column];
    target.tabIndex = 0;
    target.focus({ preventScroll: true });
    bringIntoView(svg.parentNode, target);
  }

  function cellOf(node) {
    if (node.getAttribute("role") !== "gridcell") return null;
    return { row: Number(node.getAttribute("y")), column: Number(node.getAttribute("x")) };
  }

  svg.addEventListener("focusin", (event) => { const cell = cellOf(event.target); if (cell) show(cell); });
  svg.addEventListener("pointerover", (event) => { const cell = cellOf(event.target); if (cell) show(cell); });
  svg.addEventListener("click", (event) => { const cell = cellOf(event.target); if (cell) go(cell); });
  svg.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey) return;
    const next = step(event.key, here, size, event.ctrlKey);
    if (!next) return;
    event.preventDefault();
    go(next);
  });
}

/** Rows of cells with their roles, also of what was never read; the titles go, since `says` tells more at once. */
function gridOf(svg, { classes, matrix }) {
  const rows = [...svg.querySelectorAll("[data-row]")];
  const cells = rows.map((group, row) => {
    const there = new Map([...group.children].map((cell) => [Number(cell.getAttribute("x")), cell]));
    const all = classes.map((_, column) => there.get(column) ?? shape("none", { x: column, y: row, width: 1, height: 1 }));
    all.forEach((cell, column) => {
      cell.replaceChildren();
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", column + 1);
      cell.tabIndex = -1;
    });
    group.replaceChildren(...all);
    group.setAttribute("role", "row");
    group.setAttribute("aria-rowindex", row + 1);
    return all;
  });
  svg.setAttribute("role", "grid");
  svg.setAttribute("aria-label", "Confusion matrix: the arrow keys move from cell to cell");
  svg.setAttribute("aria-rowcount", matrix.length);
  svg.setAttribute("aria-colcount", matrix.length);
  return cells;
}

function shape(className, places = {}) {
  const made = document.createElementNS(SVG, "rect");
  made.setAttribute("class", className);
  place(made, places);
  return made;
}

function place(node, places) {
  node.removeAttribute("hidden");
  for (const [name, value] of Object.entries(places)) node.setAttribute(name, value);
}

/** The rows' names stand before the cells, and cover some of them while the picture is scrolled. */
function bringIntoView(scroller, cell) {
  cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  const [frame, box] = [scroller.getBoundingClientRect(), cell.getBoundingClientRect()];
  const covered = scroller.firstElementChild.getBoundingClientRect().width;
  if (box.left < frame.left + covered) scroller.scrollLeft -= frame.left + covered - box.left + box.width;
  else if (box.right > frame.right) scroller.scrollLeft += box.right - frame.right + box.width;
}
