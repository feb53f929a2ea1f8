/**
 * Asks what is on the sheet. Only the latest question counts: an older one is aborted. A question that failed for a
 * passing reason is asked again by itself, a few times, when the server said it may be.
 */

import { predict } from "./api.js";

const TRIES = 5;
const LONGEST_WAIT = 30; // s; beyond it the visitor decides

/** Seconds until the next try: what the server asked for, else 1, 2, 4, ... */
export const waitBefore = (tries, retryAfter) => retryAfter ?? 2 ** (tries - 1);

export class Reader {
  #abort = null;
  #timer = null;
  #again = null; // asks the last failed question once more

  /** `onTrouble(error, seconds)`: seconds until it is tried again by itself, or null. */
  constructor({ onTrouble }) {
    this.onTrouble = onTrouble;
    window.addEventListener("online", () => this.#again?.());
  }

  /** Resolves to {payload, result, milliseconds}, or to null when it failed or a newer question took this one's place. */
  async read(payload) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.readOnce(payload);
      } catch (error) {
        if (!(await this.#pause(error, tries))) return null;
      }
    }
  }

  /** The same, without a second try: throws the ApiError of a question that failed. */
  async readOnce(payload) {
    this.cancel();
    const { signal } = (this.#abort = new AbortController());
    const start = performance.now();
    try {
      const result = await predict(payload, signal);
      return signal.aborted ? null : { payload, result, milliseconds: performance.now() - start };
    } catch (error) {
      if (error.name === "AbortError") return null;
      throw error;
    }
  }

  /** Forget the question. */
  cancel() {
    this.#abort?.abort();
    this.#abort = null;
    clearTimeout(this.#timer);
    this.#again = null;
  }

  /** Wait as the error asks for; false when this question is over. */
  #pause(error, tries) {
    const { signal } = this.#abort;
    const seconds = waitBefore(tries, error.retryAfter);
    const again = error.isPassing && tries < TRIES && seconds <= LONGEST_WAIT;
    this.onTrouble(error, again ? seconds : null);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(false), { once: true });
      if (error.isPassing) this.#again = () => resolve(true);
      else resolve(false);
      if (again) this.#timer = setTimeout(() => resolve(true), seconds * 1000);
    });
  }
}
