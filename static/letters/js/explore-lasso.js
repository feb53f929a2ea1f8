/** Points within a line drawn around them. Pure. */

import { visitBox } from "./explore-grid.js";

/** Whether a place is within a polygon, by how often a ray to the right crosses its sides. */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let here = 0, before = polygon.length - 1; here < polygon.length; before = here, here += 1) {
    const [ax, ay] = polygon[here];
    const [bx, by] = polygon[before];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

function boxAround(polygon) {
  const [xs, ys] = [0, 1].map((axis) => polygon.map((place) => place[axis]));
  return { left: Math.min(...xs), right: Math.max(...xs), top: Math.max(...ys), bottom: Math.min(...ys) };
}

/** The numbers of the shown points within a polygon of the plane, in their own order. */
export function within(grid, polygon, shown) {
  if (polygon.length < 3) return [];
  const found = [];
  visitBox(grid, boxAround(polygon), (index, x, y) => {
    if (shown[index] !== 0 && isInside(polygon, x, y)) found.push(index);
  });
  return found.sort((a, b) => a - b);
}

/** How many of which class, the most first: [[class number, count], ...]. */
export function countByLabel(points, indices) {
  const counts = new Map();
  for (const index of indices) counts.set(points.label[index], (counts.get(points.label[index]) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}
