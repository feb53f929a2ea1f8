/** The review queue: cards that this reviewer alone has, decided by keys or by touch, sent on in order behind the scenes. */

import { $, button, element } from "./dom.js";
import * as api from "./admin-review-api.js";
import * as show from "./admin-review-card.js";
import { picture, replay } from "./admin-review-drawing.js";
import { Outbox } from "./admin-review-outbox.js";

const DESK = 24; // cards held at once
const LOW = 14; // fewer than that, and more are fetched
const RENEW = 60_000; // ms; a lease lasts for some minutes
const LOOK_AGAIN = 10_000; // ms between looks at an empty queue
const NOTICE = 9_000; // ms that a notice stays
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const config = JSON.parse($("review-config").textContent);
const root = $("review");
const filters = $("filters");

const desk = { cards: [], index: 0, selected: new Set(), waiting: 0, moreWait: false, round: 0, isLoading: false, isLast: false };
const done = []; // what undo takes back, newest last: { cards, decisions: Map of card to decision, job }
const tiles = new Map();

const outbox = new Outbox({
  onChange(count) {
    $("saving").textContent = count > 0 ? `saving ${count} …` : done.length ? "all saved" : "";
    root.dataset.unsaved = count;
  },
  onTrouble(refusal) {
    $("trouble").hidden = refusal === null;
    if (refusal === null) return;
    $("trouble").querySelector("span").textContent = refusal.isSignedOut
      ? "You are signed out. Sign in in another tab: what you decided waits here."
      : `The server does not answer (${refusal.message}). What you decided waits here and is sent again.`;
  },
});

// --- The desk ------------------------------------------------------------------------------------------------------

const current = () => desk.cards[desk.index];
const held = () => [...new Set([...desk.cards.map((card) => card.id), ...outbox.drawings])];

function wanted() {
  const entered = Object.fromEntries(new FormData(filters));
  const duplicates = { true: true, false: false }[entered.duplicates] ?? null;
  const [contributor, since, until] = [entered.contributor.trim(), entered.since, entered.until].map((each) => each || null);
  return { ...entered, contributor, since, until, duplicates, reported: entered.reported === "true" };
}

/** Fetch what the desk lacks, and keep what lies there. */
async function refill({ always = false } = {}) {
  const lacking = Math.max(0, DESK - desk.cards.length);
  if (desk.isLoading || (!always && (desk.isLast || desk.cards.length >= LOW))) return;
  desk.isLoading = true;
  const round = desk.round;
  try {
    const answer = await api.claim(wanted(), lacking, held());
    if (round === desk.round) take(answer, lacking);
  } catch (refusal) {
    if (round === desk.round) loadFailed(refusal);
  } finally {
    desk.isLoading = false;
    if (round !== desk.round) refill();
  }
}

/** The card that the address names, before all others; where it cannot be had, why, until that is closed. */
async function takeNamed(id) {
  try {
    const { card, decided } = await api.claimOne(id);
    desk.cards.unshift(Object.assign(card, { decided }));
    root.dataset.state = "ready";
    render();
    tell(decided ? `${decided}. It can be decided anew.` : "");
  } catch (refusal) {
    const isThere = !refusal.isPassing && refusal.status !== 404;
    const record = isThere ? [" ", element("a", { href: show.drawingAddress(id), textContent: "Its record" })] : [];
    $("named").querySelector("span").replaceChildren(`The drawing that you came for is not on your desk: ${refusal.message}.`, ...record);
    $("named").hidden = false;
  }
}

function take({ cards, lost, waiting, more_wait: moreWait }, asked) {
  const known = new Set(held());
  desk.cards.push(...cards.filter((card) => !known.has(card.id)));
  desk.isLast = cards.length < asked;
  desk.waiting = Math.max(desk.cards.length, waiting - outbox.size);
  desk.moreWait = moreWait;
  const gone = new Set(lost.filter((id) => !outbox.drawings.includes(id)));
  const left = desk.cards.filter((card) => gone.has(card.id));
  drop(left);
  if (left.length) notify(`${left.length === 1 ? "A card" : `${left.length} cards`} left your desk: decided by somebody else, muted or withdrawn.`);
  root.dataset.state = "ready";
  render();
}

function loadFailed(refusal) {
  root.dataset.state = "failed";
  notify(refusal.isSignedOut ? "You are signed out: sign in, then come back to this page." : `No cards could be fetched: ${refusal.message}`);
  render();
}

/** Take cards off the desk; the focus stays where it was, or as near as can be. */
function drop(cards) {
  const gone = new Set(cards);
  const before = desk.cards.slice(0, desk.index).filter((card) => gone.has(card)).length;
  desk.cards = desk.cards.filter((card) => !gone.has(card));
  desk.index = Math.max(0, Math.min(desk.index - before, desk.cards.length - 1));
  for (const card of cards) desk.selected.delete(card.id);
}

