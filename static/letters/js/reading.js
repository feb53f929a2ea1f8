/** Shows what was read: the letter, how sure the model is, the letters it might be instead, the image, the bars. */

import { guessCharacter, labelOf, otherCase } from "./casing.js";
import { element, glyph } from "./dom.js";
import { caseOf, certainty, guesses, percent, readingTitle, spoken } from "./words.js";

const CHIPS = 3;
const LIKELY = 0.05; // bars from here on are marked
const WORTH_A_NUMBER = 0.01; // below it the other case says which it is, not how unlikely

/** Classes and probabilities, the likeliest first. */
export const ranked = (probabilities) => Object.entries(probabilities).sort((a, b) => b[1] - a[1]);

/**
 * What to say of a prediction: the character (its case guessed from where the drawing stands), how certain, and what else
 * is one tap away. A drawing that looks like no letter has no character: its two likeliest are guesses among the others.
 * Half a stroke may look like anything: only of a whole drawing is that said.
 */
export function interpret(result, strokes, classes, isWhole = true) {
  const order = ranked(result.probabilities);
  const letters = order.slice(0, CHIPS).map(([label]) => guessCharacter(label, strokes, classes));
  const certain = result.familiarity.known || !isWhole ? certainty(order[0][1], order[1][1]) : "strange";
  const words = (character) => {
    const share = result.probabilities[labelOf(character, classes)];
    const isCase = !letters.includes(character) && !(classes.includes(character) && share >= WORTH_A_NUMBER);
    if (certain === "strange") return "";
    return isCase ? caseOf(character) : percent(share);
  };
  return {
    character: certain === "strange" ? null : letters[0],
    certain,
    guesses: letters.slice(0, 2),
    share: order[0][1],
    order,
    alternatives: offered(certain, letters).map((character) => ({ character, words: words(character) })),
  };
}

/** What is one tap away: the next likeliest, and the other case of what is likely, always in the same place. */
function offered(certain, [first, second, third]) {
  if (certain === "strange") return [...new Set([first, second, otherCase(first), otherCase(second)])];
  const next = certain === "unsure" ? [otherCase(second), third] : [third];
  return [...new Set([otherCase(first), second, ...next])].filter((each) => each !== first).slice(0, CHIPS);
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
    const { character, certain, share, alternatives } = interpreted;
    this.#show(certain, {
      letter: character,
      title: readingTitle(certain, ...interpreted.guesses),
      detail: certain === "strange" ? guesses(...interpreted.guesses) : `${percent(share)} sure · ${Math.round(milliseconds)}\u00a0ms`,
      actions: alternatives.map((alternative) => this.#chip(alternative)),
    });
    this.#why(interpreted, result.image);
  }

  /** What a listener needs to know, without the milliseconds. */
  aloud({ certain, guesses: letters, share }) {
    const said = letters.map(spoken);
    if (certain === "strange") return `${readingTitle(certain)}. ${guesses(...said)}`;
    return `${readingTitle(certain, ...said).replace(/ an? (small|capital)/, " a $1")}, ${percent(share)} sure`;
  }

  trouble(title, detail, actions) {
    this.#show("trouble", { letter: this.letter.textContent, title, detail, actions });
  }

  thanks(character, detail, actions) {
    this.#show("thanks", { letter: character, title: `Thank you, your ${character} is kept`, detail, actions });
    this.#why(null);
  }

  #chip({ character, words }) {
    const chip = element("button", { type: "button", className: "button chip", dataset: { character } });
    const said = words ? "It is " : `It is ${caseOf(character)} `;
    chip.append(element("span", { className: "visually-hidden", textContent: said }), glyph(character));
    if (words) chip.append(" ", element("span", { className: "soft", textContent: words }));
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
