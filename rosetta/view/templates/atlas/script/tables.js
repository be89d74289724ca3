/** Every table of the run: a look at it, and all of it as CSV. */
(() => {
  const { h, text, run, state, layout } = atlas;
  const PREVIEW = 200;
  /** As a sentence. @param {string} phrase */
  const sentence = (phrase) => `${phrase.charAt(0).toUpperCase()}${phrase.slice(1)}.`;

  /**
   * The first rows in an order.
   * @param {Object<string, any[]>} columns @param {string} sort @param {boolean} falling
   * @returns {number[]}
   */
  function order(columns, sort, falling) {
    const places = Array.from({ length: atlas.count(columns) }, (_, row) => row);
    if (columns[sort]) places.sort(atlas.order(columns[sort], falling));
    return places.slice(0, PREVIEW);
  }

  function shown(value) {
    if (value === null) return "–";
    return typeof value === "number" && !Number.isInteger(value) ? text.value(value) : String(value);
  }

  atlas.views.tables = {
    title: () => "Tables",
    async show(root, first) {
      const names = run.tables;
      const name = first.path[0] ?? names[0];
      if (!names.includes(name)) throw new Error(`no table ${name} in this run; its tables are ${names.join(", ")}`);
      const columns = await atlas.load(`table/${name}`);
      const keys = Object.keys(columns);
      const rows = atlas.count(columns);
      const numeric = new Set(keys.filter((key) => columns[key].some((value) => typeof value === "number")));
      const room = layout.region(`Table ${name}`);
      room.classList.add("preview");
      root.append(
        h(
          "div.wide",
          h("h1", { tabindex: -1 }, "Tables"),
          h(
            "nav.tabs",
            { "aria-label": "Tables" },
            names.map((one) => h("a", { href: `#/tables/${one}`, "aria-current": one === name ? "page" : null }, one)),
          ),
          h(
            "div.heading",
            h("p.intro", `${sentence(run.about[name])} ${text.counted(rows, "row")}, ${text.counted(keys.length, "column")}.`),
            layout.button("button.strong-button", `Download ${name}.csv`, () =>
              atlas.csv.download(`${name}.csv`, atlas.csv.write(columns)),
            ),
          ),
          room,
          rows > PREVIEW ? h("p.quiet", `The first ${PREVIEW} rows in this order; the file holds all.`) : "",
        ),
      );

      function update({ query }) {
        const sort = query.get("sort") ?? "";
        const falling = query.get("order") === "falling";
        const heading = (key) => {
          const sorted = key === sort;
          const turn = () => state.patch({ sort: key, order: sorted && !falling ? "falling" : "" });
          const arrow = h("i", { "aria-hidden": "true" }, sorted ? (falling ? "↓" : "↑") : "");
          return h(
            numeric.has(key) ? "th.n" : "th",
            { scope: "col", "aria-sort": sorted ? (falling ? "descending" : "ascending") : null },
            layout.button("button", [key, arrow], turn, { "data-column": key }),
          );
        };
        const cell = (value, key) =>
          numeric.has(key) ? h("td.n", value) : h("td", h("bdi.clip", { title: value }, value));
        const row = (place) =>
          h(
            "tr",
            keys.map((key) => cell(shown(columns[key][place]), key)),
          );
        room.replaceChildren(
          h("table.data", h("thead", h("tr", keys.map(heading))), h("tbody", order(columns, sort, falling).map(row))),
        );
      }
      update(first);
      return { update };
    },
  };
})();
