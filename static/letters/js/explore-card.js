/** The card of one letter: what it is, what the model reads, where it is from. */

import { button, element } from "./dom.js";
import { confidence, drawingOf, isCollected, isMistaken, isSuspected } from "./explore-data.js";
import { thumbnail } from "./explore-thumbs.js";
import { readingWords } from "./explore-words.js";

const PICTURE = 84; // px
const AWAY = 18; // px from the point

export class Card {
  #index = -1;
  isPinned = false;

  /** `frame` is what the card stays within; `reviewUrl` leads reviewers to a drawing's card and is empty for others. */
  constructor({ card, frame, classes, reviewUrl, onClose }) {
    Object.assign(this, { card, frame, classes, reviewUrl, onClose });
  }

  /** Show point `index` beside `at` on the screen; pinned, it stays until it is closed. */
  show(map, points, index, at, isPinned = false) {
    if (index !== this.#index || isPinned !== this.isPinned) this.#fill(map, points, index, isPinned);
    this.#index = index;
    this.isPinned = isPinned;
    this.card.hidden = false;
    this.follow(at);
  }

  /** Stand beside where the point is now. */
  follow([x, y]) {
    const { clientWidth: width, clientHeight: height } = this.frame;
    const { offsetWidth: wide, offsetHeight: high } = this.card;
    const left = x + AWAY + wide < width ? x + AWAY : x - AWAY - wide;
    const top = Math.min(height - high - 8, Math.max(8, y - high / 2));
    this.card.style.transform = `translate(${Math.round(Math.min(width - wide - 8, Math.max(8, left)))}px, ${Math.round(top)}px)`;
  }

  hide() {
    this.#index = -1;
    this.isPinned = false;
    this.card.hidden = true;
  }

  #fill(map, points, index, isPinned) {
    const label = this.classes[points.label[index]];
    const predicted = this.classes[points.predicted[index]];
    this.card.dataset.index = index;
    this.card.toggleAttribute("data-pinned", isPinned);
    this.card.replaceChildren(
      thumbnail(map, points, index, this.classes, PICTURE),
      element("div", { className: "card-words" },
        element("strong", { className: "glyph", textContent: label }),
        element("span", { className: isMistaken(points, index) ? "wrong" : "", textContent: readingWords(label, predicted, confidence(points, index)) }),
        element("span", { className: "soft", textContent: isCollected(points, index) ? "collected here" : "EMNIST" }),
        ...(isSuspected(points, index) ? [element("span", { className: "wrong", textContent: "perhaps labelled wrongly" })] : []),
      ),
      ...(isPinned ? [this.#actions(points, index)] : []),
    );
  }

  #actions(points, index) {
    const drawing = drawingOf(points, index);
    const close = button("Close", () => this.onClose());
    if (!drawing) return element("div", { className: "row" }, close);
    const report = element("a", { className: "button", href: `/samples/${drawing}`, textContent: "Report" });
    const open = element("a", { className: "button", href: `${this.reviewUrl}?drawing=${drawing}`, textContent: "Review it" });
    return element("div", { className: "row" }, ...(this.reviewUrl ? [open] : []), report, close);
  }

  /** What a listener hears of point `index`. */
  aloud(points, index) {
    const [label, predicted] = [points.label[index], points.predicted[index]].map((number) => this.classes[number]);
    const source = isCollected(points, index) ? "collected here" : "of EMNIST";
    return `${label}, ${source}, ${readingWords(label, predicted, confidence(points, index))}`;
  }
}
