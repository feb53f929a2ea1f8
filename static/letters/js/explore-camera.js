/**
 * Which part of the map is on the screen. Pure.
 *
 * A view is {x, y, zoom}: the place of the plane (-1..1, up is up) in the middle of the screen, and how often larger than
 * at zoom 1, where the whole plane is seen. A size is {width, height} in CSS pixels.
 */

export const WHOLE = Object.freeze({ x: 0, y: 0, zoom: 1 });
const MARGIN = 0.94; // of the shorter side is the plane's at zoom 1
const ZOOM = [0.7, 250];
const EDGE = 1.2; // the middle of the screen stays within this much of the plane

const between = (low, value, high) => Math.min(high, Math.max(low, value));

/** CSS pixels for one unit of the plane. */
export const scaleOf = (view, { width, height }) => (view.zoom * MARGIN * Math.min(width, height)) / 2;

export function toScreen(view, size, [x, y]) {
  const scale = scaleOf(view, size);
  return [size.width / 2 + (x - view.x) * scale, size.height / 2 - (y - view.y) * scale];
}

export function toPlane(view, size, [left, top]) {
  const scale = scaleOf(view, size);
  return [view.x + (left - size.width / 2) / scale, view.y - (top - size.height / 2) / scale];
}

/** A view that is allowed: not lost beside the map, nor nearer than the points are apart. */
export const held = ({ x, y, zoom }) => ({ x: between(-EDGE, x, EDGE), y: between(-EDGE, y, EDGE), zoom: between(ZOOM[0], zoom, ZOOM[1]) });

/** The view after the map was dragged by so many pixels. */
export function pan(view, size, [right, down]) {
  const scale = scaleOf(view, size);
  return held({ ...view, x: view.x - right / scale, y: view.y + down / scale });
}

/** The view `factor` times nearer, with what is at `at` on the screen staying there. */
export function zoomAt(view, size, factor, at = [size.width / 2, size.height / 2]) {
  const [x, y] = toPlane(view, size, at);
  const zoom = between(ZOOM[0], view.zoom * factor, ZOOM[1]);
  const ratio = view.zoom / zoom;
  return held({ x: x + (view.x - x) * ratio, y: y + (view.y - y) * ratio, zoom });
}

/** The box of the plane that is seen. */
export function seen(view, size) {
  const [left, top] = toPlane(view, size, [0, 0]);
  const [right, bottom] = toPlane(view, size, [size.width, size.height]);
  return { left, right, top, bottom };
}

/** CSS pixels across a point: the fewer there are on the screen, and the nearer one looks, the larger. */
export function pointSize(count, view, { width, height }) {
  const room = Math.sqrt((width * height * 0.3) / Math.max(1, count));
  return between(2, between(2.4, room, 9) * Math.max(1, view.zoom) ** 0.42, 18);
}
