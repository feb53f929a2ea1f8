/** The map as one sees and touches it: points, what is drawn over them, and what hands do. */

import { pan, pointSize, seen, toPlane, toScreen, WHOLE, zoomAt } from "./explore-camera.js";
import { placeOf } from "./explore-data.js";
import { sizesOf } from "./explore-density.js";
import { Renderer } from "./explore-gl.js";
import { makeGrid, nearest } from "./explore-grid.js";
import { listen } from "./explore-hands.js";
import { within } from "./explore-lasso.js";
import { coloursOf, EVERYTHING, indicesOf, namePlaces, shapesOf, shownBy } from "./explore-looks.js";
import { drawOverlay } from "./explore-overlay.js";
import { colour } from "./ink.js";
import { glide } from "./motion.js";

const REACH = { mouse: 12, pen: 14, touch: 24 }; // px from a point that still mean it
const SOLID = 215; // of 255; two points on one another are seen as two
const FAINT = 34; // beside a selection
const MAX_RATIO = 2;
const SETTLED = 250; // ms without a movement, until the address follows

export class Plot {
  points = null;
  view = WHOLE;
  filter = EVERYTHING;
  mode = "letter";
  mine = null;
  isLasso = false;
  #grid = null;
  #shown = new Uint8Array(0);
  #indices = new Uint32Array(0);
  #names = [];
  #marked = -1;
  #selected = null; // the numbers of the points that are selected, or null
  #line = null;
  #frame = 0;
  #settling = 0;
  #stop = () => {};
  #size = { width: 0, height: 0 };

  /** `on` has hover(index, at), pick(index, at), select(indices) and settle(). Throws NoWebGL. */
  constructor({ canvas, overlay, classes, on }) {
    Object.assign(this, { canvas, overlay, classes, on });
    this.renderer = new Renderer(canvas, { onRestored: () => this.points && this.setPoints(this.points) });
    const again = () => this.redraw();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#relook());
    for (const name of ["focus", "blur"]) overlay.addEventListener(name, again);
    listen(overlay, this.#hands(), () => this.isLasso);
  }

  #hands() {
    return {
      pan: (by) => this.#moveTo(pan(this.view, this.#size, by)),
      zoom: (factor, at) => this.#moveTo(zoomAt(this.view, this.#size, factor, at)),
      hover: (at, kind) => this.on.hover(at ? this.pointAt(at, kind) : -1, at),
      pick: (at, kind) => this.on.pick(this.pointAt(at, kind), at),
      lasso: (line, isDone) => this.#lasso(line, isDone),
      whole: () => this.showWhole(),
      pickMiddle: () => this.#pickMiddle(),
      leave: () => this.on.leave(),
    };
  }

  // --- What is shown ---

  setPoints(points) {
    this.points = points;
    this.#grid = makeGrid(points.places);
    this.#marked = -1;
    this.#selected = null;
    this.renderer.setPoints(points.places, shapesOf(points, this.classes));
    this.setFilter(this.filter);
    this.#relook();
  }

