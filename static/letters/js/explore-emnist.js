/** The page of the data set: how many of which letter, what they look like, and which are confused. */

import { $, button, element, glyph } from "./dom.js";
import { getEmnist, getMaps } from "./explore-source.js";
import { trouble } from "./explore-words.js";

const { classes } = JSON.parse($("config").textContent);
const whole = (number) => number.toLocaleString("en");

async function load() {
  say("Counting …");
  try {
    show(await getEmnist());
    showVariance((await getMaps()).maps);
  } catch (error) {
    if ($("emnist-parts").hidden) say(trouble(error).join(". "), button("Try again", load));
  }
}

function say(words, ...actions) {
  $("emnist-note").textContent = words;
  $("emnist-actions").replaceChildren(...actions);
}

function show({ classes: counts, confused, has_images: hasImages, model }) {
  say("");
  $("emnist-note").hidden = true;
  $("emnist-parts").hidden = false;
  $("emnist").dataset.state = "ready";
  showCounts(counts, hasImages);
  showPairs(confused, model);
  showLooks(hasImages);
}

/** Without the archive only those are counted that came with the model: they are on the map. */
function showCounts(counts, isWhole) {
  const known = classes.filter((label) => label in counts);
  const most = Math.max(1, ...known.map((label) => counts[label]));
  const total = known.reduce((sum, label) => sum + counts[label], 0);
  $("counts-words").textContent = `${whole(total)} letters${isWhole ? "" : ", those of the map,"} in ${known.length} classes: capitals and small letters that look alike are one.`;
  $("counts").replaceChildren(...known.map((label) => {
    const bar = element("span", { className: "bar" });
    bar.style.setProperty("--share", counts[label] / most);
    return element("li", { title: `${label}: ${whole(counts[label])}` }, bar, glyph(label), element("small", { textContent: whole(counts[label]) }));
  }));
}

function showPairs(confused, model) {
  $("pairs-words").textContent = confused.length > 0
    ? `What model ${model.number} reads in place of the letter that was meant, on letters that it has not seen before.`
    : "It is not known yet which letters the serving model confuses.";
  $("pairs").replaceChildren(...confused.map(({ label, predicted, count }) => element("li", {},
    glyph(label), element("span", { className: "soft-arrow", textContent: "read as" }), glyph(predicted), element("span", { className: "soft", textContent: `${whole(count)} times` }))));
}

function showLooks(hasImages) {
  $("looks-words").textContent = hasImages
    ? "The mean of all letters of a class, and sixteen of them."
    : "There are no images on this site: they come from the EMNIST archive, which has to be downloaded and named in EMNIST_ARCHIVE. Once it is there, the next map that is made brings them.";
  if (!hasImages) return;
  $("looks").replaceChildren(...classes.map((label) => element("li", {}, glyph(label), picture("mean", label, `The mean ${label}`, 56, 56), picture("examples", label, `Sixteen examples of ${label}`, 448, 28, "strip"))));
}

function picture(kind, label, alt, width, height, extra = "") {
  const src = `/api/v1/emnist/${kind}/${label}.png`;
  return element("span", { className: `inked ${extra}` }, element("img", { src, alt, width, height, loading: "lazy", decoding: "async" }));
}

function showVariance(maps) {
  const found = maps.find(({ method, space, urls }) => method === "pca" && space === "pixels" && urls.explained_svg)
    ?? maps.find(({ urls }) => urls.explained_svg);
  if (!found) return;
  $("variance").hidden = false;
  const figures = [[found.urls.explained_svg, "Explained variance, added up"], [found.urls.components_svg, "The first components as images"]];
  $("variance-figures").replaceChildren(...figures.filter(([src]) => src).map(([src, alt]) =>
    element("figure", { className: "card" }, element("img", { src, alt, loading: "lazy" }))));
}

load();
