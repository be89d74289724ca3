/** Which concepts an address asks for, and in which order; and the filters by what is known of them. */
(() => {
  const { h, run, state, layout, found } = atlas;
  /** Of the address, by the name of each. The first is the default. */
  const SORTS = {
    ...(run.trusted ? { first: "Trusted first" } : {}),
    mean: "Correlation",
    best_held_out: "Held-out r",
    best_excess: "Excess",
    trusted: "Trusted neurons",
    name: "Name",
    iou: "IoU of the label",
    auroc: "AUROC of the class",
    effect: "Causal effect",
    effect_q: "q of the effect",
    size: "Neurons",
    depth: "Depth",
    id: "Number",
    fit: "Fit of the word",
  };
  const RISING = ["name", "effect_q", "depth", "id"];
  /** What a card says in place of the correlation when concepts are sorted by it. */
  const SAID = {
    best_held_out: "held out",
    best_excess: "excess",
    iou: "IoU",
    auroc: "AUROC",
    effect: "effect",
    effect_q: "q",
  };
  /** Limits of what is known: the column, whether it is a least value, and what it is called. */
  const LIMITS = {
    iou: { column: "iou", least: true, word: "IoU ≥", label: "Least IoU of the label" },
    auroc: { column: "auroc", least: true, word: "AUROC ≥", label: "Least AUROC of the class" },
    effect: { column: "effect", least: true, word: "effect ≥", label: "Least causal effect" },
    effect_q: { column: "effect_q", least: false, word: "q ≤", label: "Highest q of the causal effect" },
  };

  const isKnown = (column) => column.some((/** @type {any} */ one) => one !== null);

  /** The values by which concepts are sorted. @param {any} concepts @param {string} sort */
  function values(concepts, sort) {
    // Correlations lie between −1 and 1, so a trusted neuron counts for more than any.
    if (sort === "first") return concepts.id.map((id) => (concepts.mean[id] ?? -1) + (concepts.trusted[id] > 0 ? 3 : 0));
    if (sort === "name") return concepts.id.map((id) => found.called(concepts, id));
    return concepts[sort];
  }

  /** What can sort: not what the run has not measured. How a word fits is known once one is asked for. */
  const sorts = (concepts) =>
    Object.entries(SORTS).filter(([sort]) => sort === "fit" || isKnown(values(concepts, sort)));

  /** What concepts are sorted by where nothing else is asked for. @param {URLSearchParams} query */
  const usual = (query) => (query.get("word") ? "fit" : Object.keys(SORTS)[0]);

  /** @param {URLSearchParams} query */
  const sortOf = (query) => state.word(query.get("sort") ?? usual(query), Object.keys(SORTS));

  /** A limit out of an address; null where none is asked for. @param {string|null} text */
  function limit(text) {
    const value = text === null || text.trim() === "" ? NaN : Number(text);
    return Number.isFinite(value) ? value : null;
  }

  /** The tests that what is asked for must pass. @param {any} concepts @param {URLSearchParams} query */
  function knownTests(concepts, query) {
    const label = query.get("label");
    const limits = Object.entries(LIMITS).map(([key, { column, least }]) => {
      const end = limit(query.get(key));
      const values = concepts[column];
      return end !== null && ((id) => values[id] !== null && (least ? values[id] >= end : values[id] <= end));
    });
    return [
      query.get("named") === "1" && ((id) => found.called(concepts, id) !== null),
      label && ((id) => concepts.label[id] === label),
      ...limits,
    ];
  }

  /**
   * The concepts that an address asks for, in its order.
   * @param {any} concepts @param {any} index null where nothing is asked of units
   * @param {URLSearchParams} query @param {{model: number, layer: number}} place
   * @returns {number[]}
   */
  function select(concepts, index, query, { model, layer }) {
    const least = state.share(query.get("min"), -1);
    const size = Number(query.get("size")) || 1;
    const q = (query.get("q") ?? "").trim();
    const tests = [
      least > -1 && ((id) => (concepts.mean[id] ?? -1) >= least),
      size > 1 && ((id) => concepts.size[id] >= size),
      query.get("trusted") === "1" && ((id) => concepts.trusted[id] > 0),
      query.get("starred") === "1" && atlas.notes.starred,
      ...knownTests(concepts, query),
      model >= 0 && atlas.search.inLayer(index, model, layer),
      q && atlas.search.matcher(q, index, concepts),
    ].filter((test) => typeof test === "function");
    const sort = sortOf(query);
    const falling = RISING.includes(sort) === (query.get("order") === "turned");
    return concepts.id.filter((id) => tests.every((test) => test(id))).sort(atlas.order(values(concepts, sort), falling));
  }

  /** The filters by what is known, as far as it is. @param {any} concepts */
  function known(concepts) {
    const counts = new Map();
    for (const label of concepts.label) if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
    const labels = [...counts].sort(([a, more], [b, less]) => less - more || (a < b ? -1 : 1));
    const options = labels.map(([label, count]) => [label, `${label} (${count})`]);
    const label = layout.select("Label of masks", [["", "Any label"], ...options], (value) =>
      state.patch({ label: value }),
    );
    const named = h("input", { type: "checkbox", onchange: () => state.patch({ named: named.checked ? 1 : "" }) });
    const limits = Object.entries(LIMITS)
      .filter(([, { column }]) => isKnown(concepts[column]))
      .map(([key, { word, label }]) => {
        const input = h("input", {
          type: "number",
          step: "any",
          "aria-label": label,
          oninput: () => state.patch({ [key]: limit(input.value) ?? "" }),
        });
        return { key, input, element: h("label", h("span", word), input) };
      });
    const inside = [
      found.names ? h("label", named, h("span", "with a name")) : null,
      labels.length ? h("label", h("span", "Label"), label) : null,
      limits.map((one) => one.element),
    ].filter((one) => one !== null);
    const keys = ["named", "label", ...limits.map(({ key }) => key)];
    const element = h("details.known", h("summary", "By name, label, class and effect"), h("div", inside));

    /** @param {URLSearchParams} query */
    function read(query) {
      // Folded away, as they are many; never while one of them is asked for.
      if (keys.some((key) => query.has(key))) element.open = true;
      named.checked = query.get("named") === "1";
      label.value = counts.has(query.get("label")) ? query.get("label") : "";
      for (const { key, input } of limits)
        if (document.activeElement !== input) input.value = String(limit(query.get(key)) ?? "");
    }
    return { element: inside.flat().length ? element : null, read };
  }

  atlas.filters = { SAID, sorts, usual, sortOf, select, known };
})();
