/** All units of a layer in one table, sorted by what is measured of them. */
(() => {
  const { h, text, run, state, names, layout } = atlas;
  /** Rows before more are asked for. */
  const FIRST = 25;
  const COLUMNS = {
    mean: ["mean"],
    std: ["deviation"],
    maximum: ["highest"],
    kurtosis: ["kurtosis", "3 for a normal distribution, more where it is seldom strong"],
    half_share: ["half share", "The smallest share of images that carries half of its activation"],
    match: ["match", "The highest correlation with a buddy"],
    held_out: ["held out", "The same match on images that did not choose it"],
    auroc: ["AUROC", "Of the class that it is most selective for"],
    iou: ["IoU", "Of the mask that it overlaps most"],
    effect: ["effect", "The highest of what ablating does, by it or to it"],
  };

  /** @param {any} index of `unit/<m>.<l>` @param {number} model @param {number} layer @param {number} channel */
  function units(index, model, layer, channel) {
    const keys = Object.keys(COLUMNS).filter((key) => index[key]);
    const room = h("div");
    const count = index.concept.length;
    let drawn = null;
    let all = false;

    /** @param {URLSearchParams} query */
    function update(query) {
      const sort = state.word(query.get("sort"), ["", ...keys]);
      const falling = query.get("order") !== "rising";
      const now = `${sort} ${falling} ${all}`;
      if (now === drawn) return;
      drawn = now;
      const places = Array.from({ length: count }, (_, place) => place);
      if (sort) places.sort(atlas.order(index[sort], falling));
      const heading = (key) => {
        const sorted = key === sort;
        const turn = () => state.patch({ sort: key, order: sorted && falling ? "rising" : "" });
        const arrow = h("i", { "aria-hidden": "true" }, sorted ? (falling ? "↓" : "↑") : "");
        const [word, about] = COLUMNS[key];
        const told = { scope: "col", title: about, "aria-sort": sorted ? (falling ? "descending" : "ascending") : null };
        return h("th.n", told, layout.button("button", [word, arrow], turn, { "data-column": key }));
      };
      const row = (place) =>
        h(
          "tr",
          { "aria-current": place === channel ? "true" : null },
          h("th", { scope: "row" }, h("a", { href: state.href(names.channelPlace(model, layer, place), query) }, `·${place}`)),
          index.name ? h("td", index.name[place] ? names.name(index.name[place]) : h("span.quiet", "–")) : null,
          h(
            "td",
            index.concept[place] >= 0
              ? h("a", { href: state.href(`concept/${index.concept[place]}`) }, `concept ${index.concept[place]}`)
              : h("span.quiet", "–"),
          ),
          keys.map((key) => h("td.n", text.value(index[key][place]))),
        );
      const head = [
        layout.column("Channel"),
        index.name ? layout.column("Name") : null,
        layout.column("Concept"),
        keys.map(heading),
      ];
      const body = h("tbody", places.slice(0, all ? count : FIRST).map(row));
      const shown = layout.table("table.data.sorted", "Units of the layer", head, body);
      const more = layout.button("button.small.more", `Show all ${text.count(count)}`, () => {
        all = true;
        update(state.read().query);
      });
      room.replaceChildren(shown, all || count <= FIRST ? "" : more);
    }
    return { element: room, update };
  }

  /** The section that the table comes into once it is there. @param {number} model @param {number} layer */
  function section(model, layer) {
    const room = h("div", h("p.quiet", "…"));
    const title = ["All units of ", names.name(run.models[model].layers[layer].name)];
    const about = h("p.intro", "A column’s heading sorts by it. A value that was not measured comes last.");
    return { element: layout.section("section", "layer-title", title, about, room), room };
  }

  atlas.unitIndex = { units, section };
})();
