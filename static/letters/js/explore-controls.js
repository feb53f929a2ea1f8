/** What the margin of the map holds: letters to find, sources, mistakes, colours. It tells what was chosen, and shows it. */

import { element } from "./dom.js";
import { classesNamed, MODES } from "./explore-looks.js";
import { colourOf } from "./palette.js";

const SWITCHES = ["emnist", "collected", "mistakes", "suspected"];

export class Controls {
  #filter = null;

  /** `parts` are elements by id; `onFilter(filter)` and `onColour(mode)` are called when the visitor chose. */
  constructor({ parts, classes, onFilter, onColour }) {
    Object.assign(this, { parts, classes, onFilter, onColour });
    parts.search.addEventListener("input", () => this.#choose({ letters: parts.search.value.replace(/[^A-Za-z]/g, "") }));
    parts.legend.append(...classes.map((label) => this.#key(label)));
    for (const name of SWITCHES) parts[name].addEventListener("change", () => this.#choose({ [name]: parts[name].checked }));
    parts.colour.append(...Object.entries(MODES).map(([value, { name }]) => element("option", { value, textContent: name })));
    parts.colour.addEventListener("change", () => onColour(parts.colour.value));
    parts.clear.addEventListener("click", () => {
      this.#choose({ letters: "" }, true);
      parts.search.focus();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
    this.#paint();
  }

  #choose(change, isShownToo = false) {
    this.#filter = { ...this.#filter, ...change };
    if (isShownToo) this.parts.search.value = this.#filter.letters;
    this.#press();
    this.onFilter(this.#filter);
  }

  #key(label) {
    const made = element("button", { type: "button", className: "key", textContent: label, dataset: { label } });
    made.addEventListener("click", () => this.#toggle(label));
    return made;
  }

  #toggle(label) {
    const named = classesNamed(this.#filter.letters, this.classes);
    const number = this.classes.indexOf(label);
    if (!named.delete(number)) named.add(number);
    this.#choose({ letters: [...named].map((each) => this.classes[each]).join("") }, true);
  }

  /** Show a filter and a colour mode that came from elsewhere: the address, the way back. */
  show(filter, mode) {
    this.#filter = filter;
    this.parts.search.value = filter.letters;
    for (const name of SWITCHES) this.parts[name].checked = filter[name];
    this.parts.colour.value = mode;
    this.#press();
    this.showKey(mode);
  }

  /** How many points each switch is about. */
  count(counts) {
    for (const name of SWITCHES) this.parts[`${name}Count`].textContent = counts[name].toLocaleString("en");
  }

  /** What the colours mean, where they do not mean letters. */
  showKey(mode) {
    const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    this.parts.key.replaceChildren(...MODES[mode].key(isDark).map(({ name, colour }) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour;
      return element("li", {}, swatch, name);
    }));
    this.parts.legend.toggleAttribute("data-plain", mode !== "letter");
  }

  #press() {
    const named = classesNamed(this.#filter.letters, this.classes);
    this.classes.forEach((label, number) => this.parts.legend.children[number].setAttribute("aria-pressed", String(named.has(number))));
    this.parts.clear.hidden = this.#filter.letters === "";
  }

  #paint() {
    const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    for (const key of this.parts.legend.children) {
      const { fill, ring } = colourOf(key.dataset.label, isDark);
      key.style.setProperty("--hue", fill);
      key.style.setProperty("--ring", ring ?? fill);
    }
    this.showKey(this.parts.colour.value);
  }
}
