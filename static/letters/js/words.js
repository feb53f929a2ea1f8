/** What the page says. Pure. */

const AN = new Set("AEFHILMNORSX"); // letters whose names begin with a vowel: "an F", "a U"
const SMALL = new Set("abcdefghijklmnopqrstuvwxyz");

export const article = (character) => (AN.has(character.toUpperCase()) ? "an" : "a");

export const caseOf = (character) => (SMALL.has(character) ? "small" : "capital");

/** "small c", "capital C": for the ear, where the shape says nothing. */
export const spoken = (character) => `${caseOf(character)} ${character}`;

export function percent(share) {
  if (share > 0 && share < 0.001) return "<\u00a00.1\u00a0%";
  if (share > 0.999 && share < 1) return "over 99.9\u00a0%";
  return `${(share * 100).toFixed(1)}\u00a0%`;
}

/** "3 s", "2 min", "5 h": rounded up. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))}\u00a0s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)}\u00a0min`;
  return `${Math.ceil(seconds / 3600)}\u00a0h`;
}

export const UNSURE_BELOW = 0.6;
const CLOSE = 0.5; // a second letter at least half as likely as the first

/** "sure" or "unsure", by the probabilities of the two likeliest. */
export const certainty = (first, second) => (first < UNSURE_BELOW || second >= first * CLOSE ? "unsure" : "sure");

export function readingTitle(certain, first, second) {
  if (certain === "strange") return "This does not look like a letter I know";
  if (certain === "unsure") return `I am not sure: ${first} or ${second}?`;
  return `I read ${article(first)} ${first}`;
}

/** What a drawing might be that is like no letter. */
export const guesses = (first, second) => `If it is one: ${first} or ${second}?`;

const TROUBLE = {
  unreachable: ["I cannot be reached", "Your drawing stays on the sheet."],
  inference_unavailable: ["I cannot read just now", "Your drawing stays on the sheet."],
  database_unavailable: ["A part of me is away", "Your drawing stays on the sheet."],
  no_model: ["I have not learned to read yet", "Your drawing stays on the sheet."],
  throttled: ["That was a lot at once", "Let me catch my breath; your drawing stays."],
  quota_exceeded: ["Thank you, that is enough for today", "I keep only so many letters of one person a day, so that no hand outweighs the others."],
  blank_drawing: ["I see no letter yet", "Draw a little more, or a little larger."],
  too_many_strokes: ["Those are too many strokes for me", "Clear the sheet and draw it once more, simpler."],
  too_many_points: ["That is too long for me", "Clear the sheet and draw it once more, simpler."],
  body_too_large: ["That is too long for me", "Clear the sheet and draw it once more, simpler."],
  consent_changed: ["The words beside the box have changed", "Load this page again and read them first; your drawing stays on the sheet."],
  consent_required: ["I may not keep it yet", "Tick the box first: nothing is stored without it."],
};

/** Title and text for an error of the API; anything unforeseen with the server's own words. */
export function trouble({ code, status, message }) {
  if (code in TROUBLE) return TROUBLE[code];
  if (status >= 500 || status === 0) return ["Something broke on my side", "Your drawing stays on the sheet."];
  return ["That did not work", message];
}

const STATES = {
  pending: ["It waits to be looked at", "A person checks every letter before it teaches the model."],
  approved: ["It was approved", "It may teach the next model, and be shown among the letters."],
  rejected: ["It was set aside", "The person who looked at it could not use it. It teaches nothing and is shown to nobody."],
};

/** What a drawing's state means, for whoever drew it. */
export const stateWords = (state) => STATES[state] ?? ["It is kept", "Its state is “" + state + "”."];

/** A date as the reader's own country writes it. */
export const date = (iso) => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
