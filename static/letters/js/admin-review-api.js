/** The staff's part of the API, asked with the session of the admin. Every function returns the answer or throws a Refusal. */

const BASE = "/api/v1";
const PATIENCE = 15_000; // ms

/** What the server refused, with the API's code; "unreachable" where no proper answer came. */
export class Refusal extends Error {
  constructor({ status = 0, code = "unreachable", message = "" }) {
    super(message || code);
    Object.assign(this, { status, code });
  }

  /** Whether the same request may succeed later. */
  get isPassing() {
    return this.status === 0 || this.status >= 500 || this.status === 429 || this.isSignedOut;
  }

  get isSignedOut() {
    return this.status === 401 || (this.status === 403 && (this.code === "not_authenticated" || /csrf/i.test(this.message)));
  }
}

const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? ""; // anew: it changes with a new session

async function send(method, path, body, { keepalive = false } = {}) {
  const headers = { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken() };
  const signal = AbortSignal.timeout?.(PATIENCE);
  let response;
  try {
    response = await fetch(BASE + path, {
      method, headers, keepalive, signal, body: body && JSON.stringify(body), credentials: "same-origin",
    });
  } catch (error) {
    throw new Refusal({ message: String(error) });
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw new Refusal({ status: response.ok ? 0 : response.status, code: answer?.code, message: answer?.message });
}

export const claim = (wanted, count, holding) => send("POST", "/review/cards", { wanted, count, holding });
export const claimOne = (drawing) => send("POST", `/review/cards/${drawing}`);
export const release = (cards) => send("POST", "/review/release", { cards }, { keepalive: true });
export const decide = (card, judgement) =>
  send("POST", "/review/decisions", { drawing: card.id, revision: card.revision, ...judgement });
export const decideAll = (cards, judgement) =>
  send("POST", "/review/decisions/bulk", {
    cards: cards.map(({ id, revision }) => ({ drawing: id, revision })), ...judgement,
  });
export const undo = (decision) => send("POST", "/review/undo", { decision });
export const mute = (contributor, muted) => send(muted ? "POST" : "DELETE", `/contributors/${contributor}/mute`);
