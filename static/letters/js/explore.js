/** The page of maps: wires the map, its margin, the card, the selection and the table together. */

import { $, button, element } from "./dom.js";
import { read, write } from "./explore-address.js";
import { Card } from "./explore-card.js";
import { Controls } from "./explore-controls.js";
import { countsOf, placeOf } from "./explore-data.js";
import { NoWebGL } from "./explore-gl.js";
import { EVERYTHING, MODES } from "./explore-looks.js";
import { WHOLE } from "./explore-camera.js";
import { placeMine } from "./explore-mine.js";
import { Plot } from "./explore-plot.js";
import { Remake } from "./explore-remake.js";
import { Selection } from "./explore-selection.js";
import { SheetState } from "./explore-sheet.js";
import { getMaps, getPoints } from "./explore-source.js";
import { fillFigures, fillQuality, fillTable } from "./explore-table.js";
import { letters, methodWords, missingWords, summaryOf, trouble } from "./explore-words.js";

const CLOSE = 8; // the zoom at which a picture of the selection is looked at
const OWN = 4; // the zoom at which the visitor's own drawing is looked at
const config = JSON.parse($("config").textContent);
const { classes, methods, spaces } = config;
const allowed = { methods: Object.keys(methods), spaces: Object.keys(spaces), modes: Object.keys(MODES) };

let state = read(window.location.search, allowed);
let maps = null; // summaries of all that there are
let making = []; // what is on its way
let map = null; // the summary of the one that is shown
let points = null;
let selected = null; // numbers of points, or null
let marked = -1; // the point whose card is pinned
let asked = null; // aborts the fetch that is under way
let fresh = 0; // how often the maps were to be asked for anew
const fetched = new Map(); // points by the id of their map

// --- Parts ---

const card = new Card({ card: $("card"), frame: $("map-sheet"), classes, reviewUrl: config.review_url, onClose: closeCard });
const controls = new Controls({
  parts: {
    search: $("search"), clear: $("search-clear"), legend: $("legend"), key: $("colour-key"), colour: $("colour"),
    emnist: $("show-emnist"), collected: $("show-collected"), mistakes: $("show-mistakes"), suspected: $("show-suspected"),
    emnistCount: $("count-emnist"), collectedCount: $("count-collected"), mistakesCount: $("count-mistakes"), suspectedCount: $("count-suspected"),
  },
  classes, onFilter: filterChanged, onColour: colourChanged,
});
const selection = new Selection({
  part: $("selection"), title: $("selection-title"), counts: $("selection-counts"), grid: $("selection-grid"), more: $("selection-more"),
  classes, onPick: lookAt,
});
const sheet = new SheetState({
  atlas: $("atlas"), message: $("message"), title: $("message-title"), text: $("message-text"), actions: $("message-actions"),
  figure: $("figure"), image: $("figure-image"),
});
const remake = config.may_make && new Remake({
  part: $("remake"), button: $("remake-button"), progress: $("remake-progress"), words: $("remake-words"), cancel: $("remake-cancel"),
  onMade: ({ method, space }) => {
    if (method === state.method && space === state.space) reload();
    else maps = null;
  },
});
const plot = makePlot();

function makePlot() {
  try {
    return new Plot({ canvas: $("points"), overlay: $("overlay"), classes, on: { hover, pick, leave, move, select, settle, drawn } });
  } catch (error) {
    if (!(error instanceof NoWebGL)) throw error;
    return null;
  }
}

// --- Loading ---

async function load() {
  asked?.abort();
  const wait = new AbortController();
  asked = wait;
  map = points = null;
  dropSelection();
  markTabs();
  show("loading");
  try {
    if (maps === null) ({ maps, making } = await getMaps(fresh));
    if (asked !== wait) return;
    const found = maps.find(isWanted);
    if (remake) remake.show(state, Boolean(found), making.find(isWanted));
    if (!found) showMissing();
    else if (!fetched.has(found.id)) fetched.set(found.id, await getPoints(found, wait.signal));
    if (found && asked === wait) showMap(found, fetched.get(found.id));
  } catch (error) {
    if (error.name !== "AbortError") showTrouble(error);
  }
}

