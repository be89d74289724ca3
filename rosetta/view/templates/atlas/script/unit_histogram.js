/** How the values of a unit are spread. */
(() => {
  const { h, s, text, run, layout } = atlas;
  const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [640, 210, 46, 14, 12, 38];

  /**
   * Where the numbers come from.
   * @param {any} histogram @param {number} values that are counted
   */
  function source({ images }, values) {
    const of =
      images < run.images
        ? `at all positions of ${text.count(images)} of the ${text.count(run.images)} images whose maps are stored, in whole blocks spread evenly`
        : run.images < run.seen
          ? `at all positions of the ${text.count(images)} images whose maps were kept; mean and deviation are over all ${text.count(run.seen)}`
          : `at all positions of all ${text.count(images)} images`;
    return `Counted one by one: ${text.count(values)} values, ${of}.`;
  }

  /** @param {any} unit */
  function chart(unit) {
    const { low, high, counts } = unit.histogram;
    const most = Math.log10(1 + Math.max(...counts));
    const clip = (value) => text.clamp(value, low, high);
    const x = (value) => LEFT + ((clip(value) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
    const y = (count) => HEIGHT - BOTTOM - (Math.log10(1 + count) / most) * (HEIGHT - TOP - BOTTOM);
    const decades = Array.from({ length: Math.floor(most) + 1 }, (_, power) => 10 ** power);
    const edge = (place) => low + (place / counts.length) * (high - low);
    const base = HEIGHT - BOTTOM;
    const { mean, std } = unit;
    const label = `Histogram of the unit’s values from ${text.value(low)} to ${text.value(high)}, mean ${text.value(mean)}, standard deviation ${text.value(std)}`;
    return s(
      "svg",
      { class: "histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      s("rect", { class: "spread", x: x(mean - std), y: TOP, width: x(mean + std) - x(mean - std), height: base - TOP }),
      decades.map((count) => [
        s("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(count), y2: y(count) }),
        s("text", { x: LEFT - 6, y: y(count) + 3, "text-anchor": "end" }, count < 1e4 ? text.count(count) : `10${"⁰¹²³⁴⁵⁶⁷⁸⁹"[Math.log10(count)] ?? "ⁿ"}`),
      ]),
      counts.map((count, place) =>
        count
          ? s(
              "rect",
              { class: "bar", x: x(edge(place)), y: y(count), width: Math.max(0.5, x(edge(place + 1)) - x(edge(place)) - 0.6), height: base - y(count) },
              s("title", `${text.value(edge(place))} to ${text.value(edge(place + 1))}: ${text.count(count)}`),
            )
          : null,
      ),
      s("line", { class: "mean", x1: x(mean), x2: x(mean), y1: TOP - 6, y2: base }),
      atlas.plot.ticks(low, high).map((tick) =>
        s("text", { x: x(tick), y: base + 14, "text-anchor": "middle" }, text.value(tick)),
      ),
      s("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "value"),
    );
  }

  /** The same as a figure, with what must be said of it. @param {any} unit */
  function figure(unit) {
    if (!unit.histogram) return h("p.quiet", "The unit has the same value everywhere.");
    const { low, counts } = unit.histogram;
    const values = counts.reduce((sum, count) => sum + count, 0);
    const half =
      unit.half_share === null
        ? "It is never active."
        : `Half of its positive activation lies in ${text.percent(unit.half_share)} of the images.`;
    const lower = unit.mean - low > 7.9 * unit.std ? " The first bar holds all that is lower, too." : "";
    return h(
      "figure.spread",
      layout.region("Histogram", chart(unit)),
      h(
        "figcaption",
        "Heights are logarithms of counts. The line is the mean, the band one standard deviation on either side. ",
        `${half} ${source(unit.histogram, values)}${lower}`,
      ),
    );
  }

  atlas.unitHistogram = { figure };
})();
