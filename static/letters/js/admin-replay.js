// The admin's page of a drawing: its strokes drawn again, in the order and, where known, the time in which they came.

const STEP = 12; // ms from point to point where the drawing has no times

function drawUpTo(canvas, strokes, elapsed) {
  const context = canvas.getContext("2d");
  const scale = Math.min(canvas.width / canvas.dataset.width, canvas.height / canvas.dataset.height);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineWidth = Math.max(2, 0.035 * canvas.width);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = getComputedStyle(canvas).color;
  for (const stroke of strokes) {
    const visible = stroke.filter((point) => point.at <= elapsed);
    if (!visible.length) continue;
    context.beginPath();
    context.moveTo(visible[0].x * scale, visible[0].y * scale);
    for (const point of visible) context.lineTo(point.x * scale, point.y * scale);
    context.stroke();
  }
}

function timed(strokes) {
  let count = 0;
  return strokes.map((stroke) => stroke.map(([x, y, t]) => ({ x, y, at: t ?? STEP * count++ })));
}

function replay(canvas) {
  const strokes = timed(JSON.parse(canvas.dataset.strokes));
  const end = Math.max(0, ...strokes.flat().map((point) => point.at));
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    drawUpTo(canvas, strokes, end);
    return;
  }
  const start = performance.now();
  const speed = Math.max(1, end / 4000); // a letter that took long is shown in four seconds
  const step = (now) => {
    const elapsed = (now - start) * speed;
    drawUpTo(canvas, strokes, elapsed);
    if (elapsed < end) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

addEventListener("DOMContentLoaded", () => {
  for (const canvas of document.querySelectorAll("canvas.letter-replay")) {
    replay(canvas);
    canvas.parentElement.querySelector(".letter-replay-again").addEventListener("click", () => replay(canvas));
  }
});
