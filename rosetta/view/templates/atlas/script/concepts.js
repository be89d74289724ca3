/** All concepts as cards, sorted, filtered and searched; what is asked stands in the address. */
(() => {
  const { h, text, run, state } = atlas;
  const SORTS = { mean: "Correlation", size: "Neurons", depth: "Depth", id: "Number" };

  /**
   * @param {any} concepts
   * @param {string} sort
   * @param {boolean} turned
   */
  function compare(concepts, sort, turned) {
    const falling = (sort === "mean" || sort === "size") !== turned;
    const column = concepts[sort];
    return (/** @type {number} */ a, /** @type {number} */ b) => {
      if (column[a] === column[b]) return a - b;
      if (column[a] === null) return 1;
      if (column[b] === null) return -1;
      return falling ? column[b] - column[a] : column[a] - column[b];
    };
  }

  const asksForUnits = (/** @type {URLSearchParams} */ query) => Boolean(query.get("q") || query.get("model"));

  /**
   * The concepts that an address asks for, in its order.
   * @param {any} concepts
   * @param {any} index null where nothing is asked of units
   * @param {URLSearchParams} query
   * @returns {number[]}
   */
  function select(concepts, index, query) {
    const model = state.whole(query.get("model"), -1, run.models.length);
    const layer = model < 0 ? -1 : state.whole(query.get("layer"), -1, run.models[model].layers.length);
    const least = state.share(query.get("min"), -1);
    const size = Number(query.get("size")) || 1;
    const q = (query.get("q") ?? "").trim();
    const tests = [
      least > -1 && ((/** @type {number} */ id) => (concepts.mean[id] ?? -1) >= least),
      size > 1 && ((/** @type {number} */ id) => concepts.size[id] >= size),
      query.get("trusted") === "1" && ((/** @type {number} */ id) => concepts.trusted[id] > 0),
      model >= 0 && atlas.search.inLayer(index, model, layer),
      q && atlas.search.matcher(q, index),
    ].filter((test) => typeof test === "function");
    return concepts.id
      .filter((/** @type {number} */ id) => tests.every((test) => test(id)))
      .sort(compare(concepts, state.word(query.get("sort"), Object.keys(SORTS)), query.get("order") === "turned"));
  }

  /** @param {any} concepts */
  function controls(concepts) {
    const patch = state.patch;
    let waiting = 0;
    const q = h("input", {
      type: "search",
      placeholder: "lite0 blocks.3, unit 412, cluster 17",
      "aria-label": "Search concepts by model, layer, unit or number",
      spellcheck: "false",
      autocomplete: "off",
    });
    q.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => patch({ q: q.value }), 120);
    });
    const sort = h(
      "select",
      { "aria-label": "Sort by", onchange: () => patch({ sort: sort.value === "mean" ? "" : sort.value }) },
      Object.entries(SORTS).map(([value, name]) => h("option", { value }, name)),
    );
    const order = h(
      "button.round",
      {
        type: "button",
        "aria-label": "Turn the order round",
        title: "Turn the order round",
        onclick: () => patch({ order: state.read().query.get("order") === "turned" ? "" : "turned" }),
      },
      "⇅",
    );
    const model = h(
      "select",
      { "aria-label": "Model whose layer is asked for", onchange: () => patch({ model: model.value, layer: "" }) },
      h("option", { value: "" }, "Any model"),
      atlas.names.asked.map((place) => h("option", { value: place }, run.models[place].name)),
    );
    const layer = h("select", { "aria-label": "Layer", onchange: () => patch({ layer: layer.value }) });
    const means = concepts.mean.filter((/** @type {number|null} */ value) => value !== null);
    const [low, high] = [
      Math.max(0, Math.floor(Math.min(1, ...means) * 20) / 20),
      Math.min(1, Math.ceil(Math.max(0, ...means) * 100) / 100),
    ];
    const least = h("input", {
      type: "range",
      min: low,
      max: high,
      step: 0.01,
      "aria-label": "Least mean correlation",
      oninput: () => patch({ min: Number(least.value) <= low ? "" : least.value }),
    });
    const told = h("output", {});
    const size = h("input", {
      type: "number",
      min: 1,
      max: Math.max(1, ...concepts.size),
      "aria-label": "Least number of neurons",
      oninput: () => patch({ size: Number(size.value) > 1 ? size.value : "" }),
    });
    const trusted = h("input", { type: "checkbox", onchange: () => patch({ trusted: trusted.checked ? 1 : "" }) });
    const clear = h(
      "button.small",
      {
        type: "button",
        onclick: () => {
          location.hash = "#/concepts";
        },
      },
      "Clear",
    );
    const shown = h("p.shown", { "aria-live": "polite" });

    let layersOf = NaN;
    /** @param {URLSearchParams} query */
    function read(query) {
      if (document.activeElement !== q) q.value = query.get("q") ?? "";
      sort.value = state.word(query.get("sort"), Object.keys(SORTS));
      order.setAttribute("aria-pressed", String(query.get("order") === "turned"));
      const place = state.whole(query.get("model"), -1, run.models.length);
      model.value = place < 0 ? "" : String(place);
      if (layersOf !== place) {
        layersOf = place;
        layer.replaceChildren(
          h("option", { value: "" }, "Any layer"),
          ...(place < 0 ? [] : run.models[place].layers.map((one, number) => h("option", { value: number }, one.name))),
        );
      }
      layer.disabled = place < 0;
      layer.value = query.get("layer") ?? "";
      least.value = String(state.share(query.get("min"), low));
      told.textContent = text.r(Number(least.value));
      if (document.activeElement !== size) size.value = String(Number(query.get("size")) || 1);
      trusted.checked = query.get("trusted") === "1";
    }

    const filters = h(
      "details.filters",
      {},
      h("summary", {}, "Filters"),
      h(
        "div",
        {},
        h("label", {}, h("span", {}, "Layer of"), model, layer),
        h("label", {}, h("span", {}, "r ≥"), least, told),
        h("label", {}, h("span", {}, "neurons ≥"), size),
        run.judged ? h("label", {}, trusted, h("span", {}, "trusted only")) : null,
      ),
    );
    filters.open = innerWidth > 760;
    const element = h(
      "section.controls",
      { role: "search", "aria-label": "Search and filter concepts" },
      h("div.wide", {}, h("div.first", {}, q, h("label", {}, h("span", {}, "Sort"), sort), order, shown), filters),
    );

    /**
     * @param {number} count
     * @param {boolean} asked
     */
    function report(count, asked) {
      shown.replaceChildren(
        asked ? `${text.count(count)} of ${text.counted(run.concepts, "concept")} ` : text.counted(count, "concept"),
        asked ? clear : "",
      );
    }
    return { element, read, report };
  }

  atlas.views.concepts = {
    title: () => "Concepts",
    /**
     * @param {HTMLElement} root
     * @param {any} first
     */
    async show(root, first) {
      const concepts = await atlas.load("concepts");
      // The units of all concepts: large, and needed only by who asks for some.
      let index = asksForUnits(first.query) ? await atlas.load("search") : null;
      const bar = controls(concepts);
      const room = h("div", { "aria-label": "Concepts" });
      const none = h(
        "p.none",
        { hidden: true },
        "No concept meets this. Words must all hold of one Rosetta neuron; ",
        h(
          "button.small",
          { type: "button", onclick: () => document.getElementById("help").click() },
          "how search reads them",
        ),
      );
      root.append(h("h1.unseen", { tabindex: -1 }, "Concepts"), bar.element, h("section.wide.cards", {}, room, none));
      const grid = atlas.grid(room, 168, atlas.cards.BELOW, (id) => atlas.cards.card(concepts, id));
      let before = "";
      const failed = (/** @type {Error} */ error) => {
        none.textContent = error.message;
        none.hidden = false;
      };
      /** @param {any} now */
      function update({ query }) {
        bar.read(query);
        if (before === `?${query}`) return;
        if (!index && asksForUnits(query)) {
          atlas.load("search").then((units) => {
            index = units;
            atlas.refresh();
          }, failed);
          return;
        }
        before = `?${query}`;
        const found = select(concepts, index, query);
        bar.report(
          found.length,
          [...query.keys()].some((key) => key !== "sort" && key !== "order"),
        );
        none.hidden = found.length > 0;
        grid.set(found);
      }
      update(first);
      const start = () => grid.focus(0);
      return { update, leave: grid.leave, keys: { ArrowDown: start, ArrowRight: start } };
    },
  };
  atlas.select = select;
})();
