/** Every table of the run: a look at it, and all of it as CSV. */
(() => {
  const { h, text, run, state, parts } = atlas;
  const PREVIEW = 200;
  const ABOUT = {
    units: "Every unit of every model, with its statistics over the run.",
    buddies: "Every pair of units that are among each other’s nearest.",
    rosetta: "One row for each Rosetta neuron and model.",
    clusters: "One row for each concept.",
    trust: "What chance, position, pixels and controls explain of each match.",
  };

  /**
   * The first rows in an order.
   * @param {Object<string, any[]>} columns
   * @param {string} sort
   * @param {boolean} falling
   * @returns {number[]}
   */
  function order(columns, sort, falling) {
    const names = Object.keys(columns);
    const places = Array.from({ length: names.length ? columns[names[0]].length : 0 }, (_, row) => row);
    const column = columns[sort];
    if (!column) return places.slice(0, PREVIEW);
    return places
      .sort((a, b) => {
        const [left, right] = [column[a], column[b]];
        if (left === right) return a - b;
        if (left === null) return 1;
        if (right === null) return -1;
        const less = left < right ? -1 : 1;
        return falling ? -less : less;
      })
      .slice(0, PREVIEW);
  }

  const shown = (/** @type {any} */ value) =>
    value === null
      ? "–"
      : typeof value === "number"
        ? Number.isInteger(value)
          ? String(value)
          : text.value(value)
        : String(value);

  atlas.views.tables = {
    title: () => "Tables",
    /**
     * @param {HTMLElement} root
     * @param {any} first
     */
    async show(root, first) {
      const names = run.tables;
      const name = first.path[0] ?? names[0];
      if (!names.includes(name)) throw new Error(`no table ${name} in this run; its tables are ${names.join(", ")}`);
      const columns = await atlas.load(`table/${name}`);
      const keys = Object.keys(columns);
      const rows = keys.length ? columns[keys[0]].length : 0;
      const numeric = new Set(
        keys.filter((key) => columns[key].some((/** @type {any} */ value) => typeof value === "number")),
      );
      const room = h("div.scroll.preview", { tabindex: 0, role: "region", "aria-label": `Table ${name}` });
      root.append(
        h(
          "div.wide",
          {},
          h("h1", { tabindex: -1 }, "Tables"),
          h(
            "nav.tabs",
            { "aria-label": "Tables" },
            names.map((one) => h("a", { href: `#/tables/${one}`, "aria-current": one === name ? "page" : null }, one)),
          ),
          h(
            "div.heading",
            {},
            h(
              "p.intro",
              {},
              `${ABOUT[name] ?? ""} ${text.counted(rows, "row")}, ${text.counted(keys.length, "column")}.`,
            ),
            h(
              "button.strong-button",
              { type: "button", onclick: () => atlas.csv.download(`${name}.csv`, atlas.csv.write(columns)) },
              `Download ${name}.csv`,
            ),
          ),
          room,
          rows > PREVIEW ? h("p.quiet", {}, `The first ${PREVIEW} rows in this order; the file holds all.`) : "",
        ),
      );

      /** @param {any} now */
      function update({ query }) {
        const sort = query.get("sort") ?? "";
        const falling = query.get("order") === "falling";
        room.replaceChildren(
          h(
            "table.data",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                keys.map((key) =>
                  h(
                    numeric.has(key) ? "th.n" : "th",
                    { scope: "col", "aria-sort": key === sort ? (falling ? "descending" : "ascending") : null },
                    h(
                      "button",
                      {
                        type: "button",
                        "data-column": key,
                        onclick: () => state.patch({ sort: key, order: key === sort && !falling ? "falling" : "" }),
                      },
                      key,
                      h("i", { "aria-hidden": "true" }, key === sort ? (falling ? "↓" : "↑") : ""),
                    ),
                  ),
                ),
              ),
            ),
            h(
              "tbody",
              {},
              order(columns, sort, falling).map((row) =>
                h(
                  "tr",
                  {},
                  keys.map((key) =>
                    h(
                      numeric.has(key) ? "td.n" : "td",
                      {},
                      numeric.has(key)
                        ? shown(columns[key][row])
                        : h("bdi.clip", { title: shown(columns[key][row]) }, shown(columns[key][row])),
                    ),
                  ),
                ),
              ),
            ),
          ),
        );
      }
      update(first);
      return { update };
    },
  };
  atlas.parts = { ...parts, tableOrder: order };
})();