function putBack(cards) {
  const there = new Set(desk.cards.map((card) => card.id));
  desk.cards.splice(desk.index, 0, ...cards.filter((card) => !there.has(card.id)));
}

function startAnew() {
  const released = api.release(desk.cards.map((card) => card.id)).catch(() => {}); // their leases run out by themselves
  Object.assign(desk, { cards: [], index: 0, isLast: false, round: desk.round + 1 });
  desk.selected.clear();
  root.dataset.state = "loading";
  render();
  released.then(() => refill()); // a release that came after would take cards from the new desk as well
}

// --- Decide --------------------------------------------------------------------------------------------------------

const WORDS = { approve: "Approved", reject: "Rejected", relabel: "Relabelled" };

function describe(cards, judgement) {
  const what = cards.length === 1 ? cards[0].letter : `${cards.length} cards`;
  const reason = config.reasons.find((each) => each.value === judgement.reason)?.name;
  return `${WORDS[judgement.action]} ${what}${reason ? `: ${reason}` : ""}${judgement.character ? ` as ${judgement.character}` : ""}.`;
}

function decide(cards, judgement) {
  if (!cards.length) return;
  const entry = { cards, decisions: new Map() };
  entry.job = cards.length === 1 ? jobForOne(entry, cards[0], judgement) : jobForMany(entry, cards, judgement);
  done.push(entry);
  drop(cards);
  desk.waiting -= cards.length;
  outbox.add(entry.job);
  render();
  tell(describe(cards, judgement));
  refill();
}

function jobForOne(entry, card, judgement) {
  return {
    drawings: [card.id],
    send: () => api.decide(card, judgement),
    done: ({ decision }) => entry.decisions.set(card, decision),
    refused: (refusal) => wasRefused(entry, card, refusal.message),
  };
}

function jobForMany(entry, cards, judgement) {
  return {
    drawings: cards.map((card) => card.id),
    send: () => api.decideAll(cards, judgement),
    done({ outcomes }) {
      const byId = new Map(cards.map((card) => [card.id, card]));
      for (const { drawing, decision, message } of outcomes) {
        if (decision === null) wasRefused(entry, byId.get(drawing), message);
        else entry.decisions.set(byId.get(drawing), decision);
      }
    },
    refused: (refusal) => cards.forEach((card) => wasRefused(entry, card, refusal.message)),
  };
}

function wasRefused(entry, card, message) {
  entry.cards = entry.cards.filter((each) => each !== card);
  if (!entry.cards.length && done.includes(entry)) done.splice(done.indexOf(entry), 1);
  notify(`${card.letter}: ${message}.`);
}

function undo() {
  const entry = done.pop();
  if (!entry) return undoOnServer();
  putBack(entry.cards);
  desk.waiting += entry.cards.length;
  if (!outbox.withdraw(entry.job)) for (const card of entry.cards) outbox.add(jobToUndo(entry, card));
  render();
  tell(entry.cards.length === 1 ? `Back again: ${entry.cards[0].letter}.` : `${entry.cards.length} cards are back again.`);
  return undefined;
}

function jobToUndo(entry, card) {
  return {
    drawings: [card.id],
    send: async () => (entry.decisions.has(card) ? api.undo(entry.decisions.get(card)) : null),
    done(answer) {
      if (answer) Object.assign(card, answer.card); // its revision above all
      else drop([card]);
      render();
    },
    refused(refusal) {
      drop([card]);
      notify(`${card.letter}: ${refusal.message}.`);
      render();
    },
  };
}

/** What was decided before this page was loaded. */
function undoOnServer() {
  outbox.add({
    drawings: [],
    send: () => api.undo(null),
    done({ card }) {
      putBack([card]);
      desk.waiting += 1;
      render();
      tell(`Back again: ${card.letter}.`);
    },
    refused: (refusal) => notify(`${refusal.message}.`),
  });
}

const selection = () => desk.cards.filter((card) => desk.selected.has(card.id));
const one = () => (current() ? [current()] : []);

const actions = {
  approve: () => decide(one(), { action: "approve" }),
  reject: (reason) => decide(one(), { action: "reject", reason }),
  relabel: openRetype,
  undo,
  "approve-selected": () => decide(selection(), { action: "approve" }),
  "reject-selected": (reason) => decide(selection(), { action: "reject", reason }),
  "clear-selection"() {
    desk.selected.clear();
    render();
  },
  select() {
    if (current()) toggle(current());
  },
  replay: () => current() && replay($("sheet").firstElementChild, current()),
};

