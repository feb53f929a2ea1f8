/** Small helpers around the page. */

export const $ = (id) => document.getElementById(id);

/** A new element with properties, `dataset` among them, and children. */
export function element(name, { dataset, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

/** A letter that is read, in its serif. */
export const glyph = (character) => element("span", { className: "glyph", textContent: character });

export function button(textContent, act, properties = {}) {
  const made = element("button", { type: "button", className: "button", textContent, ...properties });
  made.addEventListener("click", act);
  return made;
}

/** Copy a receipt's link, or show it where the browser has no clipboard for plain http. True when it was copied. */
export async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    return true;
  } catch {
    window.prompt("Your receipt", link);
    return false;
  }
}

/** Focus the drawing or the text without moving the page. */
export const focusQuietly = (node) => node.focus({ preventScroll: true, focusVisible: false });
