/** The drawing page: wires the sheet, the reader, the answer and the map together. */

import { Alike } from "./alike.js";
import { deleteDrawing } from "./api.js";
import { ask, DELETE_QUESTION } from "./ask.js";
import { Consent } from "./consent.js";
import { $, button, copyLink, element, focusQuietly, glyph } from "./dom.js";
import { boundsOf, toPayload } from "./geometry.js";
import { attemptFor, keep } from "./keeper.js";
import { Landing } from "./landing.js";
import { LetterCase } from "./lettercase.js";
import { foldAway } from "./motion.js";
import { interpret, ReadingView } from "./reading.js";
import { Reader } from "./reader.js";
import { Sheet } from "./sheet.js";
import { loadSheet, saveSheet } from "./store.js";
import { article, duration, spoken, trouble } from "./words.js";

const MID_STROKE = 450; // ms between readings of a stroke that is still being drawn; one that fails is let go
const config = JSON.parse($("config").textContent);

let latest = null; // the reading of what is on the sheet: {payload, result, milliseconds, interpreted}, or null
let pending = null; // the promise of it
let attempt = null; // the letter that was last sent for this drawing, with its Idempotency-Key
let isSending = false;
let keptHere = 0;
let midStroke = null;
let slipTimer = null;

// --- Parts ---

const view = new ReadingView({
  section: $("reading"), letter: $("reading-letter"), title: $("reading-title"), detail: $("reading-detail"),
  actions: $("reading-actions"), bars: $("bars"), table: $("bars-table").tBodies[0], seen: $("seen"), nothing: $("seen").src,
});
const landing = new Landing({ card: $("map-card"), title: $("map-title"), link: $("map-link"), canvas: $("map"), classes: config.classes });
const alike = new Alike({ part: $("alike"), list: $("alike-list") });
const consent = new Consent({
  box: $("consent"), callout: $("callout"), answer: $("answer"), version: config.consent_version,
  onTakenBack: () => slip("From now on nothing is kept. What you gave before is under Mine."),
});
const letters = new LetterCase({ dialog: $("letters"), onChoice: (character) => answer(character) });
const reader = new Reader({ onTrouble: showReadingTrouble });
const sheet = new Sheet({
  canvas: $("sheet"), pen: $("pen"), limits: config.limits,
  onChange: sheetChanged,
  onProgress: strokeGrows,
  onFull: () => slip(`${config.limits.strokes} strokes are all I can take. Undo one, or clear the sheet.`),
  onPen: (isDown) => announce(isDown ? "Pen down" : "Pen up"),
});

// --- Reading ---

function sheetChanged() {
  clearTimeout(midStroke);
  midStroke = null;
  latest = pending = attempt = null;
  consent.hush();
  saveSheet(sheet.strokes, attempt);
  refreshButtons();
  if (sheet.isEmpty) showEmpty();
  else {
    view.stale();
    readSheet();
  }
  if (sheet.strokes.length === config.limits.strokes) slip(`That was stroke ${config.limits.strokes}, the last that I can take.`);
}

function strokeGrows() {
  latest = null;
  $("invitation").hidden = true;
  if (view.section.dataset.state === "thanks") view.empty();
  view.stale();
  refreshButtons();
  midStroke ??= setTimeout(() => {
    midStroke = null;
    if (sheet.isDrawing && !isSending && isWorthReading(sheet.ink)) readSheet((payload) => reader.readOnce(payload)).catch(() => {});
  }, MID_STROKE);
}

/** Whether the ink is more than a dot yet. */
function isWorthReading(strokes) {
  const box = boundsOf(strokes);
  return Math.max(box.right - box.left, box.bottom - box.top) > 0.05;
}

/** Read what is on the sheet now. Resolves to the reading, or null when it failed or the sheet has changed since. */
function readSheet(ask = (payload) => reader.read(payload)) {
  const strokes = sheet.ink;
  const isWhole = !sheet.isDrawing;
  const asked = ask(toPayload(strokes, sheet.size)).then((reading) => {
    if (reading === null) return null;
    const whole = { ...reading, interpreted: interpret(reading.result, strokes, config.classes, isWhole) };
    if (isWhole && pending === asked) latest = whole;
    showReading(whole, isWhole);
    return whole;
  });
  pending = asked;
  return asked;
}

