/** What was decided and has yet to reach the server: sent in order, again where nobody answered, never lost in silence. */

const WAITS = [1, 2, 4, 8]; // seconds before the first, second … repetition; the last for all that follow

export class Outbox {
  #jobs = [];
  #running = false;
  #wake = null;

  /** `onChange(count)` when that many jobs are open; `onTrouble(refusal)` while it repeats one, with null once it got through. */
  constructor({ onChange, onTrouble }) {
    Object.assign(this, { onChange, onTrouble });
  }

  get size() {
    return this.#jobs.length;
  }

  /** Ids of the drawings that open jobs are about. */
  get drawings() {
    return this.#jobs.flatMap((job) => job.drawings);
  }

  /** `job`: { drawings, send(), done(answer), refused(refusal) }; what `send` needs it reads when its turn comes. */
  add(job) {
    this.#jobs.push(job);
    this.onChange(this.size);
    this.#run();
  }

  /** Take a job out before it was sent. False where it is too late. */
  withdraw(job) {
    const place = this.#jobs.indexOf(job);
    if (place < 0 || (place === 0 && this.#running)) return false;
    this.#jobs.splice(place, 1);
    this.onChange(this.size);
    return true;
  }

  /** Do not wait until the next repetition. */
  retry() {
    this.#wake?.();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    while (this.#jobs.length > 0) {
      await this.#finish(this.#jobs[0]);
      this.#jobs.shift();
      this.onChange(this.size);
    }
    this.#running = false;
  }

  async #finish(job) {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await job.send();
        if (tries > 0) this.onTrouble(null);
        job.done(answer);
        return;
      } catch (refusal) {
        if (!refusal.isPassing) {
          if (tries > 0) this.onTrouble(null);
          job.refused(refusal);
          return;
        }
        this.onTrouble(refusal);
        await this.#pause(WAITS[Math.min(tries, WAITS.length - 1)]);
      }
    }
  }

  #pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
