/** What is looked at, as the page's address says it: a view can be shared. Pure. */

import { held, WHOLE } from "./explore-camera.js";
import { EVERYTHING } from "./explore-looks.js";

const finite = (text) => (text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);
const oneOf = (allowed, text) => (allowed.includes(text) ? text : allowed[0]);

/** {method, space, view, mine, filter, colour} of a query; what it does not say, or says wrongly, is as at first. */
export function read(search, { methods, spaces, modes }) {
  const query = new URLSearchParams(search);
  const [x, y, zoom] = ["x", "y", "zoom"].map((name) => finite(query.get(name)));
  return {
    method: oneOf(methods, query.get("method")),
    space: oneOf(spaces, query.get("space")),
    view: held({ x: x ?? WHOLE.x, y: y ?? WHOLE.y, zoom: zoom ?? WHOLE.zoom }),
    mine: mineOf(query, x, y),
    colour: oneOf(modes, query.get("colour")),
    filter: {
      letters: (query.get("letter") ?? "").replace(/[^A-Za-z]/g, "").slice(0, 52),
      emnist: query.get("source") !== "collected",
      collected: query.get("source") !== "emnist",
      mistakes: query.has("mistakes"),
      suspected: query.has("suspected"),
    },
  };
}

/** Where the visitor's own drawing stands: `mine=x,y`, or `mine` beside an x and a y. */
function mineOf(query, x, y) {
  if (!query.has("mine")) return null;
  const place = query.get("mine").split(",").map((part) => finite(part));
  if (place.length === 2 && !place.includes(null)) return place;
  return x === null || y === null ? null : [x, y];
}

/** The query that `read` reads back; what is as at first is left out. */
export function write({ method, space, view, mine, filter, colour }, { methods, spaces, modes }) {
  const query = new URLSearchParams();
  const put = (name, value, isPlain) => isPlain || query.set(name, value);
  put("method", method, method === methods[0] && space === spaces[0]);
  put("space", space, space === spaces[0]);
  for (const name of ["x", "y", "zoom"]) put(name, String(Number(view[name].toFixed(4))), Math.abs(view[name] - WHOLE[name]) < 5e-5);
  put("letter", filter.letters, filter.letters === EVERYTHING.letters);
  put("source", filter.emnist ? "emnist" : "collected", filter.emnist === filter.collected);
  put("mistakes", "1", !filter.mistakes);
  put("suspected", "1", !filter.suspected);
  put("colour", colour, colour === modes[0]);
  put("mine", mine?.map((value) => value.toFixed(4)).join(","), mine === null);
  const text = query.toString().replaceAll("%2C", ",");
  return text && `?${text}`;
}
