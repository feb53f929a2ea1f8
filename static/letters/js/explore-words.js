/** What the page of maps says. Pure. */

const whole = (number) => number.toLocaleString("en");
export const letters = (count) => `${whole(count)} letter${count === 1 ? "" : "s"}`;
const share = (value) => `${(100 * value).toFixed(1)}\u00a0%`;

const SPACES = { features: "from what the model sees in them", pixels: "from their pixels" };

/** One sentence on a map, for its head and for the ear. */
export function summaryOf({ counts, space }, methodName) {
  const collected = counts.collected > 0 ? ` and ${whole(counts.collected)} collected here` : "";
  return `${letters(counts.emnist)} of EMNIST${collected}, laid out by ${methodName} ${SPACES[space]}: like stands by like.`;
}

const MISSING = { features: "what the model sees", pixels: "pixels" };

export const missingWords = (method, space, names) => `There is no map by ${names[method]} of ${MISSING[space]} yet.`;

/** How good a map is: [[what, value, meaning], ...], without what is not known. */
export function qualityOf({ quality, model, counts, published_at: published }) {
  const { trustworthiness, knn_plane: here, knn_space: there, moved_mean: mean, moved_largest: largest } = quality ?? {};
  const known = (value) => value !== null && value !== undefined;
  return [
    known(trustworthiness) && ["Trustworthiness", trustworthiness.toFixed(3), "Whether neighbours here are neighbours there too; 1 is best"],
    known(here) && ["Named by neighbours", share(here), "Letters that their neighbours on the map name rightly"],
    known(there) && ["The same before the map", share(there), "The same in the space that the map flattens"],
    known(mean) && ["Moved since the last map", share(mean), `Mean way of old letters in widths of the map; the longest was ${share(largest)}`],
    ["Letters", `${whole(counts.emnist)} + ${whole(counts.collected)}`, "Of EMNIST and collected here"],
    model && ["Model", `${model.number}`, "Whose features and readings these are"],
    ["Made", new Date(published).toLocaleDateString("en", { dateStyle: "medium" }), "When this map was published"],
  ].filter(Boolean);
}

const METHODS = {
  umap: "Keeps neighbours together; far apart means little.",
  tsne: "Keeps close neighbours together; sizes and gaps mean little.",
  pca: "The two directions in which letters differ most.",
  svd: "As PCA, without moving the middle to zero first.",
  isomap: "Keeps the way along the crowd from letter to letter.",
  lle: "Each letter as a mixture of its neighbours.",
};

export const methodWords = (method) => METHODS[method] ?? "";

/** [title, text] for a map that cannot be shown. */
export function trouble({ code, status, message }) {
  if (code === "unreachable" || status === 0) return ["The map cannot be reached", "Look whether you are online, then try again."];
  if (status === 429) return ["That was a lot at once", "Wait a moment, then try again."];
  if (status >= 500) return ["Something broke on my side", "Try again; if it stays, tell who runs this site."];
  return ["That did not work", message];
}

/** What a reading of a letter says about it. */
export function readingWords(label, predicted, sure) {
  const percent = `${(100 * sure).toFixed(sure > 0.995 ? 0 : 1)}\u00a0% sure`;
  return label === predicted ? `read right, ${percent}` : `read as ${predicted}, ${percent}`;
}
