/** The maps of the site, as the API has them. Every function returns what was asked for or throws an ApiError. */

import { ApiError, parseRetryAfter, request } from "./api.js";
import { decode, join } from "./explore-data.js";

const PATIENCE = 30_000; // ms; a large map on a slow line

/** {maps, making}: summaries of the current maps, and what is being made. Another number asks past what the browser has kept. */
export const getMaps = (number = 0) => request(number ? `/maps?again=${Date.now()}` : "/maps");

// --- For staff ---

const csrf = () => ({ "X-CSRFToken": document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "" });

/** Have a map made: {id, state, joined}. */
export const makeMap = (method, space) => request("/maps", { method: "POST", body: { method, space }, headers: csrf() });

/** How far a map is, or how it ended. */
export const getJob = (id) => request(`/maps/jobs/${id}`);

/** {job, cancelled} */
export const cancelJob = (id) => request(`/maps/jobs/${id}/cancel`, { method: "POST", headers: csrf() });

// --- For all ---

export const getEmnist = () => request("/emnist/summary");

async function columns(url, withIds, signal) {
  try {
    const response = await fetch(url, { signal: AbortSignal.any?.([signal, AbortSignal.timeout(PATIENCE)]) ?? signal, credentials: "same-origin" });
    if (response.ok) return decode(await response.arrayBuffer(), { withIds });
    const answer = await response.json().catch(() => null);
    throw new ApiError({ status: response.status, ...answer, retryAfter: parseRetryAfter(response.headers.get("Retry-After")) });
  } catch (error) {
    if (signal.aborted) throw new DOMException("stale", "AbortError");
    throw error instanceof ApiError ? error : new ApiError({ message: String(error) });
  }
}

/** All points of a map. */
export async function getPoints({ urls }, signal) {
  const [emnist, collected] = await Promise.all([columns(urls.emnist, false, signal), columns(urls.collected, true, signal)]);
  return join(emnist, collected);
}
