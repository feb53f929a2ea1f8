/** The small map: where a drawing lands among the letters that the model was judged on. */

import { getMap } from "./api.js";
import { writeMine } from "./explore-mine.js";
import { colour, prepare } from "./ink.js";
import { glide } from "./motion.js";
import { colourOf } from "./palette.js";
import { article } from "./words.js";

const PADDING = 12;
const NEIGHBOURS = 15;

const middleOf = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** The letters of the points nearest to `point`, the most frequent first. */
export function neighbours(point, points, classes) {
  const away = ([x, y]) => (x - point[0]) ** 2 + (y - point[1]) ** 2;
  const counts = new Map();
  for (const [, , index] of [...points].sort((a, b) => away(a) - away(b)).slice(0, NEIGHBOURS)) {
    counts.set(classes[index], (counts.get(classes[index]) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
}

export class Landing {
  #map = null;
  #point = null; // where the dot stands
  #stop = () => {};
  #asked = null;
  #backdrop = null;

  constructor({ card, title, link, canvas, classes }) {
    Object.assign(this, { card, title, link, canvas, classes });
    new ResizeObserver(() => this.#redraw()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  /** Fetch the map once; a page without one is a page without this card. */
  load() {
    this.#asked ??= getMap().then(
      (map) => this.#take(map),
      () => { this.#asked = null; }, // asked again with the next drawing
    );
    return this.#asked;
  }

  #take(map) {
    if (!map.points?.length) return;
    this.#map = map;
    this.title.textContent = `Where it lands among ${map.points.length.toLocaleString("en")} letters`;
    this.canvas.setAttribute("aria-label", "Map of letters: like stands by like");
    this.card.hidden = false;
    this.#redraw();
  }

  /** Let the dot glide to where the drawing is; hide the card where the map does not know. `neighbours` go along to the big map. */
  async show(point, digest, neighbours) {
    await this.load();
    if (this.#map && digest !== this.#map.model?.digest) await this.#renew();
    if (this.#map === null) return;
    this.card.hidden = !point;
    if (!point) return;
    this.#describe(point);
    this.link.href = neighbours?.length ? `/explore/?mine=${writeMine(neighbours, digest)}` : "/explore/";
    const from = this.#point ?? [0, 0];
    this.#stop();
    this.#stop = glide(420, (share) => {
      this.#point = from.map((value, axis) => value + (point[axis] - value) * share);
      this.#drawDot();
    });
  }

  /** The model was exchanged while the page was open: its map is another. */
  async #renew() {
    this.#map = this.#asked = null;
    this.card.hidden = true;
    await this.load();
  }

  /** Take the dot off the map. */
  reset() {
    this.#stop();
    this.#point = null;
    this.link.href = "/explore/";
    if (this.#map) this.canvas.setAttribute("aria-label", "Map of letters: like stands by like");
    this.#drawDot();
  }

  #describe(point) {
    const [nearest, next] = neighbours(point, this.#map.points, this.classes);
    const also = next ? `, next to ${next}` : "";
    this.canvas.setAttribute("aria-label", `Map of letters: your drawing lands where ${article(nearest)} ${nearest} mostly stands${also}`);
  }

  // --- Drawing ---

  #redraw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.#map || width === 0 || height === 0) return;
    this.context = prepare(this.canvas, width, height);
    this.#place = this.#fit(width, height);
    this.#drawPoints(Math.min(2.4, Math.max(1.4, width / 320)));
    this.#drawNames(height);
    this.#backdrop = document.createElement("canvas");
    this.#backdrop.width = this.canvas.width;
    this.#backdrop.height = this.canvas.height;
    this.#backdrop.getContext("2d").drawImage(this.canvas, 0, 0);
    this.#drawDot();
  }

  #place = (point) => point;

  /** From the map's coordinates to the card's: each axis fills it, since on a map like this only nearness means anything. */
  #fit(width, height) {
    const axes = [0, 1].map((axis) => this.#map.points.map((point) => point[axis]));
    const [left, top] = axes.map((values) => Math.min(...values));
    const [right, bottom] = axes.map((values) => Math.max(...values));
    const across = (width - 2 * PADDING) / (right - left || 1);
    const down = (height - 2 * PADDING) / (bottom - top || 1);
    return ([x, y]) => [
      Math.min(width - PADDING, Math.max(PADDING, PADDING + (x - left) * across)),
      Math.min(height - PADDING, Math.max(PADDING, height - PADDING - (y - top) * down)),
    ];
  }

  get #isDark() {
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  #drawPoints(radius) {
    const { context } = this;
    const colours = this.classes.map((label) => colourOf(label, this.#isDark));
    for (const point of this.#map.points) {
      const [x, y] = this.#place(point);
      const { fill, ring } = colours[point[2]];
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.fill();
      if (!ring) continue;
      context.strokeStyle = ring;
      context.lineWidth = 0.7;
      context.stroke();
    }
  }

  #drawNames(height) {
    const { context } = this;
    context.font = `700 ${Math.max(12, Math.min(17, height / 14))}px ${colour("--serif")}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = colour("--card");
    context.fillStyle = colour("--ink");
    this.classes.forEach((label, index) => {
      const members = this.#map.points.filter((point) => point[2] === index);
      if (members.length === 0) return;
      const [x, y] = this.#place([0, 1].map((axis) => middleOf(members.map((point) => point[axis]))));
      context.strokeText(label, x, y);
      context.fillText(label, x, y);
    });
  }

  #drawDot() {
    if (!this.#backdrop) return;
    const { context } = this;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.#backdrop, 0, 0);
    context.restore();
    if (!this.#point) return;
    const [x, y] = this.#place(this.#point);
    context.fillStyle = context.strokeStyle = colour("--ink");
    context.lineWidth = 5;
    context.strokeStyle = colour("--card");
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = colour("--ink");
    context.stroke();
    context.beginPath();
    context.arc(x, y, 3.5, 0, 2 * Math.PI);
    context.fill();
  }
}