/** The reading of the sheet as it is, asked for where there is none. Throws the ApiError of one that failed. */
async function currentReading(isFresh) {
  if (latest !== null && !isFresh) return latest;
  const reading = await readSheet((payload) => reader.readOnce(payload));
  if (reading === null) throw new Superseded();
  return reading;
}

/** The sheet changed while its answer was on the way. */
class Superseded extends Error {}

// --- What is shown ---

function showEmpty() {
  reader.cancel();
  landing.reset();
  alike.reset();
  if (view.section.dataset.state !== "thanks") view.empty();
  $("invitation").hidden = false;
}

function showReading(reading, isWhole) {
  view.reading(reading.interpreted, reading);
  const { point, neighbours, model } = reading.result;
  landing.show(point, model?.digest, neighbours);
  alike.show(neighbours, model?.digest);
  labelAnswers(reading.interpreted.character);
  refreshButtons();
  if (isWhole) announce(view.aloud(reading.interpreted));
}

/** Where nothing was claimed there is nothing to be right about, and nothing to contradict. */
function labelAnswers(character) {
  $("right").replaceChildren(...(character ? [`Right, it is ${article(character)} `, glyph(character)] : ["Right"]));
  $("other").textContent = character || sheet.isEmpty ? "No, it is …" : "It is …";
}

function showReadingTrouble(error, seconds) {
  const [title, text] = trouble(error);
  const again = seconds === null ? "" : ` I try again in ${duration(seconds)}.`;
  showTrouble(title, text + again, error.isPassing, () => readSheet());
}

function showTrouble(title, text, canSendAgain, send) {
  const again = button("Send again", () => {
    focusQuietly($("sheet")); // the button goes away with its words
    send();
  }, { id: "again" });
  view.trouble(title, text, canSendAgain ? [again] : []);
  announce(`${title}. ${text}`);
  refreshButtons();
}

function refreshButtons() {
  const disable = (id, isOff) => $(id).setAttribute("aria-disabled", String(isOff));
  disable("undo", !sheet.canUndo);
  disable("redo", !sheet.canRedo);
  disable("clear", sheet.isEmpty);
  disable("other", sheet.isEmpty || isSending);
  disable("right", sheet.isEmpty || isSending || isUnread() || !$("right").querySelector(".glyph"));
  if (sheet.isEmpty) labelAnswers(null);
}

/** What is on the sheet could not be read: nothing to be right about. */
const isUnread = () => view.section.dataset.state === "trouble" && latest === null;

function announce(words) {
  $("announcer").textContent = words;
}

/** A few words on the sheet's foot, gone after a while. */
function slip(words) {
  $("slip").textContent = words;
  clearTimeout(slipTimer);
  slipTimer = setTimeout(() => { $("slip").textContent = ""; }, 6000);
}

// --- Answering ---

/** "Right": the letter on the button, once it is known to be that of the sheet as it is. */
async function confirm() {
  if ($("right").getAttribute("aria-disabled") === "true" || isSending) return;
  const shown = $("right").querySelector(".glyph").textContent;
  sheet.finish();
  const reading = latest ?? (await pending?.catch(() => null)); // who asked hears of a failure
  if (reading?.interpreted.character === shown) answer(shown);
}

/** The visitor says which letter it is: keep it with the drawing. */
async function answer(character) {
  if (isSending || sheet.isEmpty) return;
  sheet.finish();
  if (!consent.isGiven) {
    consent.explain(character);
    return;
  }
  isSending = true;
  refreshButtons();
  const strokes = sheet.strokes;
  attempt = attemptFor(attempt, character);
  saveSheet(strokes, attempt);
  try {
    thank(await keep(attempt, currentReading, config.consent_version), strokes);
  } catch (error) {
    isSending = false; // the words below stand beside live buttons
    if (!(error instanceof Superseded)) showSendingTrouble(error, character);
  } finally {
    isSending = false;
    refreshButtons();
  }
}

