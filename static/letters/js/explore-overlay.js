/** What is drawn over the points: the letters' names, the lasso, marks, and the visitor's own drawing. */

import { toScreen } from "./explore-camera.js";
import { colour, prepare } from "./ink.js";

const OWN_WORDS = "your drawing";

/** Draw all of it. Places are of the plane, the lasso's line is of the screen. */
export function drawOverlay(canvas, view, size, { names, classes, marked, mine, line, hasCross }) {
  const context = cleared(canvas, size);
  const paint = { context, ink: colour("--ink"), paper: colour("--card"), serif: colour("--serif"), accent: colour("--accent") };
  const onScreen = (place) => toScreen(view, size, place);
  for (const { number, place } of names) drawName(paint, classes[number], onScreen(place), nameSize(view, size));
  if (marked) ring(paint, onScreen(marked), 11, paint.ink);
  if (mine) drawOwn(paint, onScreen(mine));
  if (line?.length > 1) drawLine(paint, line);
  if (hasCross) drawCross(paint, size);
}

/** The canvas, empty: only made anew where its size changed, which costs more than all that is drawn on it. */
function cleared(canvas, { width, height }) {
  const isAsItWas = canvas.dataset.size === `${width} ${height} ${window.devicePixelRatio}`;
  canvas.dataset.size = `${width} ${height} ${window.devicePixelRatio}`;
  const context = isAsItWas ? canvas.getContext("2d") : prepare(canvas, width, height);
  context.clearRect(0, 0, width, height);
  return context;
}

const nameSize = (view, { width, height }) => Math.min(30, Math.max(14, Math.min(width, height) / 34) * Math.max(1, view.zoom) ** 0.25);

/** A little above the thick of its crowd, which would be hidden by it. */
function drawName({ context, ink, paper, serif }, label, [x, crowd], height) {
  const y = crowd - 0.85 * height;
  context.font = `700 ${height}px ${serif}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 5;
  context.strokeStyle = paper;
  context.fillStyle = ink;
  context.strokeText(label, x, y);
  context.fillText(label, x, y);
}

function ring({ context, paper }, [x, y], radius, stroke) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 6;
  context.strokeStyle = paper;
  context.stroke();
  context.lineWidth = 2.5;
  context.strokeStyle = stroke;
  context.stroke();
}

function drawOwn(paint, [x, y]) {
  const { context, ink, paper } = paint;
  ring(paint, [x, y], 12, ink);
  context.beginPath();
  context.arc(x, y, 4, 0, 2 * Math.PI);
  context.fillStyle = ink;
  context.fill();
  context.font = `italic 600 16px ${paint.serif}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.lineWidth = 5;
  context.strokeStyle = paper;
  context.strokeText(OWN_WORDS, x + 20, y);
  context.fillText(OWN_WORDS, x + 20, y);
}

function drawLine({ context, accent }, line) {
  context.beginPath();
  line.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.globalAlpha = 0.12;
  context.fillStyle = accent;
  context.fill();
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.strokeStyle = accent;
  context.setLineDash([6, 4]);
  context.stroke();
  context.setLineDash([]);
}

/** Where Enter looks, for those who steer by keys. */
function drawCross({ context, ink }, { width, height }) {
  const [x, y] = [width / 2, height / 2];
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 5 * dx, y + 5 * dy);
    context.lineTo(x + 14 * dx, y + 14 * dy);
  }
  context.lineWidth = 2;
  context.strokeStyle = ink;
  context.stroke();
}
