/** A scatter plot with axes. */
(() => {
  const { s, text } = atlas;
  const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [260, 220, 46, 10, 10, 40];

  /** Three to six round numbers within a span. @param {number} low @param {number} high */
  function ticks(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((digit) => digit * power >= rough) * power;
    const found = [];
    for (let value = Math.ceil(low / step); value * step <= high + step * 1e-9; value += 1)
      found.push(Number((value * step).toPrecision(12)));
    return found;
  }

  /** @param {number[]} values @returns {[number, number]} a little wider than they are */
  function span(values) {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * 0.04;
    return [low - room, high + room];
  }

  /** @param {[number, number][]} points @param {string} xName @param {string} yName @param {string} label */
  function scatter(points, xName, yName, label) {
    const known = points.filter(([x, y]) => x !== null && y !== null);
    if (!known.length) return atlas.h("p.quiet", "No values here.");
    const [xLow, xHigh] = span(known.map((point) => point[0]));
    const [yLow, yHigh] = span(known.map((point) => point[1]));
    const x = (value) => LEFT + ((value - xLow) / (xHigh - xLow)) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - ((value - yLow) / (yHigh - yLow)) * (HEIGHT - TOP - BOTTOM);
    const short = (name) => (name.length > 30 ? `${[...name].slice(0, 29).join("")}…` : name);
    return s(
      "svg",
      { class: "scatter", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      ticks(xLow, xHigh).map((tick) => [
        s("line", { class: "rule", x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM }),
        s("text", { x: x(tick), y: HEIGHT - BOTTOM + 13, "text-anchor": "middle" }, text.value(tick)),
      ]),
      ticks(yLow, yHigh).map((tick) => [
        s("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
        s("text", { x: LEFT - 5, y: y(tick) + 3, "text-anchor": "end" }, text.value(tick)),
      ]),
      known.map((point) => s("circle", { cx: x(point[0]).toFixed(1), cy: y(point[1]).toFixed(1), r: 2.4 })),
      s("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, short(xName)),
      s(
        "text",
        {
          class: "axis",
          transform: `translate(11 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`,
          "text-anchor": "middle",
        },
        short(yName),
      ),
    );
  }

  atlas.plot = { scatter, ticks };
})();
