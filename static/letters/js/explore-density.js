/** How large points are drawn by how crowded it is around them. Pure. */

const SIDE = 64; // cells on a side
const POWER = 0.22; // of how many times as crowded
const LEAST = 0.62; // of the size of all
const MOST = 1.5;
export const FULL = 2; // times that size, as 255

/** One byte a point, FULL as 255: smaller in a crowd, larger where few of the points `indices` stand. */
export function sizesOf(places, indices) {
  const cell = (value) => Math.min(SIDE - 1, Math.max(0, Math.floor(((value + 1) / 2) * SIDE)));
  const cells = new Uint16Array(places.length / 2);
  const counts = new Float32Array(SIDE * SIDE);
  for (const index of indices) {
    cells[index] = cell(places[2 * index]) + SIDE * cell(places[2 * index + 1]);
    counts[cells[index]] += 1;
  }
  const crowd = blurred(blurred(counts, 1), SIDE);
  let usual = 0;
  for (const index of indices) usual += Math.log(crowd[cells[index]]);
  usual = Math.exp(usual / Math.max(1, indices.length));
  const byCell = Uint8Array.from(crowd, (count) => {
    const factor = count > 0 ? Math.min(MOST, Math.max(LEAST, (usual / count) ** POWER)) : 1;
    return Math.round((factor / FULL) * 255);
  });
  const sizes = new Uint8Array(cells.length);
  for (let index = 0; index < cells.length; index += 1) sizes[index] = byCell[cells[index]];
  return sizes;
}

/** Each cell with half of its two neighbours along an axis, so that no edge of a cell is seen; `step` is 1 or SIDE. */
function blurred(counts, step) {
  return counts.map((count, at) => {
    const along = step === 1 ? at % SIDE : Math.floor(at / SIDE);
    const before = along > 0 ? counts[at - step] : 0;
    const after = along < SIDE - 1 ? counts[at + step] : 0;
    return count / 2 + (before + after) / 4;
  });
}
