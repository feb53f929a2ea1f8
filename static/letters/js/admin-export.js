// The page of the exports: how far each is, is brought here every second while one is on its way, without a reload.

const PULSE = 1000; // ms
const PATIENCE = 3; // failures in a row that are not worth a word

let failures = 0;

const withCommas = (number) => number.toLocaleString("en");
const list = () => document.getElementById("exports");
const onTheirWay = () => [...list().querySelectorAll('[data-state="queued"], [data-state="running"]')];

function showProgress(item, { done, total }) {
  const bar = item.querySelector("progress");
  bar.max = total || 1;
  bar.value = done;
  item.querySelector(".export-done").textContent = withCommas(done);
  item.querySelector(".export-total").textContent = withCommas(total);
}

/** The list as the server draws it now, put in place of the one that is shown. */
async function redraw() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("exports");
  if (!answer.ok || !fresh) throw new Error(`the page answers ${answer.status}`);
  list().replaceWith(fresh);
}

async function look() {
  try {
    const answer = await fetch(list().dataset.api, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the API answers ${answer.status}`);
    const found = new Map((await answer.json()).exports.map((each) => [each.id, each]));
    const items = onTheirWay();
    if (items.some((item) => found.get(item.dataset.export)?.state !== item.dataset.state)) await redraw();
    else for (const item of items) showProgress(item, found.get(item.dataset.export));
    failures = 0;
  } catch {
    failures += 1; // the site may be away for a moment: the next look will tell
  }
  document.getElementById("export-late").hidden = failures < PATIENCE;
  if (onTheirWay().length) setTimeout(look, PULSE);
}

if (onTheirWay().length) look();
