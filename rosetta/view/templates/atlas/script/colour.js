/** The heat colours: matplotlib's inferno from its second fifth on, whose darker part would read as a shadow. */
(() => {
  const STOPS = [
    [66, 10, 104],
    [87, 16, 110],
    [109, 24, 110],
    [132, 32, 107],
    [152, 39, 102],
    [174, 48, 92],
    [195, 59, 79],
    [212, 72, 66],
    [228, 90, 49],
    [240, 111, 32],
    [248, 133, 15],
    [252, 159, 7],
    [251, 186, 31],
    [247, 211, 64],
    [241, 237, 113],
    [252, 255, 164],
  ];

  /** 256 × red, green, blue, opacity. The power keeps middling strengths visible against a bright photograph. */
  const table = new Uint8ClampedArray(256 * 4);
  for (let step = 0; step < 256; step += 1) {
    const place = step / 17;
    const lower = Math.min(14, Math.floor(place));
    for (let channel = 0; channel < 3; channel += 1) {
      table[step * 4 + channel] =
        STOPS[lower][channel] + (place - lower) * (STOPS[lower + 1][channel] - STOPS[lower][channel]);
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
    return `linear-gradient(to right, ${STOPS.map((_, stop) => css(stop * 17, solid)).join(", ")})`;
  }

  atlas.colour = { table, css, gradient };
})();
