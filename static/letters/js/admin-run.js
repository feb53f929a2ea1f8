// The page of a retraining: while it waits or runs, what it says is brought here every second, without a reload.

const PULSE = 1000; // ms
const PATIENCE = 3; // failures in a row that are not worth a word
const WIDTH = 600, HEIGHT = 140, EDGE = 8;

let failures = 0;

function part(id) {
  return document.getElementById(id);
}

function minutes(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s left`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min left`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min left`;
}

/** Names and values of the numbers that there are so far. */
export function numbersOf(progress) {
  const rounded = (value) => (typeof value === "number" ? String(Math.round(value * 1000) / 1000) : value);
  const found = [];
  if (progress.epoch !== undefined) {
    const all = progress.epochs === undefined ? "" : ` of ${rounded(progress.epochs)}`;
    found.push(["epoch", rounded(progress.epoch) + all]);
  }
  for (const name of ["loss", "validation"]) {
    if (progress[name] !== undefined) found.push([name, rounded(progress[name])]);
  }
  return found;
}

/** A path through the losses of a curve [[epoch, loss, validation], ...], in a box of 600 by 140. */
export function pathOf(curve) {
  const points = curve.filter(([epoch, loss]) => epoch !== null && loss !== null);
  if (points.length < 2) return "";
  const span = (values) => [Math.min(...values), Math.max(...values)];
  const [left, right] = span(points.map((each) => each[0]));
  const [low, high] = span(points.map((each) => each[1]));
  const place = (value, from, to, length) => EDGE + ((value - from) / (to - from || 1)) * (length - 2 * EDGE);
  return points
    .map(([epoch, loss], at) => {
      const x = place(epoch, left, right, WIDTH), y = HEIGHT - place(loss, low, high, HEIGHT);
      return `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

function showNumbers(progress) {
  const list = part("run-numbers");
  list.replaceChildren(
    ...numbersOf(progress).map(([name, value]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = name;
      said.textContent = value;
      row.append(term, said);
      return row;
    }),
  );
  list.hidden = !list.childElementCount;
}

function showCurve(curve) {
  const path = pathOf(curve), picture = part("run-curve");
  picture.toggleAttribute("hidden", !path);
  if (!path) return;
  picture.querySelector("path").setAttribute("d", path);
}

function showLog(log) {
  const shown = part("run-log");
  if (log === undefined || shown.textContent === log) return;
  const atEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 4;
  shown.textContent = log;
  if (atEnd) shown.scrollTop = shown.scrollHeight;
}

function show(run) {
  const { progress } = run;
  part("run-bar").value = Math.round(100 * (progress.share ?? 0));
  part("run-stage").textContent = run.message || progress.message || progress.stage || "begins";
  part("run-left").textContent = progress.seconds_left === undefined ? "" : minutes(progress.seconds_left);
  showNumbers(progress);
  showCurve(progress.curve ?? []);
  showLog(run.log);
}

/** The page as the server draws it now, put in place of what is shown. */
async function redraw(old) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("run");
  if (!answer.ok || !fresh) throw new Error(`the page answers ${answer.status}`);
  old.replaceWith(fresh);
  const log = part("run-log");
  log.scrollTop = log.scrollHeight;
  return fresh;
}

async function look() {
  let page = part("run");
  try {
    const answer = await fetch(page.dataset.api, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the API answers ${answer.status}`);
    const run = await answer.json();
    if (run.state !== page.dataset.state) page = await redraw(page);
    else show(run);
    failures = 0;
  } catch {
    failures += 1; // the site may be away for a moment: the next look will tell
  }
  const late = part("run-late");
  if (late) late.hidden = failures < PATIENCE;
  if (["queued", "running"].includes(page.dataset.state)) setTimeout(look, PULSE);
}

if (["queued", "running"].includes(part("run")?.dataset.state)) look();
