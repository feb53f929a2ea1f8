/** The letters that this browser gave, or those of a secret link: see them, download them, delete some or all. */

import { ask, DELETE_QUESTION } from "./ask.js";
import { $, button, copyLink, element, glyph } from "./dom.js";
import { deleteMine, getFile, getMine, getOutlook } from "./mine-api.js";
import { EVERYTHING_GONE, everythingQuestion, fate, letters, someQuestion } from "./mine-words.js";
import { forgetAll } from "./store.js";
import { date, percent, spoken, stateWords, trouble } from "./words.js";

const AT_ONCE = 200; // letters that one request deletes

let key = ""; // the secret of the link behind the #; empty: the browser's own
let drawings = [];
let total = 0;
let next = null;
let ownKey = null;
const picked = new Set();

function note(words, ...more) {
  $("note").replaceChildren(words, ...more);
}

// --- Showing them ---

/** The secret behind the #; what else may stand there, such as the way to the content, is none. */
function secret() {
  const fragment = decodeURIComponent(window.location.hash.slice(1));
  return /^[0-9a-f]{8}/.test(fragment) ? fragment : "";
}

async function load() {
  key = secret();
  [drawings, next] = [[], null];
  picked.clear();
  try {
    take(await getMine({ key }));
    note("");
  } catch (error) {
    show();
    $("mine-empty").hidden = true;
    if (error.status === 404) note("This link is not whole, or was made elsewhere. Copy all of it, the part behind the # too.");
    else note(`${trouble(error)[0]}. The letters could not be looked up just now. `, button("Try again", load));
  }
}

function take(page) {
  drawings = [...drawings, ...page.drawings];
  ({ total, next, key: ownKey } = page);
  show();
}

async function more() {
  const first = drawings.length;
  $("more").disabled = true;
  try {
    take(await getMine({ key, cursor: next }));
    $("mine-list").children[first]?.querySelector("a").focus();
    note("");
  } catch {
    note("More could not be looked up just now. Try again in a moment.");
  }
  $("more").disabled = false;
}

function show() {
  const some = drawings.length > 0;
  const list = $("mine-list");
  const shown = new Map([...list.children].map((each) => [each.dataset.drawing, each]));
  list.replaceChildren(...drawings.map((each) => shown.get(each.id) ?? item(each)));
  list.hidden = !some;
  $("mine-actions").hidden = !some;
  $("mine-elsewhere").hidden = !some || key !== "";
  $("mine-more").hidden = next === null;
  $("mine-empty").hidden = some;
  $("empty-title").textContent = key ? "There is no letter behind this link" : "This browser has given no letter";
  const whose = key ? "of this link" : "that this browser gave";
  const cut = drawings.length < total ? ` The newest ${drawings.length} are shown.` : "";
  $("mine-lead").textContent = some ? `${letters(total)} ${whose}.${cut}` : `The letters ${whose}.`;
  showPicked();
}

function item(drawing) {
  const { id, character, letter, image, url, state, created_at: when, predicted, probability } = drawing;
  const corrected = letter === character ? [] : [element("small", {}, "counts as ", glyph(letter))];
  const link = element("a", { className: "mine-link", href: url },
    element("span", { className: "inked" }, element("img", { src: image, alt: "", loading: "lazy" })),
    element("span", { className: "mine-letter" }, `${character === character.toLowerCase() ? "small" : "capital"} `, glyph(character)),
    ...corrected,
    element("small", { textContent: `read as ${predicted}, ${percent(probability)}` }),
    element("small", { className: "mine-state", textContent: stateWords(state)[0], dataset: { state } }),
    ...fate(drawing).map((words) => element("small", { textContent: words })),
    element("small", { textContent: date(when) }));
  const box = element("input", { type: "checkbox", ariaLabel: `Choose this ${spoken(character)}` });
  box.addEventListener("change", () => {
    if (box.checked) picked.add(id);
    else picked.delete(id);
    showPicked();
  });
  const remove = button("Delete", () => removeOne(drawing), { ariaLabel: `Delete this ${spoken(character)}` });
  const foot = element("div", { className: "mine-foot" }, element("label", { className: "mine-pick" }, box), remove);
  return element("li", { className: "mine-item card", dataset: { drawing: id } }, link, foot);
}

