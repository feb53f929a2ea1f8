/** One colour for each of the 37 classes: hue by place in the alphabet; small letters lighter, with a ring. */

export function colourOf(label, isDark) {
  const small = label !== label.toUpperCase();
  const hue = Math.round(((label.toUpperCase().charCodeAt(0) - 65) / 26) * 360);
  const lightness = isDark ? (small ? 76 : 60) : small ? 66 : 48;
  return { fill: `hsl(${hue} 62% ${lightness}%)`, ring: small ? `hsl(${hue} 62% ${isDark ? 88 : 34}%)` : null };
}