const isWanted = (each) => each.method === state.method && each.space === state.space;

function showMap(found, its) {
  map = found;
  points = its;
  $("summary").textContent = summaryOf(map, methods[map.method]);
  controls.show(state.filter, state.colour);
  controls.count(countsOf(points));
  fillQuality($("quality"), map);
  if (plot) drawMap();
  else sheet.showFigure(map.urls.svg, summaryOf(map, methods[map.method]));
  requestAnimationFrame(() => setTimeout(() => { // after the map is on the screen
    if (points !== its) return;
    fillTable($("table"), points, classes);
    fillFigures({ files: $("files"), figures: $("figures") }, map, methods[map.method]);
    $("numbers").hidden = false;
  }));
}

function drawMap() {
  plot.view = state.view;
  plot.mode = state.colour;
  plot.filter = state.filter;
  plot.mine = placeMine(state.mine, map, points);
  if (plot.mine) $("summary").append(" Your drawing is marked.");
  else if (state.mine) $("summary").append(" Your drawing has no place on this map.");
  if (plot.mine && !state.isPlaced) plot.view = { x: plot.mine[0], y: plot.mine[1], zoom: OWN };
  show("ready");
  plot.setPoints(points);
  tellShown();
}

// --- What is shown ---

function show(name, ...words) {
  sheet.show(name, ...words);
  if (name === "ready" || name === "flat") return;
  $("numbers").hidden = true;
  closeCard();
}

const again = (words) => button(words, reload);

/** As it stands now, and not as this browser heard it a moment ago. */
function reload() {
  maps = null;
  fresh += 1;
  load();
}

const showTrouble = (error) => show("trouble", ...trouble(error), again("Try again"));

function showMissing() {
  $("summary").textContent = missingWords(state.method, state.space, methods);
  const onItsWay = making.find(isWanted);
  const others = maps.slice(0, 4).map((each) => tabLink(each.method, each.space));
  if (onItsWay && !remake) show("missing", "This map is being made", `${Math.round(100 * onItsWay.share)}\u00a0% of it is done.`, again("Look again"));
  else if (others.length > 0) show("missing", "This map has not been made yet", "Others are there:", ...others, ...makeButton());
  else show("missing", "No map has been made yet", "The first is made while the site starts, which takes a minute.", again("Look again"), ...makeButton());
}

/** Staff have it made; how far it is stands in the margin. */
const makeButton = () => (remake && !remake.isMaking ? [button("Have it made", () => {
  remake.make();
  $("margin").scrollIntoView({ block: "nearest" });
})] : []);

function tabLink(method, space) {
  const link = element("a", { className: "button", href: `?method=${method}&space=${space}`, textContent: `${methods[method]}, ${spaces[space].toLowerCase()}` });
  link.addEventListener("click", (event) => followTab(event, link));
  return link;
}

function tellShown() {
  const isAll = plot.shownCount === points.count;
  $("shown").textContent = isAll ? `${letters(points.count)} shown` : `${letters(plot.shownCount)} of ${points.count.toLocaleString("en")} shown`;
}

/** The first picture of a map is on the screen: what is measured. */
function drawn() {
  if (performance.getEntriesByName("map-drawn").length === 0) performance.mark("map-drawn");
}

// --- Tabs and the address ---

function markTabs() {
  for (const link of document.querySelectorAll("[data-method]")) mark(link, link.dataset.method === state.method, { method: link.dataset.method });
  for (const link of document.querySelectorAll("[data-space]")) mark(link, link.dataset.space === state.space, { space: link.dataset.space });
  $("method-words").textContent = methodWords(state.method);
}