function toggle(card) {
  if (!desk.selected.delete(card.id)) desk.selected.add(card.id);
  render();
  tell(`${desk.selected.size} selected.`);
}

function move(by) {
  if (!desk.cards.length) return;
  desk.index = Math.min(desk.cards.length - 1, Math.max(0, desk.index + by));
  closeRetype();
  render();
  tell("");
}

// --- Another letter ------------------------------------------------------------------------------------------------

function openRetype() {
  if (!current()) return;
  $("retype").hidden = false;
  $("retype-note").textContent = "";
  $("character").value = "";
  $("character").focus();
}

function closeRetype() {
  if ($("retype").hidden) return;
  $("retype").hidden = true;
  focusStage();
}

function retyped() {
  const character = $("character").value;
  $("character").value = "";
  if (config.characters.includes(character)) {
    closeRetype();
    decide(one(), { action: "relabel", character });
  } else if (character) $("retype-note").textContent = `${character} is none of the letters A–Z and a–z.`;
}

// --- Contributors --------------------------------------------------------------------------------------------------

async function mute({ contributor }) {
  try {
    await api.mute(contributor.id, true);
  } catch (refusal) {
    notify(refusal.message);
    return;
  }
  drop(desk.cards.filter((card) => card.contributor.id === contributor.id));
  notify(`Contributor ${show.shortId(contributor.id)} is muted.`, button("Let back in", async () => {
    await api.mute(contributor.id, false).then(() => notify("Back in the queue."), (refusal) => notify(refusal.message));
    refill({ always: true });
  }));
  render();
  refill({ always: true });
}

function onlyTheirs({ contributor }) {
  filters.elements.contributor.value = contributor.id;
  filtersChanged();
}

// --- Show ----------------------------------------------------------------------------------------------------------

let shown = null;

function render() {
  const card = current();
  const isReady = root.dataset.state !== "loading";
  const mayCome = !isReady || (root.dataset.state === "ready" && !desk.isLast);
  $("waiting").textContent = isReady ? `${desk.moreWait ? "more than " : ""}${desk.waiting.toLocaleString("en")} waiting` : "";
  $("stage").hidden = $("next").hidden = !card;
  $("empty").hidden = Boolean(card) || mayCome;
  $("empty-words").textContent = emptiness();
  if (card) renderCard(card);
  renderStrip();
  shown = card ?? null;
}

function emptiness() {
  if (root.dataset.state === "failed") return "The last look failed. Look again.";
  return countFilters() ? "Nothing matches these filters." : "New drawings appear here by themselves.";
}

function renderCard(card) {
  const isNew = card !== shown;
  if (isNew) {
    $("sheet").replaceChildren(picture(card));
    closeRetype();
  }
  $("stage").setAttribute("aria-label", `The card in focus: ${show.inWords(card)}`);
  $("letter").textContent = card.letter;
  $("typed").textContent = card.letter === card.typed ? "" : `typed as ${card.typed}`;
  $("read").replaceChildren(...show.readThen(card));
  $("reads").replaceChildren(...show.readNow(card));
  $("seen").src = card.image;
  $("marks").replaceChildren(...show.marks(card));
  const theirs = button("Only theirs", () => onlyTheirs(card), { className: "rv-quiet" });
  const muting = config.may_mute ? [button("Mute", () => mute(card), { className: "rv-quiet" })] : [];
  $("person").replaceChildren(show.person(card), theirs, ...muting);
  if (isNew && (document.activeElement === document.body || $("stage").contains(document.activeElement))) focusStage();
}

function renderStrip() {
  const kept = new Set(desk.cards.map((card) => card.id));
  for (const id of tiles.keys()) if (!kept.has(id)) tiles.delete(id);
  const inOrder = desk.cards.map((card) => {
    if (!tiles.has(card.id)) tiles.set(card.id, newTile(card));
    const made = tiles.get(card.id);
    if (card === current()) made.setAttribute("aria-current", "true");
    else made.removeAttribute("aria-current");
    made.querySelector("input").checked = desk.selected.has(card.id);
    return made;
  });
  const strip = $("strip");
  inOrder.forEach((made, place) => {
    if (strip.children[place] !== made) strip.insertBefore(made, strip.children[place] ?? null);
  });
  while (strip.children.length > inOrder.length) strip.lastElementChild.remove();
  $("selection").hidden = desk.selected.size === 0;
  $("selected-count").textContent = `${desk.selected.size} selected`;
}

