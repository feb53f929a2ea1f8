/**
 * Capital or small? The model reads fifteen letters without their case (C means C or c). Where the drawing stands on the
 * ruled lines tells them apart well enough for a guess, which the visitor sees and can change.
 */

import { boundsOf } from "./geometry.js";

/** Heights of the ruled lines, as a share of the sheet's. */
export const LINES = { cap: 0.18, middle: 0.46, baseline: 0.74, descender: 0.92 };

const BETWEEN_CAP_AND_MIDDLE = (LINES.cap + LINES.middle) / 2;
const BELOW_BASELINE = (LINES.baseline + LINES.descender) / 2;

/** The characters of a class: "C" stands for C and c, "A" for A alone since "a" is a class of its own. */
export function charactersOf(label, classes) {
  const small = label.toLowerCase();
  return small === label || classes.includes(small) ? [label] : [label, small];
}

/** The class of a character. */
export const labelOf = (character, classes) => (classes.includes(character) ? character : character.toUpperCase());

/** "c" for "C", and "C" for "c". */
export const otherCase = (character) => (character === character.toUpperCase() ? character.toLowerCase() : character.toUpperCase());

const hasDot = (strokes, box) => {
  const height = box.bottom - box.top;
  return strokes.length > 1 && strokes.some((stroke) => {
    const part = boundsOf([stroke]);
    return part.bottom - part.top < height * 0.2 && part.right - part.left < height * 0.25 && part.bottom < box.top + height * 0.35;
  });
};

/** The arms of K start at its top; those of k begin lower. */
const armsReachTheTop = (strokes, box) => {
  const right = strokes.flat().filter(([x]) => x > box.left + (box.right - box.left) * 0.6);
  return Math.min(...right.map(([, y]) => y)) < box.top + (box.bottom - box.top) * 0.22;
};

const IS_CAPITAL = {
  I: (strokes, box) => !hasDot(strokes, box),
  J: (strokes, box) => !hasDot(strokes, box) && box.bottom < BELOW_BASELINE,
  K: armsReachTheTop,
  L: (_, box) => box.right - box.left > (box.bottom - box.top) * 0.28,
  P: (_, box) => box.top < BETWEEN_CAP_AND_MIDDLE && box.bottom < BELOW_BASELINE,
};
const standsTall = (_, box) => box.top < BETWEEN_CAP_AND_MIDDLE;

/** The character that a drawing read as `label` most likely is. */
export function guessCharacter(label, strokes, classes) {
  const characters = charactersOf(label, classes);
  const box = boundsOf(strokes);
  if (characters.length === 1 || box === null) return characters[0];
  const isCapital = IS_CAPITAL[label] ?? standsTall;
  return isCapital(strokes, box) ? characters[0] : characters[1];
}
