/** A question before something is done that cannot be undone. */

import { button, element } from "./dom.js";

/** Resolves to true when the visitor says yes; closing the dialog in any way is a no. */
export function ask({ title, text, yes, no = "Keep it" }) {
  const dialog = element("dialog", { className: "dialog" },
    element("h2", { id: "ask-title", textContent: title }),
    element("p", { id: "ask-text", textContent: text }),
    element("div", { className: "row" },
      button(no, () => dialog.close("")),
      button(yes, () => dialog.close("yes"), { className: "button button-warn" })));
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.setAttribute("aria-describedby", "ask-text");
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

export const DELETE_QUESTION = {
  title: "Delete this drawing?",
  text: "The drawing and all that was made of it are deleted at once and for good. A model that has already learned from it is marked and stays as it is; the next retraining starts without it.",
  yes: "Delete it",
};
