/** The points of a map, as they come over the wire and as the page holds them. Pure. */

const PLANE = 32767; // a place on the wire is a whole number in -PLANE..PLANE
const COLLECTED = 1;
const SUSPECTED = 2;
const ID_BYTES = 16;

/**
 * Columns from the API's bytes, little-endian, one after the other: places, label, predicted, probability, flags, and for
 * collected letters their drawing's UUID. Throws RangeError where the length fits no whole number of points.
 */
export function decode(buffer, { withIds = false } = {}) {
  const size = withIds ? 8 + ID_BYTES : 8;
  const count = buffer.byteLength / size;
  if (!Number.isInteger(count)) throw new RangeError(`${buffer.byteLength} bytes are no whole number of points`);
  const column = (number) => new Uint8Array(buffer, (4 + number) * count, count);
  return {
    count,
    places: Float32Array.from(new Int16Array(buffer, 0, 2 * count), (value) => value / PLANE),
    label: column(0),
    predicted: column(1),
    probability: column(2),
    flags: column(3),
    ids: withIds ? new Uint8Array(buffer, 8 * count, ID_BYTES * count) : new Uint8Array(0),
  };
}

/** EMNIST's points, then the collected ones, so that the number of an EMNIST point is its tile on the sheets. */
export function join(emnist, collected) {
  const both = (name, Kind) => {
    const whole = new Kind(emnist[name].length + collected[name].length);
    whole.set(emnist[name]);
    whole.set(collected[name], emnist[name].length);
    return whole;
  };
  return {
    count: emnist.count + collected.count,
    emnist: emnist.count,
    places: both("places", Float32Array),
    label: both("label", Uint8Array),
    predicted: both("predicted", Uint8Array),
    probability: both("probability", Uint8Array),
    flags: both("flags", Uint8Array),
    ids: collected.ids,
  };
}

export const isCollected = (points, index) => (points.flags[index] & COLLECTED) !== 0;
export const isSuspected = (points, index) => (points.flags[index] & SUSPECTED) !== 0;
export const isMistaken = (points, index) => points.label[index] !== points.predicted[index];
export const confidence = (points, index) => points.probability[index] / 255;
export const placeOf = (points, index) => [points.places[2 * index], points.places[2 * index + 1]];

/** The drawing of a collected point, as its UUID is written; null for a letter of EMNIST. */
export function drawingOf(points, index) {
  const start = (index - points.emnist) * ID_BYTES;
  if (start < 0) return null;
  const hex = Array.from(points.ids.subarray(start, start + ID_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** How many points each of the margin's switches is about. */
export function countsOf(points) {
  const counts = { emnist: 0, collected: 0, mistakes: 0, suspected: 0 };
  for (let index = 0; index < points.count; index += 1) {
    counts[isCollected(points, index) ? "collected" : "emnist"] += 1;
    if (isMistaken(points, index)) counts.mistakes += 1;
    if (isSuspected(points, index)) counts.suspected += 1;
  }
  return counts;
}

/** One row a class that has points: how many of which source, how many are read right, and what it is mostly taken for. */
export function tally(points, classes) {
  const rows = classes.map((label) => ({ label, emnist: 0, collected: 0, right: 0, suspected: 0, taken: new Map() }));
  for (let index = 0; index < points.count; index += 1) {
    const row = rows[points.label[index]];
    row[isCollected(points, index) ? "collected" : "emnist"] += 1;
    if (isSuspected(points, index)) row.suspected += 1;
    if (!isMistaken(points, index)) row.right += 1;
    else row.taken.set(points.predicted[index], (row.taken.get(points.predicted[index]) ?? 0) + 1);
  }
  return rows.filter((row) => row.emnist + row.collected > 0).map(({ taken, ...row }) => ({ ...row, mostly: mostOf(taken, classes) }));
}

function mostOf(taken, classes) {
  const [most] = [...taken].sort((a, b) => b[1] - a[1]);
  return most ? classes[most[0]] : null;
}
