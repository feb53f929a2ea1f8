/**
 * Pure functions on strokes.
 *
 * A stroke is a list of points [x, y, t] or [x, y, t, pressure]: x and y as a share of the sheet's side (0 to 1), so that
 * a drawing survives any change of the sheet's size; t in milliseconds from the drawing's first point; pressure 0 to 1.
 */

export function countPoints(strokes) {
  return strokes.reduce((total, stroke) => total + stroke.length, 0);
}

/** The smallest box around all ink, or null where there is none. */
export function boundsOf(strokes) {
  if (countPoints(strokes) === 0) return null;
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const [x, y] of strokes.flat()) {
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  return box;
}

function distanceToSegment([px, py], [ax, ay], [bx, by]) {
  const dx = bx - ax;
  const dy = by - ay;
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.min(1, Math.max(0, ((px - ax) * dx + (py - ay) * dy) / length));
  return Math.hypot(px - ax - along * dx, py - ay - along * dy);
}

/** A stroke with the points left out that lie within `tolerance` of the rest (Ramer, Douglas and Peucker). */
export function simplify(stroke, tolerance) {
  if (stroke.length < 3) return stroke;
  const kept = new Set([0, stroke.length - 1]);
  const open = [[0, stroke.length - 1]]; // a stack: a long stroke would exhaust recursion
  while (open.length > 0) {
    const [first, last] = open.pop();
    let farthest = -1;
    let distance = tolerance;
    for (let index = first + 1; index < last; index += 1) {
      const away = distanceToSegment(stroke[index], stroke[first], stroke[last]);
      if (away > distance) [farthest, distance] = [index, away];
    }
    if (farthest < 0) continue;
    kept.add(farthest);
    open.push([first, farthest], [farthest, last]);
  }
  return stroke.filter((_, index) => kept.has(index));
}

/** The strokes with no more than `budget` points in all, the least telling points left out first. */
export function thin(strokes, budget) {
  let thinned = strokes;
  for (let tolerance = 0.0005; countPoints(thinned) > budget && tolerance < 0.05; tolerance *= 1.6) {
    thinned = thinned.map((stroke) => simplify(stroke, tolerance));
  }
  while (countPoints(thinned) > budget) {
    const before = countPoints(thinned);
    thinned = thinned.map((stroke) => stroke.filter((_, index) => index % 2 === 0 || index === stroke.length - 1));
    if (countPoints(thinned) === before) break;
  }
  return thinned;
}

const rounded = (value, digits) => Number(value.toFixed(digits));

function scaledPoint([x, y, t, pressure], size) {
  const point = [rounded(x * size, 2), rounded(y * size, 2), Math.round(t)];
  return pressure === undefined ? point : [...point, rounded(pressure, 3)];
}

/** A drawing as the API takes it: strokes in pixels of a canvas whose size goes with them. */
export function toPayload(strokes, size) {
  return {
    strokes: strokes.map((stroke) => stroke.map((point) => scaledPoint(point, size))),
    canvas: { width: rounded(size, 2), height: rounded(size, 2) },
  };
}

/** Strokes of the API on a square sheet: as large as they were on their canvas, in its middle where it was not square. */
export function fromPayload({ strokes, canvas }) {
  const size = Math.max(canvas.width, canvas.height);
  const left = (size - canvas.width) / 2;
  const top = (size - canvas.height) / 2;
  return strokes.map((stroke) => stroke.map(([x, y, ...rest]) => [(x + left) / size, (y + top) / size, ...rest]));
}

/** When each point was drawn, in ms from the start, with pauses between strokes shortened; evenly where no times are known. */
export function schedule(strokes, { pause = 350, step = 12 } = {}) {
  let clock = 0;
  return strokes.map((stroke) => {
    const timed = stroke.every(([, , t]) => Number.isFinite(t));
    const start = clock;
    const times = stroke.map((point, index) => start + (timed ? Math.max(0, point[2] - stroke[0][2]) : index * step));
    clock = Math.max(...times, start) + pause;
    return times;
  });
}
