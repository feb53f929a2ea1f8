/** What was drawn, with a way back and forth. Pure: each function returns a new history. */

export const EMPTY = { past: [], strokes: [], future: [] };
const DEPTH = 100;

/** `strokes` becomes what is on the sheet; what was there can be had back. */
export function commit({ past, strokes: before }, strokes) {
  return { past: [...past, before].slice(-DEPTH), strokes, future: [] };
}

export function undo(history) {
  if (history.past.length === 0) return history;
  const past = [...history.past];
  return { strokes: past.pop(), past, future: [history.strokes, ...history.future] };
}

export function redo(history) {
  if (history.future.length === 0) return history;
  const [strokes, ...future] = history.future;
  return { strokes, past: [...history.past, history.strokes], future };
}
