/** What the API has of one's own letters. */

import { ApiError, BASE, request } from "./api.js";

/** The letters of a secret, or without one those that this browser gave: a page of them, behind `cursor`. */
export function getMine({ key = "", cursor = null, limit = 100 } = {}) {
  const query = new URLSearchParams({ limit, ...(cursor && { cursor }) });
  return request(`/drawings/mine?${query}`, { headers: ofSecret(key) });
}

const ofSecret = (key) => (key ? { "X-Mine": key } : {});

export const getOutlook = (key) => request("/drawings/mine/deletion", { headers: ofSecret(key) });

/** Takes longer than other requests where there are very many letters. */
export const deleteMine = (body, key) =>
  request("/drawings/mine/deletion", { method: "POST", body, headers: ofSecret(key), within: 60_000 });

export async function getFile(key) {
  const response = await fetch(`${BASE}/drawings/mine/file`, { headers: ofSecret(key), credentials: "same-origin" });
  if (!response.ok) throw new ApiError({ status: response.status });
  return response.blob();
}
