/** The tables of a concept: its neurons with their units, and all buddies beyond the strongest. */
(() => {
  const { h, text, run, parts, names } = atlas;
  const { column, numbers, section, table } = atlas.layout;
  /** Rows before more are asked for. */
  const FIRST = 40;

  const relation = (member) =>
    h(
      "small.quiet",
      { title: `Rank ${member.rank_ab} from the anchor’s unit, rank ${member.rank_ba} back` },
      ` ${member.rank_ab}/${member.rank_ba}`,
    );

  /** @param {number[]} columns models */
  function neuronTable(neurons, columns) {
    const measured = neurons.some((neuron) => neuron.members.some(atlas.trust.measured));
    const cell = (model, member) => {
      const line = atlas.trust.measured(member);
      return h(
        "td",
        names.unitLink(model, member.unit),
        member.pearson === null ? null : h("span.r", text.r(member.pearson), relation(member)),
        line ? h("small.measured", line) : null,
      );
    };
    const row = (neuron) => {
      const byModel = new Map(neuron.members.map((member) => [member.model, member]));
      return h(
        "tr",
        h("th.n", { scope: "row" }, neuron.rosetta),
        h("td.n.strong", text.r(neuron.mean)),
        columns.map((model) => (byModel.has(model) ? cell(model, byModel.get(model)) : h("td.quiet", "–"))),
        run.judged ? h("td", atlas.trust.badge(neuron)) : null,
      );
    };
    const { body, more } = parts.rows(neurons, row, FIRST);
    const head = [
      numbers("Neuron"),
      numbers("Mean r"),
      columns.map((model) => column(names.name(run.models[model].name))),
      run.judged ? column("Trust") : null,
    ];
    return section(
      "section",
      "neurons-title",
      "Neurons",
      h(
        "p.intro",
        "Each row is one Rosetta neuron: a unit of the anchor and its strongest buddy in every other model, with the correlation and, small, the ranks in each other’s list of neighbours.",
        measured
          ? " Below: its 95 % interval, the correlation on images that did not choose it, the excess over the layer turned at random, the correlation of clipped maps and within classes, and whether it is a pair when each unit is matched once."
          : "",
      ),
      table("table.data.neurons", "Neurons", head, body),
      more,
    );
  }

  /** @param {any[]} buddies [model, unit, pearson, rank_ab, rank_ba, anchor_unit] */
  function buddyTable(buddies) {
    const inside = h("div");
    const details = h("details.fold", h("summary", `All further buddies (${text.count(buddies.length)})`), inside);
    details.addEventListener("toggle", () => {
      if (!details.open || inside.firstChild) return;
      const row = ([model, unit, pearson, ab, ba, anchor]) =>
        h(
          "tr",
          h("td", parts.model(model)),
          h("td", names.unitLink(model, unit)),
          [text.r(pearson), ab, ba].map((number) => h("td.n", number)),
          h("td", names.unitLink(run.anchor, anchor)),
        );
      const { body, more } = parts.rows(buddies, row, 100);
      const head = [
        ["Model", "Unit"].map((name) => column(name)),
        ["r", "Rank", "Rank back"].map((name) => numbers(name)),
        column("Of the anchor’s unit"),
      ];
      inside.append(table("table.data", "Further buddies", head, body), more ?? "");
    });
    return details;
  }

  atlas.neurons = { neuronTable, buddyTable };
})();