function showSendingTrouble(error, character) {
  const [title, text] = trouble(error);
  const wait = error.retryAfter === null ? "" : ` Try again in ${duration(error.retryAfter)}.`;
  showTrouble(title, `Your ${character} is not kept yet. ${text}${wait}`, error.isPassing, () => answer(character));
}

function thank(kept, strokes) {
  foldAway($("sheet-frame"), $("sheet"));
  sheet.settle(strokes);
  keptHere += 1;
  $("dog-ear").hidden = false;
  $("dog-ear").firstElementChild.textContent = keptHere;
  if (!sheet.isEmpty) { // the next letter is on it already
    slip(`Thank you, your ${kept.character} is kept. You find it under Mine.`);
    return;
  }
  const see = element("a", { className: "button", href: kept.url, id: "receipt", textContent: "See it" });
  const copy = button("Copy link", () => copyReceipt(kept.url, copy), { id: "copy" });
  const remove = button("Delete", () => withdraw(kept), { id: "withdraw" });
  view.thanks(kept.character, "The link is your receipt: by it you can see the drawing and delete it.", [see, copy, remove]);
  announce(`Thank you, your ${spoken(kept.character)} is kept. The sheet is ready for the next letter.`);
}

async function copyReceipt(url, copy) {
  if (!(await copyLink(new URL(url, window.location.href).href))) return;
  copy.textContent = "Copied";
  announce("The link is copied");
}

async function withdraw(kept) {
  if (!(await ask(DELETE_QUESTION))) return;
  try {
    await deleteDrawing(kept.id, kept.receipt);
    if (view.section.dataset.state === "thanks") view.empty();
    slip("It is deleted.");
  } catch (error) {
    slip(error.status === 404 ? "It was deleted before." : "It could not be deleted just now. Try again, or later under Mine.");
  }
  focusQuietly($("sheet"));
}

// --- Buttons and keys ---

function whenEnabled(id, act) {
  $(id).addEventListener("click", () => $(id).getAttribute("aria-disabled") !== "true" && act());
}

whenEnabled("undo", () => sheet.undo());
whenEnabled("redo", () => sheet.redo());
whenEnabled("clear", clearSheet);
whenEnabled("right", confirm);
whenEnabled("other", openLetters);
$("reading-actions").addEventListener("click", (event) => {
  const chip = event.target.closest("[data-character]");
  if (chip) answer(chip.dataset.character);
});

function clearSheet() {
  if (view.section.dataset.state === "thanks") view.empty();
  if (sheet.isEmpty) return;
  sheet.clear();
  view.empty();
  refreshButtons();
}

function openLetters() {
  const alternatives = latest?.interpreted.alternatives ?? [];
  letters.open(alternatives.map(({ character }) => character));
}

const isMac = /mac|iphone|ipad/i.test(navigator.platform);
$("undo-key").textContent = isMac ? "⌘Z" : "Ctrl+Z";

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey) steerHistory(event);
  else if (!event.altKey && !event.repeat) act(event);
});

function steerHistory(event) {
  const key = event.key.toLowerCase();
  if (key === "z" && event.shiftKey || key === "y" && !event.shiftKey) sheet.redo();
  else if (key === "z") sheet.undo();
  else return;
  event.preventDefault();
}

/** Letters answer only while the focus is on the sheet or nowhere: not while someone reads or speaks their way about. */
function act(event) {
  if (event.key === "Escape") return clearSheet();
  if (event.target !== $("sheet") && event.target !== document.body) return undefined;
  if (event.key === "Enter") return confirm();
  if (/^[A-Za-z]$/.test(event.key)) return answer(event.key);
  return undefined;
}

// --- Start ---

const saved = loadSheet();
sheet.redraw();
if (saved.strokes.length > 0) {
  sheet.restore(saved.strokes);
  attempt = saved.attempt; // an answer that may have arrived before the reload is not stored twice
  saveSheet(saved.strokes, attempt);
  $("invitation").hidden = true;
}
refreshButtons();
landing.load();