function mark(link, isCurrent, change) {
  const { method, space } = { ...state, ...change };
  link.href = `?method=${method}&space=${space}`;
  if (isCurrent) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

function followTab(event, link) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const { method, space } = read(new URL(link.href).search, allowed);
  if (method === state.method && space === state.space && points) return;
  state = { ...state, method, space, view: WHOLE, isPlaced: false };
  window.history.pushState(null, "", window.location.pathname + (write(state, allowed) || ""));
  load();
}

function settle() {
  if (!points) return;
  state = { ...state, view: plot.view, isPlaced: true, filter: plot.filter, colour: plot.mode };
  window.history.replaceState(null, "", window.location.pathname + write(state, allowed));
}

// --- What the visitor does ---

function filterChanged(filter) {
  state = { ...state, filter };
  if (!points || !plot) return;
  plot.setFilter(filter);
  if (marked >= 0 && !plot.isShown(marked)) closeCard();
  if (!card.isPinned) card.hide();
  if (selected) selection.show(map, points, selected.filter((index) => plot.isShown(index)), selected.length);
  tellShown();
  settle();
}

function colourChanged(mode) {
  state = { ...state, colour: mode };
  controls.showKey(mode);
  if (!points || !plot) return;
  plot.setMode(mode);
  settle();
}

function hover(index, at) {
  $("overlay").classList.toggle("on-point", index >= 0);
  if (card.isPinned) return;
  plot.mark(index);
  if (index < 0) card.hide();
  else card.show(map, points, index, at);
}

function pick(index, at) {
  if (index < 0) return closeCard();
  marked = index;
  plot.mark(index);
  card.show(map, points, index, at, true);
  $("announcer").textContent = card.aloud(points, index);
}

/** A picture of the selection was pressed: go to its point. */
function lookAt(index) {
  const [x, y] = placeOf(points, index);
  plot.goTo({ x, y, zoom: Math.max(CLOSE, plot.view.zoom) });
  pick(index, plot.screenOf(index));
  revealMap();
}

function move() {
  if (marked >= 0) card.follow(plot.screenOf(marked));
  else card.hide();
}

function closeCard() {
  marked = -1;
  card.hide();
  plot?.mark(-1);
}

function leave() {
  if (card.isPinned) closeCard();
  else dropSelection();
}

function select(indices) {
  setLasso(false);
  if (indices.length === 0) return dropSelection();
  selected = indices;
  plot.setSelected(indices);
  selection.show(map, points, indices, indices.length);
  $("announcer").textContent = `${letters(indices.length)} selected`;
  $("selection").scrollIntoView({ block: isNarrow() ? "start" : "nearest" });
}

function dropSelection() {
  selected = null;
  selection.hide();
  plot?.setSelected(null);
}

function setLasso(isOn) {
  plot.isLasso = isOn;
  $("lasso").setAttribute("aria-pressed", String(isOn));
  $("overlay").classList.toggle("lassoing", isOn);
}

/** On a phone the margin covers the map: roll it away. */
function revealMap() {
  if (isNarrow()) window.scrollTo({ top: 0 });
}

const isNarrow = () => window.matchMedia("(max-width: 819px)").matches;

// --- Start ---

for (const link of document.querySelectorAll("[data-method], [data-space]")) link.addEventListener("click", (event) => followTab(event, link));
window.addEventListener("popstate", () => {
  state = read(window.location.search, allowed);
  load();
});
$("lasso").addEventListener("click", () => setLasso(!plot.isLasso));
$("nearer").addEventListener("click", () => plot.zoomBy(1.8));
$("farther").addEventListener("click", () => plot.zoomBy(1 / 1.8));
$("whole").addEventListener("click", () => plot.showWhole());
$("select-view").addEventListener("click", () => points && select(plot.onScreen()));
$("selection-drop").addEventListener("click", () => {
  dropSelection();
  $("overlay").focus({ preventScroll: true });
});
$("everything").addEventListener("click", () => {
  controls.show(EVERYTHING, state.colour);
  filterChanged(EVERYTHING);
});
controls.show(state.filter, state.colour);
load();
