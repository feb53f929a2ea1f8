/** Where the visitor's own drawing stands on a map: amid the letters that the model finds most like it. Pure. */

const NEAREST = 1e-6; // as where the server places letters: one that lies on another goes where that is

/** What the address says of a drawing: the model's digest, and number and distance of each neighbour. */
export const writeMine = (neighbours, digest) => [digest, ...neighbours.map(({ index, distance }) => `${index}:${distance}`)].join(",");

/** {digest, neighbours} of what the address says; null where that makes no sense. */
export function readMine(text) {
  const [digest, ...pairs] = (text ?? "").split(",");
  const neighbours = pairs.map((pair) => pair.match(/^(\d{1,7}):(\d{1,6}(?:\.\d{1,6})?)$/)).map((found) => found && { index: Number(found[1]), distance: Number(found[2]) });
  return /^[0-9a-f]{12}$/.test(digest) && neighbours.length > 0 && !neighbours.includes(null) ? { digest, neighbours } : null;
}

/** Its place on a map: the mean of its neighbours' places, the nearer the heavier. null where the map shows none of what that model sees. */
export function placeMine(mine, map, points) {
  if (!mine || !map.models.includes(mine.digest) || mine.neighbours.some(({ index }) => index >= points.emnist)) return null;
  const weights = mine.neighbours.map(({ distance }) => 1 / (distance + NEAREST));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  return [0, 1].map((axis) => mine.neighbours.reduce((sum, { index }, at) => sum + weights[at] * points.places[2 * index + axis], 0) / whole);
}
