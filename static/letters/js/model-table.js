/** A table whose headings sort it. */

/** The rows in order; one without a value stands last, whichever way. `of` gives a row's value, null for none. */
export function ordered(rows, of, descending) {
  const known = rows.filter((row) => of(row) !== null);
  const unknown = rows.filter((row) => of(row) === null);
  return [...known.sort((a, b) => (descending ? of(b) - of(a) : of(a) - of(b))), ...unknown];
}

/** Put a button into each heading. The first click on a figure shows the lowest first: what is weak is what one looks for. */
export function sortable(table) {
  const headings = [...table.tHead.querySelectorAll("th")];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, headings, column));
    heading.append(button);
  });
  headings[0].setAttribute("aria-sort", "ascending");
}

function sort(table, headings, column) {
  const descending = headings[column].getAttribute("aria-sort") === "ascending";
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => {
    const held = row.cells[column].dataset.value;
    return held === "" || held === undefined ? null : Number(held);
  };
  table.tBodies[0].append(...ordered([...table.tBodies[0].rows], value, descending));
}
