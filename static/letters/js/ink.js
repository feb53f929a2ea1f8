/** Ink on a 2-D canvas. */

const WIDTH = 0.036; // of the sheet's side: a felt pen
const MAX_RATIO = 3;

/** The width of the ink at a point, in pixels: pressure thins or thickens it a little. */
const widthAt = ([, , , pressure], size) => WIDTH * size * (pressure === undefined ? 1 : 0.55 + 0.9 * pressure);

/** Make the canvas as fine as the screen and return its context, scaled to CSS pixels. */
export function prepare(canvas, width, height = width) {
  const ratio = Math.min(MAX_RATIO, window.devicePixelRatio || 1);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** The current value of one of the page's colours, such as "--ink". */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawDot(context, point, size) {
  context.beginPath();
  context.arc(point[0] * size, point[1] * size, widthAt(point, size) / 2, 0, 2 * Math.PI);
  context.fill();
}

/**
 * Draw what a stroke gained from its point number `from` on. Its bends are curves through the middles of its segments; its
 * corners stay corners. Where the width does not vary it is one path, so that no edge is smoothed twice.
 */
export function drawStroke(context, stroke, size, from = 0) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour("--ink");
  context.lineWidth = widthAt(stroke[0], size);
  if (stroke.length === 1) drawDot(context, stroke[0], size);
  const varies = stroke[0].length > 3;
  context.beginPath();
  for (let index = Math.max(1, from); index < stroke.length; index += 1) {
    if (varies) {
      context.lineWidth = (widthAt(stroke[index - 1], size) + widthAt(stroke[index], size)) / 2;
      context.beginPath();
    }
    traceSegment(context, stroke[index - 2], stroke[index - 1], stroke[index], size);
    if (varies) context.stroke();
  }
  if (!varies) context.stroke();
}

function traceSegment(context, earlier, before, here, size) {
  if (earlier && isBend(earlier, before, here)) {
    const [start, end] = [middle(earlier, before), middle(before, here)];
    context.moveTo(start[0] * size, start[1] * size);
    context.quadraticCurveTo(before[0] * size, before[1] * size, end[0] * size, end[1] * size);
  } else context.moveTo(before[0] * size, before[1] * size);
  context.lineTo(here[0] * size, here[1] * size); // the next curve starts at the middle and covers this end
}

const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

/** Whether the way through `b` turns by less than 60 degrees. */
function isBend(a, b, c) {
  const [ax, ay, cx, cy] = [b[0] - a[0], b[1] - a[1], c[0] - b[0], c[1] - b[1]];
  return ax * cx + ay * cy > 0.5 * Math.hypot(ax, ay) * Math.hypot(cx, cy);
}

export function drawAll(context, strokes, size) {
  context.clearRect(0, 0, size, size);
  for (const stroke of strokes) drawStroke(context, stroke, size);
}
