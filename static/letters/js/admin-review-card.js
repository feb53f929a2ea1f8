/** What a card shows, as elements. */

import { element } from "./dom.js";
import { picture } from "./admin-review-drawing.js";

const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.005 ? 1 : 0)}\u2009%`;
export const shortId = (id) => id.slice(0, 8);
export const drawingAddress = (id) => `/admin/letters/drawing/${id}/change/`;

function reading(label, probability, isRight, note) {
  return [
    element("strong", { className: isRight ? "read-right" : "read-wrong", textContent: `${isRight ? "✓" : "✗"} ${label}` }),
    ` ${percent(probability)} `,
    element("small", { textContent: note }),
  ];
}

/** What the model read when it was drawn. */
export const readThen = ({ read, label }) =>
  reading(read.label, read.probability, read.label === label, `by model ${read.model.version}`);

/** What the serving model reads; it says so where no worker has looked yet. */
export function readNow({ reads, label, letter }) {
  if (!reads) return [element("small", { textContent: "not yet: no worker has examined it" })];
  const by = reads.stale ? `by model ${reads.model.version}, which serves no longer` : `by model ${reads.model.version}`;
  const isRight = reads.label === label;
  return reading(reads.label, reads.probability, isRight, isRight ? by : `${letter}: ${percent(reads.label_probability)}, ${by}`);
}

const mark = (words, className = "") => element("li", { className }, ...[words].flat());

/** What else there is to know of a card. */
export function marks(card) {
  const found = [];
  if (card.state !== "pending") found.push(mark(card.state, `rv-state-${card.state}`));
  if (card.decided) found.push(mark(`${card.decided}; it can be decided anew`));
  for (const { reason, count, answered } of card.reports)
    found.push(mark(`reported${count > 1 ? ` ${count} times` : ""}: ${reason}${answered ? ", which was answered" : ""}`, answered ? "" : "rv-reported"));
  if (card.duplicate_of) found.push(mark(duplicate(card.duplicate_of), "rv-duplicate"));
  if (card.contributor.held_out) found.push(mark("held out: it judges models and trains none"));
  if (card.source === "import") found.push(mark("imported"));
  if (card.reads?.unfamiliarity > 1) found.push(mark("unlike the letters that the model knows"));
  return found;
}

function duplicate({ id, likeness, letter, state, image }) {
  const link = element("a", { href: drawingAddress(id), target: "_blank", textContent: `a ${letter}, ${state}` });
  return [element("img", { src: image, width: 28, height: 28, alt: "" }), ` ${likeness} duplicate of `, link];
}

/** Who drew it. */
export function person({ contributor }) {
  const { id, drawings, approved, rejected } = contributor;
  return element(
    "p", {},
    element("a", { href: `/admin/letters/contributor/${id}/change/`, target: "_blank", textContent: `Contributor ${shortId(id)}` }),
    `: ${drawings} drawing${drawings === 1 ? "" : "s"}, ${approved} approved, ${rejected} rejected`,
  );
}

/** In words, for who does not see it. */
export function inWords(card) {
  const now = card.reads ?? card.read;
  const doubled = card.duplicate_of ? `, ${card.duplicate_of.likeness} duplicate` : "";
  const reported = card.reports.some((each) => !each.answered) ? ", reported" : "";
  return `given as ${spoken(card.letter)}, read as ${spoken(now.label)}, ${percent(now.probability)}${doubled}${reported}`;
}

const spoken = (letter) => `${letter === letter.toUpperCase() ? "capital" : "small"} ${letter}`;

/** A card among those on the desk. */
export function tile(card) {
  const now = card.reads ?? card.read;
  const open = element("button", { type: "button", className: "rv-open" }, picture(card));
  open.setAttribute("aria-label", inWords(card));
  const caption = element("span", { className: "rv-caption" }, element("b", { textContent: card.letter }));
  if (now.label !== card.label) caption.append(element("i", { textContent: now.label, title: `read as ${now.label}` }));
  if (card.duplicate_of) caption.append(element("em", { textContent: "2×", title: `${card.duplicate_of.likeness} duplicate` }));
  const box = element("input", { type: "checkbox", className: "rv-check" });
  box.setAttribute("aria-label", `Select ${card.letter}`);
  return element("li", { className: "rv-tile", dataset: { id: card.id } }, open, element("label", { className: "rv-foot" }, box, caption));
}
