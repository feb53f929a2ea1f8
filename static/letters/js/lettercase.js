/** The case of all 52 letters, to choose the right one from: by a tap, by typing it, or with the arrow keys. */

export class LetterCase {
  constructor({ dialog, onChoice }) {
    Object.assign(this, { dialog, onChoice });
    this.keys = [...dialog.querySelectorAll("[data-character]")];
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("keydown", (event) => this.#typed(event));
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** Show it, with the likely characters marked and the first of them in focus. */
  open(likely) {
    for (const key of this.keys) key.classList.toggle("likely", likely.includes(key.dataset.character));
    this.dialog.showModal();
    (this.keys.find((key) => key.dataset.character === likely[0]) ?? this.keys[0]).focus();
  }

  #choose(character) {
    this.dialog.close();
    this.onChoice(character);
  }

  #clicked(event) {
    const key = event.target.closest("[data-character]");
    if (key) this.#choose(key.dataset.character);
    else if (event.target === this.dialog || event.target.closest("#letters-close")) this.dialog.close();
  }

  #typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
    if (/^[A-Za-z]$/.test(event.key)) {
      event.preventDefault();
      event.stopPropagation(); // answered here, not once more by the page
      this.#choose(event.key);
      return;
    }
    const next = this.#neighbour(event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  /** The key that an arrow leads to. */
  #neighbour(arrow) {
    const index = this.keys.indexOf(document.activeElement);
    if (index < 0) return null;
    const row = getComputedStyle(this.keys[index].parentElement).gridTemplateColumns.split(" ").length;
    return this.keys[index + ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row }[arrow] ?? NaN)];
  }
}
