/** Small motions that mean something; none where the visitor asked for none. */

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

export const isCalm = () => calm.matches;

/** A copy of the drawing on a leaf of paper folds into the sheet's corner. */
export function foldAway(frame, canvas) {
  if (isCalm() || !frame.animate) return;
  const leaf = document.createElement("div");
  leaf.className = "leaf";
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  copy.getContext("2d").drawImage(canvas, 0, 0);
  leaf.append(copy);
  frame.append(leaf);
  const folding = leaf.animate(
    [
      { transform: "none", clipPath: "polygon(0 0, 100% 0, 100% 100%, 100% 100%, 0 100%)" },
      { transform: "scale(0.9) rotate(2deg)", clipPath: "polygon(0 0, 100% 0, 100% 100%, 62% 100%, 0 38%)", offset: 0.4 },
      { transform: "scale(0.08) rotate(14deg)", clipPath: "polygon(0 0, 100% 0, 100% 100%, 100% 100%, 0 0)", opacity: 0.6 },
    ],
    { duration: 520, easing: "cubic-bezier(0.5, 0, 0.4, 1)" },
  );
  folding.onfinish = folding.oncancel = () => leaf.remove();
}

/** Call `step(share)` with 0 to 1 over `duration` ms, eased; at once with 1 where motion is not wanted. Returns a stop. */
export function glide(duration, step) {
  if (isCalm()) {
    step(1);
    return () => {};
  }
  const start = performance.now();
  let frame = requestAnimationFrame(function tick(now) {
    const share = Math.min(1, Math.max(0, (now - start) / duration));
    step(1 - (1 - share) ** 3);
    if (share < 1) frame = requestAnimationFrame(tick);
  });
  return () => cancelAnimationFrame(frame);
}
