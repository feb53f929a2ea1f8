/**
 * The sheet: takes strokes from pen, finger, mouse and keyboard, shows them, undoes and redoes.
 *
 * It calls `onChange()` when what is on it has changed, `onProgress()` while a stroke is being drawn, `onFull()` when a
 * stroke would be one too many, and `onPen(isDown)` when the keyboard's pen is put down or lifted.
 */

import { focusQuietly } from "./dom.js";
import * as history from "./history.js";
import { countPoints, thin } from "./geometry.js";
import { drawAll, drawStroke, prepare } from "./ink.js";

const NEARLY_FULL = 0.9; // of the points allowed: from here on, the least telling ones are left out
const PEN_STEP = 0.02;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value) => Math.min(1, Math.max(0, value));

export class Sheet {
  #history = history.EMPTY;
  #active = null; // the stroke being drawn: {id, type, stroke, pressed}
  #drawn = 0; // how many points of the active stroke are on the canvas
  #pen = [0.5, 0.46];
  #arrows = new Set();
  #clock = 0; // event time that counts as t = 0

  constructor({ canvas, pen, limits, onChange, onProgress, onFull, onPen }) {
    Object.assign(this, { canvas, pen, limits, onChange, onProgress, onFull, onPen });
    this.#listen();
  }

  get strokes() {
    return this.#history.strokes;
  }

  /** What is on the sheet, with the stroke that is still being drawn. */
  get ink() {
    return this.#active ? [...this.strokes, this.#active.stroke] : this.strokes;
  }

  get isEmpty() {
    return this.ink.length === 0;
  }

  get canUndo() {
    return this.#history.past.length > 0;
  }

  get canRedo() {
    return this.#history.future.length > 0;
  }

  get isDrawing() {
    return this.#active !== null;
  }

  // --- What may happen to it ---

  undo() {
    this.finish();
    this.#become(history.undo(this.#history));
  }

  redo() {
    this.finish();
    this.#become(history.redo(this.#history));
  }

  clear() {
    this.finish();
    if (this.strokes.length > 0) this.#become(history.commit(this.#history, []));
  }

  /** Put back what was drawn before the page was loaded anew. */
  restore(strokes) {
    this.#become({ ...history.EMPTY, strokes });
  }

  /** Take off the strokes that were kept; those drawn since stay. There is no way back: the letter is sent. */
  settle(kept) {
    this.#become({ ...history.EMPTY, strokes: this.strokes.filter((stroke) => !kept.includes(stroke)) });
  }

  /** End the stroke that is being drawn, and keep it. */
  finish() {
    if (this.#active === null) return;
    const { stroke } = this.#active;
    this.#active = null;
    this.#showPen();
    this.#become(history.commit(this.#history, thin([...this.strokes, stroke], this.limits.points)));
  }

  redraw() {
    const size = this.canvas.clientWidth;
    if (size === 0) return;
    this.context = prepare(this.canvas, size);
    this.size = size;
    drawAll(this.context, this.ink, size);
    this.#drawn = this.#active?.stroke.length ?? 0;
  }

  #become(next) {
    if (next === this.#history) return;
    this.#history = next;
    this.redraw();
    this.onChange();
  }

  // --- Strokes ---

  #begin(point, active) {
    if (this.strokes.length >= this.limits.strokes) {
      this.onFull();
      return false;
    }
    this.#active = { ...active, stroke: [point] };
    this.#drawn = 0;
    this.#extend([]);
    return true;
  }

  #extend(points) {
    const { stroke } = this.#active;
    for (const point of points) {
      const last = stroke.at(-1);
      if (point[0] !== last[0] || point[1] !== last[1]) stroke.push(point);
    }
    const budget = this.limits.points - countPoints(this.strokes);
    if (stroke.length > budget * NEARLY_FULL) this.#thinOut();
    drawStroke(this.context, stroke, this.size, this.#drawn);
    this.#drawn = stroke.length;
    this.onProgress();
  }

  #thinOut() {
    const thinned = thin(this.ink, Math.floor(this.limits.points * 0.7));
    this.#active.stroke = thinned.pop();
    this.#history = { ...this.#history, strokes: thinned };
    this.redraw();
  }

  #time(now) {
    if (this.isEmpty) this.#clock = now;
    const last = this.strokes.at(-1)?.at(-1)?.[2] ?? 0;
    if (now - this.#clock < last) this.#clock = now - last; // strokes restored from before a reload
    return Math.max(0, now - this.#clock);
  }

  // --- Pen, finger, mouse ---

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#isActive(event) && this.finish());
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#keydown(event));
    canvas.addEventListener("keyup", (event) => this.#arrows.delete(event.key));
    canvas.addEventListener("focus", () => this.#showPen());
    canvas.addEventListener("blur", () => {
      this.#arrows.clear();
      this.#showPen();
    });
    new ResizeObserver(() => this.redraw()).observe(canvas);
    window.addEventListener("resize", () => this.redraw()); // zoom and a second screen change the pixel ratio
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  #isActive(event) {
    return this.#active !== null && this.#active.id === event.pointerId;
  }

  #down(event) {
    if (event.button !== 0 || !(event.isPrimary || event.pointerType === "pen")) return;
    event.preventDefault(); // no text selection, no drag; focus is given by hand below
    focusQuietly(this.canvas);
    if (this.#active?.type === "touch" && event.pointerType === "pen") this.#active = null; // that was the palm
    this.finish();
    const point = this.#point(event, this.canvas.getBoundingClientRect());
    if (!this.#begin(point, { id: event.pointerId, type: event.pointerType })) return;
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // the pointer is gone already: its up or cancel event ends the stroke
    }
  }

  #move(event) {
    if (!this.#isActive(event)) return;
    const rect = this.canvas.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    this.#extend((events.length > 0 ? events : [event]).map((each) => this.#point(each, rect)));
  }

  #point(event, rect) {
    const x = within((event.clientX - rect.left) / rect.width);
    const y = within((event.clientY - rect.top) / rect.height);
    const point = [x, y, this.#time(event.timeStamp)];
    return event.pointerType === "pen" && event.pressure > 0 ? [...point, event.pressure] : point;
  }

  // --- Keyboard ---

  #keydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") this.#togglePen(event);
    else if (event.key in ARROWS) this.#movePen(event);
  }

  #togglePen(event) {
    event.preventDefault();
    if (event.repeat) return;
    if (this.#active) this.finish();
    else this.#begin([...this.#pen, this.#time(event.timeStamp)], { id: "keyboard", type: "keyboard" });
    this.#showPen();
    this.onPen(this.#active !== null);
  }

  #movePen(event) {
    event.preventDefault();
    this.#arrows.add(event.key); // two keys at once move it aslant
    const step = event.shiftKey ? PEN_STEP / 4 : PEN_STEP;
    for (const key of this.#arrows) {
      this.#pen = this.#pen.map((value, axis) => within(value + ARROWS[key][axis] * step));
    }
    if (this.#active?.id === "keyboard") this.#extend([[...this.#pen, this.#time(event.timeStamp)]]);
    this.#showPen();
  }

  #showPen() {
    const { pen, canvas } = this;
    pen.hidden = !canvas.matches(":focus-visible");
    pen.toggleAttribute("data-down", this.#active?.id === "keyboard");
    pen.style.left = `${this.#pen[0] * 100}%`;
    pen.style.top = `${this.#pen[1] * 100}%`;
  }
}
