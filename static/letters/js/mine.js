/** The letters that this browser gave: see them, download them, delete them. */

import { deleteDrawing, getDrawing, getMine } from "./api.js";
import { ask, DELETE_QUESTION } from "./ask.js";
import { $, button, element, glyph } from "./dom.js";
import { date, percent, spoken, stateWords, trouble } from "./words.js";

const MOST_WAITED = 10; // s that a busy server may ask for before the rest is left for another time

let drawings = [];
let total = 0;

const wait = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

function note(words, ...more) {
  $("note").replaceChildren(words, ...more);
}

// --- Showing them ---

async function load() {
  try {
    ({ drawings, total } = await getMine());
    note("");
    show();
  } catch (error) {
    note(`${trouble(error)[0]}. Your letters could not be looked up just now. `, button("Try again", load));
  }
}

function show() {
  const some = drawings.length > 0;
  $("mine-list").replaceChildren(...drawings.map(item));
  $("mine-list").hidden = !some;
  $("mine-actions").hidden = !some;
  $("mine-empty").hidden = some;
  const count = total === 1 ? "One letter that this browser gave." : `${total.toLocaleString("en")} letters that this browser gave.`;
  const cut = drawings.length < total ? ` The newest ${drawings.length} are shown.` : "";
  $("mine-lead").textContent = some ? count + cut : "The letters that this browser gave.";
}

function item(drawing) {
  const { character, image, url, state, created_at: when, predicted, probability } = drawing;
  const link = element("a", { className: "mine-link", href: url },
    element("span", { className: "inked" }, element("img", { src: image, alt: "" })),
    element("span", { className: "mine-letter" }, `${character === character.toLowerCase() ? "small" : "capital"} `, glyph(character)),
    element("small", { textContent: `read as ${predicted}, ${percent(probability)}` }),
    element("small", { textContent: stateWords(state)[0] }),
    element("small", { textContent: date(when) }));
  const remove = button("Delete", () => removeOne(drawing), { ariaLabel: `Delete this ${spoken(character)}` });
  return element("li", { className: "mine-item card", dataset: { drawing: drawing.id } }, link, remove);
}

// --- Deleting ---

/** Delete one; a drawing that is gone already counts as deleted. Waits where the server asks for a little time. */
async function withdraw(drawing) {
  try {
    await deleteDrawing(drawing.id, drawing.receipt);
  } catch (error) {
    if (error.status === 429 && error.retryAfter <= MOST_WAITED) {
      await wait(error.retryAfter ?? 1);
      return withdraw(drawing);
    }
    if (error.status !== 404) throw error;
  }
  drawings = drawings.filter((each) => each !== drawing);
  total -= 1;
  return undefined;
}

async function removeOne(drawing) {
  if (!(await ask(DELETE_QUESTION))) return;
  const place = drawings.indexOf(drawing);
  try {
    await withdraw(drawing);
    note("It is deleted.");
  } catch {
    note("It could not be deleted just now. Try again in a moment.");
    return;
  }
  show();
  const next = $("mine-list").children[Math.min(place, drawings.length - 1)];
  (next?.querySelector("a") ?? $("main")).focus();
}

async function removeAll() {
  const agreed = await ask({
    title: total === 1 ? "Delete your letter?" : `Delete all ${total} letters?`,
    text: "The drawings and all that was made of them are deleted at once and for good. A model that has already learned from them stays as it is; the next ones are made without them.",
    yes: "Delete all",
    no: "Keep them",
  });
  if (!agreed) return;
  $("delete-all").disabled = true;
  try {
    while (drawings.length > 0) {
      note(`Deleting, ${total} to go …`);
      await withdraw(drawings[0]);
      if (drawings.length === 0 && total > 0) ({ drawings, total } = await getMine());
    }
    note("All of them are deleted.");
  } catch {
    note(`${total} could not be deleted just now. Try again in a moment.`);
  }
  $("delete-all").disabled = false;
  show();
  $("main").focus();
}

// --- Downloading ---

/** All of them with their strokes, one after the other: a server has others to serve. */
async function download() {
  $("download").disabled = true;
  const whole = [];
  try {
    for (const drawing of drawings) {
      note(`Fetching ${whole.length + 1} of ${drawings.length} …`);
      whole.push({ receipt: drawing.receipt, ...(await getDrawing(drawing.id, drawing.receipt)) });
    }
    save(whole);
    note(whole.length < total ? `The newest ${whole.length} of ${total} are downloaded.` : "They are downloaded.");
  } catch {
    note("They could not all be fetched just now. Try again in a moment.");
  }
  $("download").disabled = false;
}

function save(whole) {
  const file = new Blob([JSON.stringify({ site: window.location.origin, drawings: whole }, null, 1)], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(file), download: "letterloop-letters.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("download").addEventListener("click", download);
$("delete-all").addEventListener("click", removeAll);
load();