  setFilter(filter) {
    this.filter = filter;
    if (!this.points) return;
    this.#shown = shownBy(filter, this.points, this.classes);
    this.#indices = indicesOf(this.#shown);
    this.#names = namePlaces(this.points, this.#indices, this.classes);
    this.renderer.setSizes(sizesOf(this.points.places, this.#indices));
    this.renderer.setOrder(this.#indices);
    this.redraw();
  }

  setMode(mode) {
    this.mode = mode;
    this.#relook();
  }

  /** Mark these, and let the others pale; null marks none. */
  setSelected(indices) {
    this.#selected = indices && new Set(indices);
    this.#relook();
  }

  mark(index) {
    if (index === this.#marked) return;
    this.#marked = index;
    this.redraw();
  }

  get shownCount() {
    return this.#indices.length;
  }

  isShown(index) {
    return this.#shown[index] === 1;
  }

  /** Numbers of the shown points that are on the screen now. */
  onScreen() {
    const { left, right, top, bottom } = seen(this.view, this.#size);
    return within(this.#grid, [[left, top], [right, top], [right, bottom], [left, bottom]], this.#shown);
  }

  #relook() {
    if (!this.points) return;
    const colours = coloursOf(this.mode, this.points, this.classes, this.#isDark);
    const looks = new Uint8Array(4 * this.points.count);
    for (let index = 0; index < this.points.count; index += 1) {
      looks.set(colours.subarray(3 * index, 3 * index + 3), 4 * index);
      looks[4 * index + 3] = this.#selected === null || this.#selected.has(index) ? SOLID : FAINT;
    }
    this.renderer.setLooks(looks);
    this.redraw();
  }

  get #isDark() {
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // --- Where one looks ---

  /** Go there smoothly, or at once where motion is not wanted. */
  goTo(view) {
    const from = this.view;
    this.#stop();
    this.#stop = glide(320, (share) => {
      const between = (name) => from[name] + (view[name] - from[name]) * share;
      this.view = { x: between("x"), y: between("y"), zoom: from.zoom * (view.zoom / from.zoom) ** share };
      this.#moved();
    });
  }

  showWhole() {
    this.goTo(WHOLE);
  }

  /** Come nearer or go back, about the middle. */
  zoomBy(factor) {
    this.goTo(zoomAt(this.view, this.#size, factor));
  }

  #moveTo(view) {
    this.#stop();
    this.view = view;
    this.#moved();
  }

  #moved() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.on.settle(), SETTLED);
    this.on.move();
    this.redraw();
  }

  /** Where a point is on the screen. */
  screenOf(index) {
    return toScreen(this.view, this.#size, placeOf(this.points, index));
  }

  // --- What is meant ---

  /** The number of the shown point at a place of the screen; -1 where there is none. */
  pointAt(at, kind = "mouse") {
    if (!this.#grid) return -1;
    const reach = (REACH[kind] ?? REACH.mouse) / this.#perUnit();
    return nearest(this.#grid, toPlane(this.view, this.#size, at), reach, this.#shown);
  }

  #perUnit() {
    const [[left], [right]] = [[0, 0], [1, 0]].map((place) => toScreen(this.view, this.#size, place));
    return right - left;
  }

  #pickMiddle() {
    if (!this.#grid) return;
    const middle = [this.#size.width / 2, this.#size.height / 2];
    for (let reach = 24 / this.#perUnit(); reach < 4; reach *= 3) {
      const index = nearest(this.#grid, toPlane(this.view, this.#size, middle), reach, this.#shown);
      if (index >= 0) return this.on.pick(index, this.screenOf(index));
    }
  }

  #lasso(line, isDone) {
    this.#line = isDone ? null : line;
    if (isDone) this.on.select(within(this.#grid, line.map((at) => toPlane(this.view, this.#size, at)), this.#shown));
    this.redraw();
  }

  // --- Drawing ---

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0 || height === 0) return;
    this.#size = { width, height };
    this.renderer.resize(this.#size, this.#ratio);
    this.#draw(); // at once: a canvas whose size was set is empty
  }

  get #ratio() {
    return Math.min(MAX_RATIO, window.devicePixelRatio || 1);
  }

  /** Draw with the next frame. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.points || this.#size.width === 0) return;
    const edge = channels(colour("--ink"));
    const size = pointSize(this.#indices.length, this.view, this.#size);
    this.renderer.draw(this.view, this.#size, { size, ratio: this.#ratio, edge, isDark: this.#isDark });
    drawOverlay(this.overlay, this.view, this.#size, {
      names: this.#names,
      classes: this.classes,
      marked: this.#marked < 0 ? null : placeOf(this.points, this.#marked),
      mine: this.mine,
      line: this.#line,
      hasCross: this.overlay.matches(":focus-visible"),
    });
    this.on.drawn();
  }
}

/** "#1d2033" as three shares of 1. */
const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
