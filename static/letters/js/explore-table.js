/** The map in words and numbers: for those who do not see it, and for those who want to know exactly. */

import { element } from "./dom.js";
import { tally } from "./explore-data.js";
import { qualityOf } from "./explore-words.js";

const cell = (textContent) => element("td", { textContent });
const whole = (number) => number.toLocaleString("en");

/** Fill a table with one row a letter. */
export function fillTable(table, points, classes) {
  table.tBodies[0].replaceChildren(...tally(points, classes).map((row) => {
    const all = row.emnist + row.collected;
    const head = element("th", { scope: "row" }, element("span", { className: "glyph", textContent: row.label }));
    const right = `${((100 * row.right) / all).toFixed(1)}\u00a0%`;
    return element("tr", {}, head, cell(whole(row.emnist)), cell(whole(row.collected)), cell(right), cell(row.mostly ?? "–"), cell(whole(row.suspected)));
  }));
}

/** How good the map is, as terms and values. */
export function fillQuality(list, map) {
  list.replaceChildren(...qualityOf(map).map(([what, value, meaning]) =>
    element("div", { title: meaning }, element("dt", { textContent: what }), element("dd", {}, value, element("span", { className: "meaning soft", textContent: meaning })))));
}

/** Links to the map's files, and the figures that only some methods have. */
export function fillFigures({ files, figures }, { urls }, methodName) {
  const link = (name, href) => element("li", {}, element("a", { href, textContent: name }));
  files.replaceChildren(...[["SVG", urls.svg], ["PNG", urls.png]].filter(([, href]) => href).map(([name, href]) => link(`The map as ${name}`, href)));
  const pictures = [
    [urls.explained_svg, `How much of what differs the first components of ${methodName} explain, added up`],
    [urls.components_svg, `The first components of ${methodName}, as images`],
  ].filter(([src]) => src);
  figures.replaceChildren(...pictures.map(([src, alt]) => element("figure", { className: "card" },
    element("img", { src, alt, loading: "lazy" }), element("figcaption", { className: "soft", textContent: alt }))));
}