function showPicked() {
  $("mine-picked").hidden = picked.size === 0;
  $("picked-count").textContent = `${letters(picked.size)} chosen.`;
  $("delete-picked").textContent = picked.size === 1 ? "Delete it" : "Delete them";
}

function pickNone() {
  picked.clear();
  for (const box of $("mine-list").querySelectorAll("input")) box.checked = false;
  showPicked();
  $("main").focus();
}

// --- Deleting ---

/** Delete letters by their ids; those that are gone already count as deleted. */
async function withdraw(ids) {
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const some = ids.slice(at, at + AT_ONCE);
    const { confirm } = await getOutlook(key);
    const { deleted } = await deleteMine({ confirm, drawings: some }, key);
    drawings = drawings.filter((each) => !some.includes(each.id));
    for (const id of some) picked.delete(id);
    total = Math.max(drawings.length, total - deleted);
  }
}

async function removeOne(drawing) {
  if (!(await ask(DELETE_QUESTION))) return;
  const place = drawings.indexOf(drawing);
  if (await tried(() => withdraw([drawing.id]), "It is deleted.")) focusAt(place);
}

async function removePicked() {
  const ids = [...picked];
  if (!(await ask(ids.length === 1 ? DELETE_QUESTION : someQuestion(ids.length)))) return;
  if (await tried(() => withdraw(ids), `${letters(ids.length)} deleted.`)) focusAt(0);
}

async function tried(act, words) {
  try {
    await act();
    note(words);
  } catch (error) {
    note(`${trouble(error)[0]}. Not all could be deleted just now: try again in a moment.`);
    show();
    return false;
  }
  if (drawings.length === 0 && total > 0) await load();
  show();
  return true;
}

function focusAt(place) {
  const then = $("mine-list").children[Math.min(place, drawings.length - 1)];
  (then?.querySelector("a") ?? $("main")).focus();
}

async function removeAll() {
  $("delete-all").disabled = true;
  try {
    const outlook = await getOutlook(key);
    if (await ask(everythingQuestion(outlook))) await removeEverything(outlook);
  } catch (error) {
    note(`${trouble(error)[0]}. What is shown here is not deleted yet: try again in a moment.`);
    await getMine({ key }).then((page) => { drawings = []; take(page); }).catch(() => {});
  }
  $("delete-all").disabled = false;
}

async function removeEverything(outlook) {
  let { confirm } = outlook;
  for (;;) {
    note("Deleting …");
    const { left, forgotten } = await deleteMine({ confirm, everything: true }, key);
    if (forgotten) break;
    note(`Deleting, ${left} to go …`);
    ({ confirm } = await getOutlook(key));
  }
  [drawings, total, next] = [[], 0, null];
  picked.clear();
  if (!key) forgetAll();
  show();
  note(EVERYTHING_GONE(outlook));
  $("main").focus();
}

// --- Taking them along ---

/** A link's file is fetched with its secret in a header: it is to stand in no address that a server notes. */
async function download(event) {
  if (!key) return; // the browser does it, with its cookie
  event.preventDefault();
  note("Fetching them …");
  try {
    const file = await getFile(key);
    const link = element("a", { href: URL.createObjectURL(file), download: "my-letters.zip" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    note("They are downloaded.");
  } catch {
    note("They could not be fetched just now. Try again in a moment.");
  }
}

async function copyKey() {
  if (await copyLink(`${window.location.origin}/mine#${ownKey}`)) note("The secret link is copied.");
}

$("download").addEventListener("click", download);
$("delete-all").addEventListener("click", removeAll);
$("delete-picked").addEventListener("click", removePicked);
$("pick-none").addEventListener("click", pickNone);
$("more").addEventListener("click", more);
$("copy-key").addEventListener("click", copyKey);
window.addEventListener("hashchange", () => { if (secret() !== key) load(); });
load();
