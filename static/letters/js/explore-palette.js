/** The page's colours of letters as numbers, for WebGL. Pure. */

import { colourOf } from "./palette.js";

/** [red, green, blue], 0 to 255, of the colour that a class has everywhere on the site. */
export function channelsOf(label, isDark) {
  const [hue, saturation, lightness] = colourOf(label, isDark).fill.match(/\d+/g).map(Number);
  const light = lightness / 100;
  const reach = (saturation / 100) * Math.min(light, 1 - light);
  return [0, 8, 4].map((offset) => {
    const turn = (offset + hue / 30) % 12;
    return Math.round(255 * (light - reach * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  });
}
