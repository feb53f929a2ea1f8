/** Points found by their place: a grid over the plane, filled once, asked many times. Pure. */

const LARGEST = 512; // cells on a side
const PER_CELL = 2;

/** A grid over `places` (x, y, x, y ...), all of them within -1..1 or put into the cell at the edge. */
export function makeGrid(places) {
  const count = places.length / 2;
  const side = Math.min(LARGEST, Math.max(1, Math.round(Math.sqrt(count / PER_CELL))));
  const cells = new Uint32Array(count);
  const starts = new Uint32Array(side * side + 1);
  for (let index = 0; index < count; index += 1) {
    cells[index] = cellAt(places[2 * index], side) + side * cellAt(places[2 * index + 1], side);
    starts[cells[index] + 1] += 1;
  }
  for (let cell = 0; cell < side * side; cell += 1) starts[cell + 1] += starts[cell];
  const next = starts.slice();
  const order = new Uint32Array(count);
  for (let index = 0; index < count; index += 1) order[next[cells[index]]++] = index;
  return { places, side, starts, order };
}

const cellAt = (value, side) => Math.min(side - 1, Math.max(0, Math.floor(((value + 1) / 2) * side)));

/** Call `visit(index, x, y)` for every point in the cells that a box of the plane touches. */
export function visitBox({ places, side, starts, order }, { left, right, top, bottom }, visit) {
  for (let row = cellAt(bottom, side); row <= cellAt(top, side); row += 1) {
    const first = starts[row * side + cellAt(left, side)];
    const last = starts[row * side + cellAt(right, side) + 1];
    for (let at = first; at < last; at += 1) visit(order[at], places[2 * order[at]], places[2 * order[at] + 1]);
  }
}

/** The point nearest to a place, no farther than `reach`, among those that `shown` marks; -1 where there is none. */
export function nearest(grid, [x, y], reach, shown) {
  let found = -1;
  let least = reach * reach;
  visitBox(grid, { left: x - reach, right: x + reach, top: y + reach, bottom: y - reach }, (index, px, py) => {
    const away = (px - x) ** 2 + (py - y) ** 2;
    if (shown[index] === 0 || away > least) return;
    if (away === least && index < found) return; // of two in one place the one drawn on top
    found = index;
    least = away;
  });
  return found;
}
