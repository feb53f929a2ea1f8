/** The letters that are most like a drawing to the model: why it reads what it reads. */

import { request } from "./api.js";
import { element } from "./dom.js";
import { emnistThumbnail } from "./explore-thumbs.js";

const PICTURE = 34; // px

export class Alike {
  #digest = null; // of the model that read last
  #asked = null; // the big map, which has their pictures: null in the end where it does not show what this model sees
  #isThere = false;
  #shown = 0; // counts what was to be shown, so that no late answer shows an earlier drawing's letters

  constructor({ part, list }) {
    Object.assign(this, { part, list });
  }

  /** Show what a prediction names; with pictures where the big map shows what this model sees. */
  async show(neighbours, digest) {
    const turn = ++this.#shown;
    const map = await this.#mapOf(digest);
    if (turn !== this.#shown) return;
    this.part.hidden = !neighbours?.length;
    this.list.replaceChildren(...(neighbours ?? []).map(({ label, index }) =>
      element("li", { title: label }, emnistThumbnail(map, index, label, PICTURE), ...(map?.has_images ? [element("span", { className: "visually-hidden", textContent: label })] : []))));
  }

  /** The map is asked for once a model; again with the next drawing where it failed, or was another model's. */
  #mapOf(digest) {
    if (digest !== this.#digest) this.#asked = null;
    this.#digest = digest;
    this.#asked ??= request("/maps/umap?space=features").then(
      (map) => {
        this.#isThere = map.models.includes(digest);
        return this.#isThere ? map : null;
      },
      () => {
        this.#isThere = false;
        return null;
      },
    );
    return this.#asked;
  }

  /** The sheet is empty: what comes next is another drawing. */
  reset() {
    this.#shown += 1;
    this.part.hidden = true;
    if (!this.#isThere) this.#asked = null;
  }
}
