/**
 * Maps on canvases: heat over an image, contours, or the map alone. A map lies over its image as bilinear resampling
 * with half-pixel centres puts it there, which is where correlations were taken.
 *
 * @typedef {object} Field
 * @property {Uint8Array} values row by row
 * @property {number} height
 * @property {number} width
 */
(() => {
  /** Where contours run, as shares of the unit's scale. */
  const LEVELS = [0.25, 0.5, 0.75];
  /** Cells of a side of the lattice that contours are followed on, at least. */
  const LATTICE = 64;
  /** Where the corners of a cell lie, clockwise from the top left. */
  const DOWN = [0, 0, 1, 1];
  const ACROSS = [0, 1, 1, 0];

  /**
   * @param {string} text base64, one byte a position, row by row
   * @param {number[]} grid [y, x]
   * @returns {Field}
   */
  function decode(text, [height, width]) {
    const raw = atob(text);
    const values = new Uint8Array(height * width);
    for (let place = 0; place < values.length; place += 1) values[place] = raw.charCodeAt(place);
    return { values, height, width };
  }

  /** Lower neighbour, upper neighbour and the upper one's share. @param {number} at 0…1 @param {number} size */
  function between(at, size) {
    const place = Math.min(Math.max(at * size - 0.5, 0), size - 1);
    const lower = Math.floor(place);
    return { lower, upper: Math.min(lower + 1, size - 1), share: place - lower };
  }

  /**
   * A field at the points of a lattice.
   * @param {Field} field
   * @param {number[]} ys in 0…1 from the top
   * @param {number[]} xs in 0…1 from the left
   * @returns {Float32Array} row by row, in 0…255
   */
  function sample(field, ys, xs) {
    const columns = xs.map((x) => between(x, field.width));
    const found = new Float32Array(ys.length * xs.length);
    ys.forEach((y, row) => {
      const { lower, upper, share } = between(y, field.height);
      const top = lower * field.width;
      const bottom = upper * field.width;
      columns.forEach((column, place) => {
        const a =
          field.values[top + column.lower] * (1 - column.share) + field.values[top + column.upper] * column.share;
        const b =
          field.values[bottom + column.lower] * (1 - column.share) + field.values[bottom + column.upper] * column.share;
        found[row * xs.length + place] = a + share * (b - a);
      });
    });
    return found;
  }

  /** The field at one place. @param {Field} field @param {number} y @param {number} x @returns {number} 0…1 */
  const at = (field, y, x) => sample(field, [y], [x])[0] / 255;

  const centres = (size) => Array.from({ length: size }, (_, place) => (place + 0.5) / size);
  const corners = (cells) => Array.from({ length: cells + 1 }, (_, place) => place / cells);

  /** @param {HTMLCanvasElement} canvas @param {Field} field @param {boolean} solid cover the image wholly */
  function heat(canvas, field, solid) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    const picture = context.createImageData(width, height);
    const strengths = sample(field, centres(height), centres(width));
    const { table } = atlas.colour;
    for (let place = 0; place < strengths.length; place += 1) {
      const from = Math.round(strengths[place]) * 4;
      picture.data.set(table.subarray(from, from + 3), place * 4);
      picture.data[place * 4 + 3] = solid ? 255 : table[from + 3];
    }
    context.putImageData(picture, 0, 0);
  }

  /**
   * Marching squares: the line on which a lattice is at a level, as pieces, one or two a cell. Corners count clockwise
   * from the top left, side k runs from corner k to the next.
   * @param {Float32Array} lattice
   * @param {number} rows of cells
   * @param {number} columns of cells
   * @param {number} level
   * @returns {number[][]} [y, x, y, x] of each piece, in cells
   */
  function contour(lattice, rows, columns, level) {
    const pieces = [];
    const side = columns + 1;
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        const from = y * side + x;
        const corner = [lattice[from], lattice[from + 1], lattice[from + side + 1], lattice[from + side]];
        const crossed = [];
        for (let k = 0; k < 4; k += 1) {
          const next = (k + 1) % 4;
          const [a, b] = [corner[k], corner[next]];
          if (a >= level === b >= level) continue;
          const share = (level - a) / (b - a);
          const [down, across] = [DOWN, ACROSS].map((of) => of[k] + share * (of[next] - of[k]));
          crossed.push([y + down, x + across]);
        }
        // Four crossings are a saddle: what its middle is decides which two corners hang together.
        const middle = corner[0] + corner[1] + corner[2] + corner[3] >= 4 * level;
        if (crossed.length === 4 && corner[0] >= level !== middle) crossed.unshift(crossed.pop());
        for (let k = 0; k < crossed.length; k += 2) pieces.push([...crossed[k], ...crossed[k + 1]]);
      }
    }
    return pieces;
  }

  /** @param {HTMLCanvasElement} canvas @param {Field} field */
  function lines(canvas, field) {
    const context = canvas.getContext("2d");
    // With an even number of cells a position, a corner lies at its centre.
    const [rows, columns] = [field.height, field.width].map((size) => 2 * size * Math.ceil(LATTICE / 2 / size));
    const lattice = sample(field, corners(rows), corners(columns));
    const [down, across] = [canvas.height / rows, canvas.width / columns];
    const thin = canvas.width / (canvas.clientWidth || canvas.width);
    context.lineCap = "round";
    for (const share of LEVELS) {
      const path = new Path2D();
      for (const [y0, x0, y1, x1] of contour(lattice, rows, columns, share * 255)) {
        path.moveTo(x0 * across, y0 * down);
        path.lineTo(x1 * across, y1 * down);
      }
      // A dark seam keeps the line readable on a bright image.
      context.strokeStyle = "rgb(0 0 0 / 55%)";
      context.lineWidth = 3.4 * thin;
      context.stroke(path);
      context.strokeStyle = atlas.colour.css(100 + 155 * share);
      context.lineWidth = 1.6 * thin;
      context.stroke(path);
    }
  }

  /** @param {HTMLCanvasElement} canvas @param {Field|null} field @param {string} show overlay, contour or plain */
  function draw(canvas, field, show) {
    const lined = show === "contour";
    const size = lined
      ? Math.round((canvas.clientWidth || 128) * Math.min(devicePixelRatio || 1, 2))
      : Math.min(256, Math.max(128, canvas.clientWidth));
    // With an odd number of pixels a position, one lies at its centre: a peak is drawn as high as it is.
    const pixels = (positions) => positions * (2 * Math.floor(Math.ceil(size / positions) / 2) + 1);
    canvas.width = lined || !field ? size : pixels(field.width);
    canvas.height = lined || !field ? size : pixels(field.height);
    if (!field) return;
    if (lined) lines(canvas, field);
    else heat(canvas, field, show === "plain");
  }

  atlas.maps = { LEVELS, decode, at, contour, sample, draw };
})();
