/** The tables of a concept: its neurons with their units, and all buddies beyond the strongest. */
(() => {
  const { h, text, run, parts, names } = atlas;
  /** Rows before more are asked for. */
  const FIRST = 40;

  /** @param {any} member */
  const relation = (member) =>
    h(
      "small.quiet",
      { title: `Rank ${member.rank_ab} from the anchor’s unit, rank ${member.rank_ba} back` },
      ` ${member.rank_ab}/${member.rank_ba}`,
    );

  /**
   * @param {any[]} neurons
   * @param {number[]} columns models
   */
  function neuronTable(neurons, columns) {
    const body = h("tbody");
    const more = parts.rows(
      body,
      neurons,
      (neuron) => {
        const byModel = new Map(neuron.members.map((/** @type {any} */ member) => [member.model, member]));
        return h(
          "tr",
          {},
          h("th.n", { scope: "row" }, neuron.rosetta),
          h("td.n.strong", {}, text.r(neuron.mean)),
          columns.map((model) => {
            const member = byModel.get(model);
            if (!member) return h("td.quiet", {}, "–");
            return h(
              "td",
              {},
              names.unitLink(model, member.unit),
              member.pearson === null ? null : h("span.r", {}, text.r(member.pearson), relation(member)),
            );
          }),
          run.judged
            ? h("td", {}, atlas.trust.badge(neuron))
            : null,
        );
      },
      FIRST,
    );
    return h(
      "section",
      { "aria-labelledby": "neurons-title" },
      h("h2", { id: "neurons-title" }, "Neurons"),
      h(
        "p.intro",
        {},
        `Each row is one Rosetta neuron: a unit of the anchor and its strongest buddy in every other model, with the correlation and, small, the ranks in each other’s list of neighbours.`,
      ),
      h(
        "div.scroll",
        { tabindex: 0, role: "region", "aria-label": "Neurons" },
        h(
          "table.data.neurons",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th.n", { scope: "col" }, "Neuron"),
              h("th.n", { scope: "col" }, "Mean r"),
              columns.map((model) => h("th", { scope: "col" }, names.name(run.models[model].name))),
              run.judged ? h("th", { scope: "col" }, "Trust") : null,
            ),
          ),
          body,
        ),
      ),
      more,
    );
  }

  /** @param {any[]} buddies [model, unit, pearson, rank_ab, rank_ba, anchor_unit] */
  function buddyTable(buddies) {
    const inside = h("div");
    const details = h(
      "details.fold",
      {},
      h("summary", {}, `All further buddies (${text.count(buddies.length)})`),
      inside,
    );
    details.addEventListener("toggle", () => {
      if (!details.open || inside.firstChild) return;
      const body = h("tbody");
      const more = parts.rows(
        body,
        buddies,
        ([model, unit, pearson, ab, ba, anchor]) =>
          h(
            "tr",
            {},
            h(
              "td",
              {},
              names.name(run.models[model].name),
              run.models[model].control ? parts.chip("control", "control") : null,
            ),
            h("td", {}, names.unitLink(model, unit)),
            h("td.n", {}, text.r(pearson)),
            h("td.n", {}, ab),
            h("td.n", {}, ba),
            h("td", {}, names.unitLink(run.anchor, anchor)),
          ),
        100,
      );
      inside.append(
        h(
          "div.scroll",
          { tabindex: 0, role: "region", "aria-label": "Further buddies" },
          h(
            "table.data",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                ["Model", "Unit"].map((name) => h("th", { scope: "col" }, name)),
                ["r", "Rank", "Rank back"].map((name) => h("th.n", { scope: "col" }, name)),
                h("th", { scope: "col" }, "Of the anchor’s unit"),
              ),
            ),
            body,
          ),
        ),
        more ?? "",
      );
    });
    return details;
  }

  atlas.neurons = { neuronTable, buddyTable };
})();
