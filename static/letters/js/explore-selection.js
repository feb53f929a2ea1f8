/** The letters that were selected: how many of which, and a grid of them. */

import { button, element } from "./dom.js";
import { confidence } from "./explore-data.js";
import { countByLabel } from "./explore-lasso.js";
import { thumbnail } from "./explore-thumbs.js";
import { letters, readingWords } from "./explore-words.js";

const PAGE = 40; // pictures at a time
const PICTURE = 44; // px

export class Selection {
  #indices = null;
  #listed = 0;

  /** `onPick(index)` is called for a picture that is pressed. */
  constructor({ part, title, counts, grid, more, classes, onPick }) {
    Object.assign(this, { part, title, counts, grid, more, classes, onPick });
    more.addEventListener("click", () => this.#list(this.#listed + PAGE));
  }

  /** Show `indices`, which are those of `total` selected letters that the filter leaves. */
  show(map, points, indices, total) {
    Object.assign(this, { map, points });
    this.#indices = indices;
    this.part.hidden = false;
    const isAll = indices.length === total;
    this.title.textContent = isAll ? `${letters(total)} selected` : `${indices.length.toLocaleString("en")} of ${letters(total)} selected`;
    this.counts.replaceChildren(...countByLabel(points, indices).map(([number, count]) => this.#count(number, count)));
    this.grid.replaceChildren();
    this.#listed = 0;
    this.#list(PAGE);
  }

  hide() {
    this.#indices = null;
    this.part.hidden = true;
    this.grid.replaceChildren();
  }

  #count(number, count) {
    return element("li", {}, element("span", { className: "glyph", textContent: this.classes[number] }), ` ${count.toLocaleString("en")}`);
  }

  #list(until) {
    const next = this.#indices.slice(this.#listed, until);
    this.grid.append(...next.map((index) => element("li", {}, this.#picture(index))));
    this.#listed += next.length;
    const left = this.#indices.length - this.#listed;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en")}`;
  }

  #picture(index) {
    const { map, points, classes } = this;
    const [label, predicted] = [classes[points.label[index]], classes[points.predicted[index]]];
    const words = `${label}, ${readingWords(label, predicted, confidence(points, index))}`;
    const made = button("", () => this.onPick(index), { className: `pick${label === predicted ? "" : " wrong"}`, title: words, ariaLabel: words, dataset: { index } });
    made.append(thumbnail(map, points, index, classes, PICTURE));
    return made;
  }
}
