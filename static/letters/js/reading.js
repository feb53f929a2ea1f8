/** Shows what was read: the letter, how sure the model is, the letters it might be instead, the image, the bars. */

import { charactersOf, guessCharacter } from "./casing.js";
import { element, glyph } from "./dom.js";
import { certainty, percent, readingTitle, spoken } from "./words.js";

const CHIPS = 4;
const LIKELY = 0.05; // bars from here on are marked
const WORTH_A_CHIP = 0.0005;

/** Classes and probabilities, the likeliest first. */
export const ranked = (probabilities) => Object.entries(probabilities).sort((a, b) => b[1] - a[1]);

/**
 * What to say of a prediction: the character (its case guessed from where the drawing stands), how certain, and what it
 * may be instead: the other case first, then the next likeliest.
 */
export function interpret(result, strokes, classes) {
  const order = ranked(result.probabilities);
  const guess = (label) => guessCharacter(label, strokes, classes);
  const character = guess(result.label);
  const otherCase = charactersOf(result.label, classes).filter((other) => other !== character);
  const next = order.slice(1).filter(([, share]) => share >= WORTH_A_CHIP);
  return {
    character,
    certain: certainty(order[0][1], order[1][1]),
    second: guess(order[1][0]),
    share: order[0][1],
    order,
    alternatives: [
      ...otherCase.map((other) => ({ character: other, share: null })),
      ...next.map(([label, share]) => ({ character: guess(label), share })),
    ].slice(0, CHIPS - 1),
  };
}

export class ReadingView {
  constructor(parts) {
    Object.assign(this, parts);
    this.bars = new Map([...this.bars.children].map((item) => [item.dataset.label, item]));
  }

  #show(state, { letter, title, detail, actions = [] }) {
    this.section.dataset.state = state;
    this.section.removeAttribute("data-stale");
    this.letter.textContent = letter ?? "";
    this.title.textContent = title;
    this.detail.textContent = detail;
    this.actions.replaceChildren(...actions);
  }

  empty() {
    this.#show("empty", {
      title: "Show me a letter",
      detail: "Capital or small, one at a time. I say what I read; you say whether I am right.",
    });
    this.#why(null);
  }

  /** The sheet has changed since: what stands here is about to be replaced. */
  stale() {
    this.section.setAttribute("data-stale", "");
  }

  reading(interpreted, { result, milliseconds }) {
    const { character, certain, second, share, alternatives } = interpreted;
    this.#show(certain === "sure" ? "sure" : "unsure", {
      letter: character,
      title: readingTitle(certain, character, second),
      detail: `${percent(share)} sure · ${Math.round(milliseconds)}\u00a0ms`,
      actions: alternatives.map((alternative) => this.#chip(alternative)),
    });
    this.#why(interpreted, result.image);
  }

  /** What a listener needs to know, without the milliseconds. */
  aloud({ character, certain, second, share }) {
    const title = readingTitle(certain, spoken(character), spoken(second)).replace(/ an? (small|capital)/, " a $1");
    return `${title}, ${percent(share)} sure`;
  }

  trouble(title, detail, actions) {
    this.#show("trouble", { letter: this.letter.textContent, title, detail, actions });
  }

  thanks(character, detail, actions) {
    this.#show("thanks", { letter: character, title: `Thank you, your ${character} is kept`, detail, actions });
    this.#why(null);
  }

  #chip({ character, share }) {
    const chip = element("button", { type: "button", className: "button chip", dataset: { character } });
    chip.append(element("span", { className: "visually-hidden", textContent: "It is " }), glyph(character), " ");
    const isSmall = character !== character.toUpperCase();
    chip.append(element("span", { className: "soft", textContent: share === null ? (isSmall ? "small" : "capital") : percent(share) }));
    return chip;
  }

  #why(interpreted, image) {
    const shares = new Map(interpreted?.order ?? []);
    for (const [label, item] of this.bars) {
      const share = shares.get(label) ?? 0;
      item.style.setProperty("--share", Math.sqrt(share)); // square root: what is 1 % likely still shows
      item.classList.toggle("likely", share >= LIKELY || (share > 0 && label === interpreted.order[0][0]));
      item.title = interpreted ? `${label} ${percent(share)}` : "";
    }
    const rows = (interpreted?.order ?? []).map(([label, share]) =>
      element("tr", {}, element("th", { scope: "row", textContent: label }), element("td", { textContent: percent(share) })));
    this.table.replaceChildren(...rows);
    this.table.parentElement.hidden = rows.length === 0;
    if (image) this.seen.src = image;
    else if (!interpreted) this.seen.src = this.nothing;
    this.seen.toggleAttribute("data-empty", !interpreted);
    this.seen.alt = interpreted ? "Your letter as the model sees it: 28 by 28 pixels, white on black" : "Nothing yet";
  }
}