function newTile(card) {
  const made = show.tile(card);
  const [open, box] = [made.querySelector("button"), made.querySelector("input")];
  const again = () => replay(open.firstElementChild, card);
  open.addEventListener("pointerenter", again);
  open.addEventListener("focus", again);
  open.addEventListener("click", () => {
    move(desk.cards.indexOf(card) - desk.index);
    focusStage();
  });
  box.addEventListener("change", () => toggle(card));
  return made;
}

/** For who does not see it: what happened, and what lies in focus now. */
function tell(what) {
  const card = current();
  $("live").textContent = `${what} ${card ? `Next: ${show.inWords(card)}.` : "Nothing waits here."}`.trim();
}

function notify(words, ...more) {
  const made = element("p", {}, words, " ", ...more);
  $("notices").append(made);
  setTimeout(() => made.remove(), NOTICE);
}

const focusStage = () => $("stage").focus({ preventScroll: true });

// --- Filters -------------------------------------------------------------------------------------------------------

const PLAIN = { order: "useful", state: "pending" };

const entered = () => [...new FormData(filters)].filter(([name, value]) => value && value !== PLAIN[name]);
const countFilters = () => entered().filter(([name]) => name !== "order").length;

function showFilters() {
  const count = countFilters();
  $("filters-count").textContent = count ? `(${count})` : "";
}

function filtersChanged() {
  const query = new URLSearchParams(entered()).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  showFilters();
  startAnew();
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (filters.elements[name]) filters.elements[name].value = value;
  }
  showFilters();
}

// --- Keys and hands ------------------------------------------------------------------------------------------------

const digit = (event) => config.reasons[Number(/^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1] ?? 0) - 1]?.value;

/** The action of a key; undefined where it has none here. */
function meaning(event) {
  const reason = digit(event);
  if (reason) return event.shiftKey ? () => actions["reject-selected"](reason) : () => actions.reject(reason);
  if (event.key === "Enter" && event.shiftKey) return actions["approve-selected"];
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return {
    Enter: actions.approve, " ": actions.approve, r: actions.relabel, "/": actions.relabel,
    u: actions.undo, Backspace: actions.undo, x: actions.select, p: actions.replay,
    Escape: actions["clear-selection"],
    ArrowLeft: () => move(-1), ArrowUp: () => move(-1), ArrowRight: () => move(1), ArrowDown: () => move(1),
  }[key];
}

function belongsElsewhere(event) {
  if (event.target.closest("input:not([type=checkbox]), select, textarea")) return true;
  return (event.key === "Enter" || event.key === " ") && event.target.closest("button, a, summary, input");
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && !$("retype").hidden) return closeRetype();
  if (belongsElsewhere(event)) return;
  const act = meaning(event);
  if (!act) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) act(); // a key that is held down decides once
});

root.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-do]");
  if (!pressed) return;
  actions[pressed.dataset.do](pressed.dataset.reason);
  if (pressed.dataset.do !== "relabel") focusStage(); // else Enter would press this button again
});
$("reject-selected").addEventListener("change", (event) => {
  if (event.target.value) actions["reject-selected"](event.target.value);
  event.target.value = "";
  focusStage();
});
$("character").addEventListener("input", retyped);
$("retype").addEventListener("submit", (event) => {
  event.preventDefault();
  closeRetype();
});
$("retype-cancel").addEventListener("click", closeRetype);
$("sheet").addEventListener("pointerenter", actions.replay);
$("sheet").addEventListener("focus", actions.replay);
$("named-close").addEventListener("click", () => {
  $("named").hidden = true;
  focusStage();
});
$("retry").addEventListener("click", () => outbox.retry());
$("look-again").addEventListener("click", () => refill({ always: true }));
filters.addEventListener("change", filtersChanged);
filters.addEventListener("reset", () => setTimeout(filtersChanged));
filters.addEventListener("submit", (event) => event.preventDefault());

addEventListener("beforeunload", (event) => {
  if (outbox.size) event.preventDefault();
});
addEventListener("pagehide", () => {
  if (desk.cards.length) api.release(desk.cards.map((card) => card.id)).catch(() => {});
});
addEventListener("pageshow", (event) => event.persisted && startAnew());
document.addEventListener("visibilitychange", () => document.hidden || refill({ always: true }));
setInterval(() => refill({ always: true }), RENEW);
setInterval(() => !desk.cards.length && !document.hidden && refill({ always: true }), LOOK_AGAIN);

if (matchMedia("(max-width: 700px), (pointer: coarse)").matches) $("help").open = false;
if (matchMedia("(min-width: 1000px)").matches) $("filters-box").open = true;
readAddress();
const named = new URLSearchParams(location.search).get("drawing");
if (UUID.test(named ?? "")) takeNamed(named).then(() => refill());
else refill();
