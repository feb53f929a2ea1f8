/** What the sheet shows when it is not the map that one can move: that it loads, that something is amiss, or a figure. */

const LOADING = "Laying out the letters …";

export class SheetState {
  constructor(parts) {
    Object.assign(this, parts);
  }

  /** "loading", "ready", "missing" or "trouble"; the last two with a title, a text and what one may do. */
  show(name, title = "", text = "", ...actions) {
    const hasMap = name === "ready" || name === "flat";
    this.atlas.dataset.state = name;
    this.message.hidden = hasMap;
    this.figure.hidden = name !== "flat";
    if (hasMap) return;
    this.title.textContent = name === "loading" ? LOADING : title;
    this.text.textContent = text;
    this.actions.replaceChildren(...actions);
  }

  /** Where there is no WebGL: the map as a picture, where there is one of it. */
  showFigure(src, alt) {
    this.show("flat");
    this.image.hidden = !src;
    if (!src) return;
    this.image.src = src;
    this.image.alt = alt;
  }
}
