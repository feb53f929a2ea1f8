/** What this browser remembers. A browser may refuse to (private windows, full disks): then nothing is remembered. */

const SHEET = "letterloop.sheet";
const CONSENT = "letterloop.consent";

function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // remembered for this page alone
  }
}

const isStroke = (stroke) =>
  Array.isArray(stroke) && stroke.length > 0 &&
  stroke.every((point) => Array.isArray(point) && point.length >= 3 && point.every(Number.isFinite));

/** The drawing on the sheet, for the tab alone: it outlives a reload, not the visit. */
export function loadSheet() {
  const saved = read("sessionStorage", SHEET);
  return Array.isArray(saved?.strokes) && saved.strokes.every(isStroke) ? saved : { strokes: [], attempt: null };
}

export function saveSheet(strokes, attempt) {
  write("sessionStorage", SHEET, strokes.length > 0 ? { strokes, attempt } : null);
}

/** Whether the wording of the consent that is shown now was agreed to in this browser. */
export const hasConsent = (version) => read("localStorage", CONSENT) === version;
export const saveConsent = (version) => write("localStorage", CONSENT, version);

/** Forget all of it, on this page and in this tab. */
export function forgetAll() {
  write("sessionStorage", SHEET, null);
  write("localStorage", CONSENT, null);
}
