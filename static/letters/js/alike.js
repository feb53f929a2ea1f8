/** The letters that are most like a drawing to the model: why it reads what it reads. */

import { request } from "./api.js";
import { element } from "./dom.js";
import { emnistThumbnail } from "./explore-thumbs.js";

const PICTURE = 34; // px

export class Alike {
  #asked = null; // the big map, which has their pictures

  constructor({ part, list }) {
    Object.assign(this, { part, list });
  }

  /** Show what a prediction names; with pictures where the big map shows what this model sees. */
  async show(neighbours, digest) {
    this.#asked ??= request("/maps/umap?space=features").catch(() => null);
    const map = await this.#asked;
    const its = map?.models.includes(digest) ? map : null;
    this.part.hidden = !neighbours?.length;
    this.list.replaceChildren(...(neighbours ?? []).map(({ label, index }) =>
      element("li", { title: label }, emnistThumbnail(its, index, label, PICTURE), ...(its?.has_images ? [element("span", { className: "visually-hidden", textContent: label })] : []))));
  }

  reset() {
    this.part.hidden = true;
  }
}
