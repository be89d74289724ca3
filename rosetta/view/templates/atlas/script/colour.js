/** The heat colours, between stops that the run brings along. */
(() => {
  const { heat } = atlas.run;

  /** 256 × red, green, blue, opacity. The power keeps middling strengths visible against a bright photograph. */
  const table = new Uint8ClampedArray(256 * 4);
  for (let step = 0; step < 256; step += 1) {
    const place = step / 17;
    const lower = Math.min(14, Math.floor(place));
    for (let channel = 0; channel < 3; channel += 1) {
      const [from, to] = [heat[lower][channel], heat[lower + 1][channel]];
      table[step * 4 + channel] = from + (place - lower) * (to - from);
    }
    table[step * 4 + 3] = 255 * (step / 255) ** 0.8;
  }

  /** @param {number} strength 0…255 @param {boolean} [solid] */
  function css(strength, solid = true) {
    const at = Math.round(strength) * 4;
    return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]} / ${solid ? 1 : (table[at + 3] / 255).toFixed(3)})`;
  }

  /** The legend. @param {boolean} solid */
  function gradient(solid) {
    return `linear-gradient(to right, ${heat.map((_, stop) => css(stop * 17, solid)).join(", ")})`;
  }

  atlas.colour = { table, css, gradient };
})();
