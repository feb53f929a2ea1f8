/** Staff have the map that they see made anew: a button, how far it is, and how it ended. */

import { cancelJob, getJob, makeMap } from "./explore-source.js";

const LOOK = 1000; // ms between two looks how far it is
const GO = ["queued", "running"];

export class Remake {
  #kind = null; // {method, space} of the map that is shown
  #job = null; // the id of the one that is made, of that kind
  #timer = 0;

  /** `onMade({method, space})` is called when a new map is there. */
  constructor({ part, button, progress, words, cancel, onMade }) {
    Object.assign(this, { part, button, progress, words, cancel, onMade });
    part.hidden = false;
    button.addEventListener("click", () => this.make());
    cancel.addEventListener("click", () => this.#cancel());
  }

  get isMaking() {
    return this.#job !== null;
  }

  /** Another map is shown: whether there is one, and what is on its way. */
  show({ method, space }, isThere, onItsWay) {
    const isAnother = method !== this.#kind?.method || space !== this.#kind?.space;
    this.#kind = { method, space };
    this.button.textContent = isThere ? "Make this map anew" : "Have this map made";
    if (!isAnother) return;
    this.#end("");
    if (onItsWay) this.#follow(onItsWay.id);
  }

  async make() {
    if (this.isMaking) return;
    const kind = this.#kind;
    this.button.setAttribute("aria-disabled", "true");
    try {
      const { id } = await makeMap(kind.method, kind.space);
      if (kind === this.#kind) this.#follow(id);
    } catch (error) {
      this.#end(`It could not be asked for: ${error.message}`);
    }
  }

  async #cancel() {
    this.cancel.setAttribute("aria-disabled", "true");
    try {
      await cancelJob(this.#job);
      this.#look();
    } catch (error) {
      this.words.textContent = `It could not be cancelled: ${error.message}`;
      this.cancel.removeAttribute("aria-disabled");
    }
  }

  #follow(id) {
    this.#job = id;
    this.button.hidden = true;
    this.progress.hidden = this.cancel.hidden = false;
    this.progress.value = 0;
    this.words.textContent = "It waits for a worker.";
    this.cancel.removeAttribute("aria-disabled");
    if (document.activeElement === this.button || document.activeElement === document.body) this.cancel.focus({ preventScroll: true });
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    const id = this.#job;
    if (id === null) return;
    const job = await getJob(id).catch(() => null);
    if (id !== this.#job) return;
    if (job && !GO.includes(job.state)) return this.#over(job);
    if (job?.state === "running") {
      this.progress.value = job.progress.share ?? 0;
      this.words.textContent = `${Math.round(100 * this.progress.value)}\u00a0% done: ${job.progress.message ?? "begun"}`;
    }
    this.#timer = setTimeout(() => this.#look(), LOOK);
  }

  #over(job) {
    const hadFocus = this.part.contains(document.activeElement);
    this.#end(job.state === "done" ? "It is made." : job.state === "cancelled" ? "It was cancelled; the map before it stays." : `It could not be made: ${job.message}`);
    if (hadFocus) this.button.focus({ preventScroll: true });
    if (job.state === "done") this.onMade({ method: job.method, space: job.space });
  }

  #end(words) {
    clearTimeout(this.#timer);
    this.#job = null;
    this.button.hidden = false;
    this.button.removeAttribute("aria-disabled");
    this.progress.hidden = this.cancel.hidden = true;
    this.words.textContent = words;
  }
}
