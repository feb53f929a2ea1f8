/** The consent line: never ticked beforehand, remembered in this browser once given, taken back in the same place. */

import { hasConsent, saveConsent } from "./store.js";

export class Consent {
  constructor({ box, callout, answer, version, onTakenBack }) {
    Object.assign(this, { box, callout, answer });
    box.checked = hasConsent(version);
    box.addEventListener("change", () => {
      saveConsent(box.checked ? version : null);
      this.hush();
      if (!box.checked) onTakenBack();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.hush()) event.stopPropagation();
    }, { capture: true });
  }

  get isGiven() {
    return this.box.checked;
  }

  /** Point at the line: an answer came that may not be kept. */
  explain(character) {
    this.callout.textContent = `Nothing was stored: I keep your ${character} only if you tick this box. Then answer once more.`;
    this.callout.hidden = false;
    this.answer.setAttribute("data-asking", "");
    this.box.focus({ preventScroll: true }); // it stands on the screen's foot; scrolling to it would move the sheet away
    if (this.box.getBoundingClientRect().bottom > window.innerHeight) this.box.scrollIntoView({ block: "center" });
  }

  /** Take the pointing away; true when there was some. */
  hush() {
    const spoke = !this.callout.hidden;
    this.callout.hidden = true;
    this.answer.removeAttribute("data-asking");
    return spoke;
  }
}
