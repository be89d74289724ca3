/** All concepts as cards, sorted, filtered and searched; what is asked stands in the address. */
(() => {
  const { h, text, run, state, layout, filters } = atlas;

  /**
   * The places of the model and the layer that an address asks for, −1 where it asks for none; and what is wrong with it.
   * @param {URLSearchParams} query
   * @returns {{model: number, layer: number, wrong?: string}}
   */
  function layerOf(query) {
    const none = { model: -1, layer: -1 };
    const [model, layer] = [query.get("model"), query.get("layer")];
    try {
      return model ? atlas.names.find(model, layer || undefined) : none;
    } catch (error) {
      return { ...none, wrong: /** @type {Error} */ (error).message };
    }
  }

  const asksForUnits = (query) => Boolean(query.get("q") || query.get("model"));

  function controls(concepts) {
    const patch = state.patch;
    const sort = layout.select("Sort by", filters.sorts(concepts), (value) =>
      patch({ sort: value === filters.usual(state.read().query) ? "" : value }),
    );
    const turn = () => patch({ order: state.read().query.get("order") === "turned" ? "" : "turned" });
    const turning = "Turn the order round";
    const order = layout.button("button.round", "⇅", turn, { "aria-label": turning, title: turning });
    const asked = atlas.names.asked.map((place) => [run.models[place].name, run.models[place].name]);
    const model = layout.select("Model whose layer is asked for", [["", "Any model"], ...asked], (value) =>
      patch({ model: value, layer: "" }),
    );
    const layer = layout.select("Layer", [], (value) => patch({ layer: value }));
    const means = concepts.mean.filter((value) => value !== null);
    const low = Math.max(0, Math.floor(Math.min(1, ...means) * 20) / 20);
    const high = Math.min(1, Math.ceil(Math.max(0, ...means) * 100) / 100);
    const least = h("input", {
      type: "range",
      min: low,
      max: high,
      step: 0.01,
      "aria-label": "Least mean correlation",
      oninput: () => patch({ min: Number(least.value) <= low ? "" : least.value }),
    });
    const told = h("output");
    const size = h("input", {
      type: "number",
      min: 1,
      max: Math.max(1, ...concepts.size),
      "aria-label": "Least number of neurons",
      oninput: () => patch({ size: Number(size.value) > 1 ? size.value : "" }),
    });
    const trusted = h("input", { type: "checkbox", onchange: () => patch({ trusted: trusted.checked ? 1 : "" }) });
    const starred = h("input", { type: "checkbox", onchange: () => patch({ starred: starred.checked ? 1 : "" }) });
    const known = filters.known(concepts);
    const clear = layout.button("button.small", "Clear", () => {
      location.hash = "#/concepts";
    });
    const shown = h("p.shown", { "aria-live": "polite" });

    let layersOf = NaN;
    /** @param {URLSearchParams} query @param {{model: number, layer: number}} place */
    function read(query, place) {
      /** @type {HTMLOptionElement} */ (sort.querySelector("[value=fit]")).hidden = !query.get("word");
      sort.value = filters.sortOf(query);
      order.setAttribute("aria-pressed", String(query.get("order") === "turned"));
      const asked = run.models[place.model];
      model.value = asked?.name ?? "";
      if (layersOf !== place.model) {
        layersOf = place.model;
        layer.replaceChildren(
          h("option", { value: "" }, "Any layer"),
          ...(asked?.layers ?? []).map((one) => h("option", { value: one.name }, one.name)),
        );
      }
      layer.disabled = !asked;
      layer.value = asked?.layers[place.layer]?.name ?? "";
      least.value = String(state.share(query.get("min"), low));
      told.textContent = text.r(Number(least.value));
      if (document.activeElement !== size) size.value = String(Number(query.get("size")) || 1);
      trusted.checked = query.get("trusted") === "1";
      starred.checked = query.get("starred") === "1";
      known.read(query);
    }

    const fold = h(
      "details.filters",
      h("summary", "Filters"),
      h(
        "div",
        h("label", h("span", "Layer of"), model, layer),
        h("label", h("span", "r ≥"), least, told),
        h("label", h("span", "neurons ≥"), size),
        run.judged ? h("label", trusted, h("span", "with a trusted neuron")) : null,
        h("label", starred, h("span", "starred")),
        known.element,
      ),
    );
    fold.open = innerWidth > 760;
    const element = h(
      "section.controls",
      { role: "group", "aria-label": "Sort and filter concepts" },
      h("div.wide", h("div.first", h("label", h("span", "Sort"), sort), order, shown), fold),
    );

    /** @param {number} count @param {boolean} asked @param {any} [told] of the word that concepts are sorted by */
    function report(count, asked, told = null) {
      shown.replaceChildren(
        asked ? `${text.count(count)} of ${text.counted(run.concepts, "concept")} ` : text.counted(count, "concept"),
        told ?? "",
        asked ? clear : "",
      );
    }
    return { element, read, report };
  }

  atlas.views.concepts = {
    title: () => "Concepts",
    async show(root, first) {
      let concepts = await atlas.load("concepts");
      // The units of all concepts: large, and needed only by who asks for some.
      let index = asksForUnits(first.query) ? await atlas.load("search") : null;
      let words = first.query.get("word") ? await atlas.words.load() : undefined;
      const bar = controls(concepts);
      const room = h("div", { "aria-label": "Concepts" });
      const none = h(
        "p.none",
        { hidden: true },
        "No concept meets this. Words must all hold of one Rosetta neuron; ",
        layout.button("button.small", "how search reads them", () => document.getElementById("help").click()),
      );
      const wrong = h("p.none", { hidden: true });
      root.append(
        h("h1.unseen", { tabindex: -1 }, "Concepts"),
        bar.element,
        h("section.wide.cards", room, none, wrong),
      );
      let sort = filters.sortOf(first.query);
      const grid = atlas.grid(room, 168, atlas.cards.BELOW, (id) =>
        sort === "fit"
          ? atlas.fit.card(concepts, id)
          : atlas.cards.card(concepts, id, filters.SAID[sort] && { word: filters.SAID[sort], value: concepts[sort][id] }),
      );
      let before = "";
      const say = (text) => {
        wrong.replaceChildren(text ?? "");
        wrong.hidden = !text;
      };
      function update({ query }) {
        const place = layerOf(query);
        bar.read(query, place);
        if (before === `?${query}`) return;
        const word = query.get("word");
        if ((!index && asksForUnits(query)) || (word && words === undefined)) {
          Promise.all([asksForUnits(query) ? atlas.load("search") : index, word ? atlas.words.load() : words]).then(
            (came) => {
              [index, words] = came;
              atlas.refresh();
            },
            (error) => say(error.message),
          );
          return;
        }
        before = `?${query}`;
        sort = filters.sortOf(query);
        concepts = atlas.fit.columns(concepts, words, word);
        place.wrong ??= atlas.fit.wrong(words, word);
        const found = place.wrong ? [] : filters.select(concepts, index, query, place);
        bar.report(
          found.length,
          [...query.keys()].some((key) => key !== "sort" && key !== "order"),
          word && !place.wrong ? atlas.fit.told(concepts, found, word) : null,
        );
        none.hidden = found.length > 0 || place.wrong !== undefined;
        say(place.wrong);
        grid.set(found);
      }
      update(first);
      return { update, leave: grid.leave, keys: grid.keys };
    },
  };
})();
