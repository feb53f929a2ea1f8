/** What is looked at, as the page's address says it: a view can be shared. Pure. */

import { held, WHOLE } from "./explore-camera.js";
import { EVERYTHING } from "./explore-looks.js";
import { readMine, writeMine } from "./explore-mine.js";

const finite = (text) => (text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);
const oneOf = (allowed, text) => (allowed.includes(text) ? text : allowed[0]);

/** {method, space, view, isPlaced, mine, filter, colour} of a query, `isPlaced` where it names a view; what it does not say, or says wrongly, is as at first. */
export function read(search, { methods, spaces, modes }) {
  const query = new URLSearchParams(search);
  const [x, y, zoom] = ["x", "y", "zoom"].map((name) => finite(query.get(name)));
  return {
    method: oneOf(methods, query.get("method")),
    space: oneOf(spaces, query.get("space")),
    view: held({ x: x ?? WHOLE.x, y: y ?? WHOLE.y, zoom: zoom ?? WHOLE.zoom }),
    mine: readMine(query.get("mine")),
    isPlaced: [x, y, zoom].some((each) => each !== null),
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
  put("mine", mine && writeMine(mine.neighbours, mine.digest), mine === null);
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text && `?${text}`;
}
