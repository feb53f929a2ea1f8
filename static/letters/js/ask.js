/** A question before something is done that cannot be undone. */

/** Resolves to true when the visitor says yes; closing the dialog in any way is a no. */
export function ask({ title, text, yes, no = "Keep it" }) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const heading = Object.assign(document.createElement("h2"), { textContent: title, id: "ask-title" });
  const words = Object.assign(document.createElement("p"), { textContent: text, id: "ask-text" });
  const row = Object.assign(document.createElement("div"), { className: "row" });
  const refuse = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: no });
  const agree = Object.assign(document.createElement("button"), { type: "button", className: "button button-warn", textContent: yes });
  row.append(refuse, agree);
  dialog.append(heading, words, row);
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.setAttribute("aria-describedby", "ask-text");
  document.body.append(dialog);
  return new Promise((resolve) => {
    refuse.addEventListener("click", () => dialog.close(""));
    agree.addEventListener("click", () => dialog.close("yes"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

export const DELETE_QUESTION = {
  title: "Delete this drawing?",
  text: "The drawing and all that was made of it are deleted at once and for good. A model that has already learned from it stays as it is; the next ones are made without it.",
  yes: "Delete it",
};
