/** The picture of a letter on the map: its tile on a sheet, its own image, or the letter itself where there is none. */

import { drawingOf, isCollected } from "./explore-data.js";
import { element } from "./dom.js";

/** Which sheet a letter of EMNIST is on, and where, in tiles. Pure. */
export function tileOf(index, { columns, rows }) {
  const onSheet = index % (columns * rows);
  return { sheet: Math.floor(index / (columns * rows)), column: onSheet % columns, row: Math.floor(onSheet / columns) };
}

/** An element of `pixels` on a side that shows point `index` of a map. */
export function thumbnail(map, points, index, classes, pixels) {
  if (!isCollected(points, index)) return emnistThumbnail(map, index, classes[points.label[index]], pixels);
  const image = { src: `/samples/${drawingOf(points, index)}.png`, alt: "", width: pixels, height: pixels, decoding: "async" };
  return inked(element("img", image), pixels);
}

/** The same for a letter of EMNIST; as text where `map` is null or has no images. */
export function emnistThumbnail(map, index, label, pixels) {
  if (map?.has_images) return inked(tile(map, tileOf(index, map.sheets), pixels), pixels);
  return sized(element("span", { className: "thumb" }, element("span", { className: "thumb-letter", textContent: label })), pixels);
}

function inked(picture, pixels) {
  return sized(element("span", { className: "thumb inked" }, picture), pixels);
}

function sized(node, pixels) {
  node.style.width = node.style.height = `${pixels}px`;
  node.style.fontSize = `${Math.round(pixels * 0.62)}px`;
  return node;
}

function tile({ id, sheets }, { sheet, column, row }, pixels) {
  const shown = element("span", { className: "tile" });
  shown.style.backgroundImage = `url("/api/v1/maps/${id}/sheets/${sheet}")`;
  shown.style.backgroundSize = `${sheets.columns * pixels}px ${sheets.rows * pixels}px`;
  shown.style.backgroundPosition = `${-column * pixels}px ${-row * pixels}px`;
  return shown;
}
