/** The site's API. Every function returns what was asked for or throws an ApiError. */

export const BASE = "/api/v1";
const PATIENCE = 10_000; // ms; the server itself gives up well before

/** A refusal, with the API's code, or "unreachable" when no proper answer came. `retryAfter` is in seconds or null. */
export class ApiError extends Error {
  constructor({ status = 0, code = "unreachable", message = "", retryAfter = null }) {
    super(message || code);
    Object.assign(this, { status, code, retryAfter });
  }

  /** Whether the same request may succeed a little later. */
  get isPassing() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

/** Seconds to wait as a Retry-After header names them, in seconds or as a date; null where it does not. */
export function parseRetryAfter(header, now = Date.now()) {
  if (!header) return null;
  if (/^\d+$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1000));
}

/** Random, also where a plain http address has no crypto.randomUUID. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Give up when `signal` says so, or after a while. AbortSignal.any is too young to rely on. */
function patience(signal, within) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), within);
  const abort = () => controller.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}

export async function request(path, { method = "GET", body, headers = {}, signal, within = PATIENCE } = {}) {
  const wait = patience(signal, within);
  try {
    const response = await fetch(BASE + path, {
      method,
      body: body && JSON.stringify(body),
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }), ...headers },
      signal: wait.signal,
      credentials: "same-origin",
    });
    if (response.status === 204) return null;
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    throw new ApiError({
      status: response.ok ? 0 : response.status,
      code: answer?.code,
      message: answer?.message,
      retryAfter: parseRetryAfter(response.headers.get("Retry-After")),
    });
  } catch (error) {
    if (signal?.aborted) throw new DOMException("stale", "AbortError");
    throw error instanceof ApiError ? error : new ApiError({ message: String(error) });
  } finally {
    wait.done();
  }
}

export const predict = (drawing, signal) => request("/predictions", { method: "POST", body: drawing, signal });

export const keepDrawing = (drawing, key) =>
  request("/drawings", { method: "POST", body: drawing, headers: { "Idempotency-Key": key } });

export const getDrawing = (id, receipt) => request(`/drawings/${id}`, { headers: { "X-Receipt": receipt } });

export const deleteDrawing = (id, receipt) =>
  request(`/drawings/${id}`, { method: "DELETE", headers: { "X-Receipt": receipt } });

export const getMap = () => request("/maps/umap");
