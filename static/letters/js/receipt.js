/** The page of a receipt: shows the drawing to whoever holds it, and deletes it. The receipt rides behind the #. */

import { deleteDrawing, getDrawing } from "./api.js";
import { ask, DELETE_QUESTION } from "./ask.js";
import { $, button, copyLink, element, glyph } from "./dom.js";
import { fromPayload, schedule } from "./geometry.js";
import { drawAll, drawStroke, prepare } from "./ink.js";
import { getMine } from "./mine-api.js";
import { isCalm } from "./motion.js";
import { article, date, percent, spoken, stateWords, trouble } from "./words.js";

const id = $("receipt").dataset.drawing;

let receipt = "";
let drawing = null;
let strokes = [];
let stopReplay = () => {};

// --- Finding it ---

/** The receipt of the link; without one, this browser may be the drawing's own. */
async function findReceipt() {
  const fragment = decodeURIComponent(window.location.hash.slice(1));
  if (fragment) return fragment;
  const { drawings } = await getMine({ limit: 200 });
  return drawings.find((each) => each.id === id)?.receipt ?? "";
}

async function load() {
  say("Your drawing", "Looking it up …");
  $("kept").hidden = true;
  try {
    receipt = await findReceipt();
    if (!receipt) {
      say("This link is not whole", "The receipt is missing: the part behind the # sign. Copy the whole link once more from where you kept it.");
      return;
    }
    drawing = await getDrawing(id, receipt);
    show();
  } catch (error) {
    if (error.status === 404) {
      say("There is no such drawing", "It was deleted, or the receipt in the link is not its own. If you did not delete it, look whether the whole link was copied.");
    } else {
      const [title] = trouble(error);
      say(title, "The drawing could not be looked up just now. Nothing has happened to it.", button("Try again", load));
    }
  }
}

function say(title, text, ...actions) {
  $("receipt-title").textContent = title;
  $("receipt-lead").textContent = text;
  $("receipt-actions").replaceChildren(...actions);
  $("receipt-actions").hidden = actions.length === 0;
}

// --- Showing it ---

function show() {
  const { character, predicted, probability, state, created_at: when, model } = drawing;
  strokes = fromPayload(drawing);
  say("", `Given on ${date(when)}.`);
  $("receipt-title").replaceChildren(`Your ${character === character.toLowerCase() ? "small" : "capital"} `, glyph(character));
  document.title = `Your ${spoken(character)} · Letterloop`;
  $("kept-sheet").setAttribute("aria-label", `Your ${spoken(character)}, as you drew it`);
  const [title, text] = stateWords(state);
  $("kept-state").dataset.state = state;
  $("kept-state").querySelector("strong").textContent = title;
  $("kept-state").querySelector("span").textContent = text;
  $("kept-facts").replaceChildren(
    ...fact("You say", ["it is ", article(character), " ", glyph(character)]),
    ...fact("The model read", [article(predicted), " ", glyph(predicted), `, ${percent(probability)} sure`]),
    ...fact("Model", [`version ${model.version} (${model.digest})`]),
    ...fact("Drawn in", [`${strokes.length} ${strokes.length === 1 ? "stroke" : "strokes"}`]),
  );
  $("kept").hidden = false;
  redraw();
}

const fact = (term, value) => [element("dt", { textContent: term }), element("dd", {}, ...value)];

function redraw() {
  const canvas = $("kept-sheet");
  if (canvas.clientWidth === 0) return null;
  stopReplay();
  const context = prepare(canvas, canvas.clientWidth);
  drawAll(context, strokes, canvas.clientWidth);
  return context;
}

/** Draw it as it was drawn, in its own time. */
function replay() {
  const context = redraw();
  if (isCalm() || context === null) return;
  const size = $("kept-sheet").clientWidth;
  const times = schedule(strokes);
  const start = performance.now();
  let frame = requestAnimationFrame(function tick(now) {
    const visible = strokes
      .map((stroke, index) => stroke.filter((_, point) => times[index][point] <= now - start))
      .filter((stroke) => stroke.length > 0);
    context.clearRect(0, 0, size, size);
    for (const stroke of visible) drawStroke(context, stroke, size);
    if (now - start < Math.max(...times.flat())) frame = requestAnimationFrame(tick);
  });
  stopReplay = () => cancelAnimationFrame(frame);
}

// --- What can be done with it ---

async function remove() {
  if (!(await ask(DELETE_QUESTION))) return;
  try {
    await deleteDrawing(id, receipt);
  } catch (error) {
    if (error.status !== 404) {
      $("note").textContent = "It could not be deleted just now. Try again in a moment.";
      return;
    }
  }
  window.history.replaceState(null, "", window.location.pathname); // the receipt is spent
  $("kept").hidden = true;
  say("It is deleted", "Nothing of it is left here. Thank you all the same.", element("a", { className: "button", href: "/", textContent: "Draw another" }));
  $("main").focus();
}

async function copy() {
  const copied = await copyLink(`${window.location.origin}${window.location.pathname}#${receipt}`);
  if (copied) $("note").textContent = "The link is copied.";
}

$("replay").addEventListener("click", replay);
$("replay").hidden = isCalm();
$("delete").addEventListener("click", remove);
$("copy").addEventListener("click", copy);
window.addEventListener("hashchange", load);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(redraw).observe($("kept-sheet"));
load();
