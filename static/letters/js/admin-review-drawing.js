/** A drawing as a crisp picture of its strokes, which can be seen drawn again. */

import { schedule } from "./geometry.js";
import { isCalm } from "./motion.js";

const SVG = "http://www.w3.org/2000/svg";
const PEN = 0.036; // of the canvas's side, as on the visitor's sheet
const RULES = [0.18, 0.46, 0.74, 0.92]; // of the sheet's height, as the visitor saw them
const LONGEST = 1600; // ms that a letter takes to be drawn again, however long it took

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The square around the ink: small letters are shown larger, though not so large that they seem big. */
export function frameOf(strokes, { width, height }) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const sheet = Math.max(width, height);
  const side = Math.max(1.3 * Math.max(right - left, bottom - top) + 2 * PEN * sheet, 0.62 * sheet);
  return { x: (left + right - side) / 2, y: (top + bottom - side) / 2, side };
}

const rounded = (value) => Math.round(value * 100) / 100;

function pathOf(stroke) {
  const [[x, y], ...rest] = stroke;
  const lines = rest.length ? rest.map((point) => `L${rounded(point[0])} ${rounded(point[1])}`).join("") : "h0.01";
  return `M${rounded(x)} ${rounded(y)}${lines}`;
}

/** The picture of a card: its strokes with the sheet's lines behind, or the image alone where there are no strokes. */
export function picture(card) {
  if (card.strokes.length === 0) {
    return Object.assign(document.createElement("img"), { src: card.image, className: "rv-pixels", alt: "" });
  }
  const { x, y, side } = frameOf(card.strokes, card.canvas);
  const drawn = node("svg", { viewBox: `${x} ${y} ${side} ${side}`, class: "rv-ink", "aria-hidden": "true", focusable: "false" });
  const sheet = Math.max(card.canvas.width, card.canvas.height);
  if (card.source === "canvas") {
    for (const share of RULES) {
      const height = share * card.canvas.height;
      drawn.append(node("line", { x1: x, x2: x + side, y1: height, y2: height, class: "rv-rule" }));
    }
  }
  const pen = { "stroke-width": PEN * sheet };
  drawn.append(node("path", { d: card.strokes.map(pathOf).join(""), class: "rv-ghost", ...pen }));
  for (const stroke of card.strokes) {
    drawn.append(node("path", { d: pathOf(stroke), pathLength: 1, class: "rv-stroke", ...pen }));
  }
  return drawn;
}

/** Draw it again, stroke by stroke, in the time that it took. Does nothing where motion is not wanted. */
export function replay(drawn, card) {
  if (isCalm() || card.strokes.length === 0) return;
  const times = schedule(card.strokes);
  const speed = Math.max(1, times.at(-1).at(-1) / LONGEST);
  drawn.querySelectorAll(".rv-stroke").forEach((path, index) => {
    path.getAnimations().forEach((each) => each.cancel());
    const [start, end] = [times[index][0] / speed, times[index].at(-1) / speed];
    path.style.strokeDasharray = "1 2";
    const drawing = path.animate(
      [
        { strokeDashoffset: 1, opacity: 0 },
        { strokeDashoffset: 1, opacity: 1, offset: 0.001 },
        { strokeDashoffset: 0, opacity: 1 },
      ],
      { delay: start, duration: Math.max(30, end - start), fill: "backwards" },
    );
    drawing.onfinish = drawing.oncancel = () => path.style.removeProperty("stroke-dasharray");
  });
}
