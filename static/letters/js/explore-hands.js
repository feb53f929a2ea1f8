/** Mouse, pen, fingers, wheel and keys on the map, as calls: pan, zoom, hover, pick, lasso. */

const STILL = 6; // px that a press may move and still be a click
const WHEEL = 0.0018; // share of a zoom by one pixel of the wheel
const STEP = 64; // px of an arrow key

/**
 * Listen on `canvas`. `does` has pan([right, down]), zoom(factor, at), hover(at | null, kind), pick(at, kind),
 * lasso(line, isDone) and key functions whole(), pickMiddle(), leave(). `isLasso()` says whether a press draws a line.
 */
export function listen(canvas, does, isLasso) {
  const pressed = new Map(); // pointers that are down, with where they are
  let start = null; // where the first went down; null once it is no click any more
  let line = null; // the lasso that is being drawn

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function down(event) {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, at(event));
    if (pressed.size > 1) {
      start = line = null;
      does.lasso(null, false);
      return;
    }
    start = at(event);
    if (isLasso() || event.shiftKey) line = [start];
  }

  function move(event) {
    const here = at(event);
    const before = pressed.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") does.hover(here, event.pointerType);
      return;
    }
    if (start && Math.hypot(here[0] - start[0], here[1] - start[1]) > STILL) start = null;
    if (pressed.size === 2) pinch(event.pointerId, before, here);
    else if (line) does.lasso([...line, here], false);
    else if (!start) does.pan([here[0] - before[0], here[1] - before[1]]);
    if (line) line.push(here);
    if (!start || pressed.size > 1 || line) pressed.set(event.pointerId, here);
  }

  function pinch(id, before, here) {
    const [other] = [...pressed].filter(([key]) => key !== id).map(([, place]) => place);
    const apart = (place) => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
    const middle = [(here[0] + other[0]) / 2, (here[1] + other[1]) / 2];
    does.pan([(here[0] - before[0]) / 2, (here[1] - before[1]) / 2]);
    does.zoom(apart(here) / apart(before), middle);
  }

  function up(event) {
    if (!pressed.delete(event.pointerId)) return;
    if (line && !start) does.lasso(line, true);
    else if (line) does.lasso(null, false);
    if (start && event.type === "pointerup") does.pick(start, event.pointerType);
    start = line = null;
  }

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && pressed.size === 0 && does.hover(null, event.pointerType));
  canvas.addEventListener("dblclick", (event) => does.zoom(2, at(event)));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1) * (event.ctrlKey ? 4 : 1);
    does.zoom(Math.exp(-pixels * WHEEL), at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => keyed(event, does));
}

const KEYS = {
  ArrowLeft: (does) => does.pan([STEP, 0]),
  ArrowRight: (does) => does.pan([-STEP, 0]),
  ArrowUp: (does) => does.pan([0, STEP]),
  ArrowDown: (does) => does.pan([0, -STEP]),
  "+": (does) => does.zoom(1.4),
  "=": (does) => does.zoom(1.4),
  "-": (does) => does.zoom(1 / 1.4),
  0: (does) => does.whole(),
  Enter: (does) => does.pickMiddle(),
  Escape: (does) => does.leave(),
};

function keyed(event, does) {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key](does);
}
