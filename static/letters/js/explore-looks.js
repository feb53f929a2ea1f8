/** Which points are shown, in which colour and shape, and where a letter's name stands. Pure. */

import { confidence, isCollected, isMistaken, isSuspected } from "./explore-data.js";
import { channelsOf } from "./explore-palette.js";

export const DISC = 0;
export const RINGED = 1; // a small letter
export const DIAMOND = 2; // a letter collected here

export const EVERYTHING = Object.freeze({ letters: "", emnist: true, collected: true, mistakes: false, suspected: false });

/** Class numbers that a visitor's letters name: as typed where there is such a class, else the class of its capital. */
export function classesNamed(letters, classes) {
  const named = [...letters].map((letter) => (classes.includes(letter) ? letter : letter.toUpperCase()));
  return new Set(named.map((label) => classes.indexOf(label)).filter((number) => number >= 0));
}

/** One byte a point: whether it is shown. */
export function shownBy(filter, points, classes) {
  const named = classesNamed(filter.letters, classes);
  const isAsked = (index) =>
    (named.size === 0 || named.has(points.label[index])) &&
    (isCollected(points, index) ? filter.collected : filter.emnist) &&
    ((!filter.mistakes && !filter.suspected) ||
      (filter.mistakes && isMistaken(points, index)) ||
      (filter.suspected && isSuspected(points, index)));
  return Uint8Array.from({ length: points.count }, (_, index) => (isAsked(index) ? 1 : 0));
}

/** The numbers of the shown points, in the order in which they are drawn. */
export function indicesOf(shown) {
  const indices = new Uint32Array(shown.reduce((sum, value) => sum + value, 0));
  let next = 0;
  for (let index = 0; index < shown.length; index += 1) if (shown[index]) indices[next++] = index;
  return indices;
}

/** Shapes never depend on the colours chosen: colour is not the only cue. */
export function shapesOf(points, classes) {
  const isSmall = classes.map((label) => label !== label.toUpperCase());
  const shape = (index) => (isCollected(points, index) ? DIAMOND : isSmall[points.label[index]] ? RINGED : DISC);
  return Uint8Array.from({ length: points.count }, (_, index) => shape(index));
}

// Blue and orange are told apart by every kind of colour vision; light and dark of one hue are as well.
const TWO = { light: [[96, 120, 190], [214, 96, 20]], dark: [[120, 145, 220], [255, 160, 80]] };
const FADE = { light: [[226, 140, 60], [30, 52, 130]], dark: [[255, 168, 88], [130, 160, 255]] };

export const MODES = {
  letter: { name: "Letter", key: () => [] },
  source: { name: "Source", key: (isDark) => named(theme(TWO, isDark), ["EMNIST", "Collected here"]) },
  right: { name: "Right or wrong", key: (isDark) => named(theme(TWO, isDark), ["Read right", "Read wrong"]) },
  confidence: { name: "How sure", key: (isDark) => named(theme(FADE, isDark), ["Not sure", "Sure"]) },
};

const theme = (pair, isDark) => pair[isDark ? "dark" : "light"];
const named = (colours, names) => names.map((name, at) => ({ name, colour: `rgb(${colours[at].join(" ")})` }));

/** Three bytes a point. */
export function coloursOf(mode, points, classes, isDark) {
  const pick = pickerOf(mode, points, classes, isDark);
  const colours = new Uint8Array(3 * points.count);
  for (let index = 0; index < points.count; index += 1) colours.set(pick(index), 3 * index);
  return colours;
}

function pickerOf(mode, points, classes, isDark) {
  const two = theme(TWO, isDark);
  if (mode === "source") return (index) => two[Number(isCollected(points, index))];
  if (mode === "right") return (index) => two[Number(isMistaken(points, index))];
  if (mode === "confidence") {
    const [unsure, sure] = theme(FADE, isDark);
    const steps = Array.from({ length: 256 }, (_, value) => unsure.map((from, at) => from + (sure[at] - from) * (value / 255) ** 2));
    return (index) => steps[Math.round(confidence(points, index) * 255)];
  }
  const palette = classes.map((label) => channelsOf(label, isDark));
  return (index) => palette[points.label[index]];
}

const COARSE = 28; // cells on a side when looking for where most of a letter is

/** Where each letter's name stands: amid the thickest crowd of its shown points. [{number, place}] */
export function namePlaces(points, indices, classes) {
  const crowds = new Uint32Array(classes.length * COARSE * COARSE);
  const cell = (value) => Math.min(COARSE - 1, Math.max(0, Math.floor(((value + 1) / 2) * COARSE)));
  const at = (index) => points.label[index] * COARSE * COARSE + cell(points.places[2 * index]) + COARSE * cell(points.places[2 * index + 1]);
  const best = new Map();
  for (const index of indices) {
    const here = at(index);
    crowds[here] += 1;
    const number = points.label[index];
    if (!best.has(number) || crowds[here] > crowds[best.get(number)]) best.set(number, here);
  }
  const sums = new Map([...best].map(([number]) => [number, [0, 0, 0]]));
  for (const index of indices) {
    if (at(index) !== best.get(points.label[index])) continue;
    const sum = sums.get(points.label[index]);
    sum[0] += points.places[2 * index];
    sum[1] += points.places[2 * index + 1];
    sum[2] += 1;
  }
  return [...sums].map(([number, [x, y, count]]) => ({ number, place: [x / count, y / count] }));
}
