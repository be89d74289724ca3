/** What else is known of a unit: its classes, its names, its neurons, what it causes. */
(() => {
  const { h, text, run, parts, names, layout } = atlas;
  const { column, numbers, section, table } = layout;

  const row = (...cells) => h("tr", cells);
  const number = (value) => h("td.n", value);
  const named = (name) => h("td", names.name(name));

  /** Names and neurons in a line. @param {any} unit */
  function line(unit) {
    const best = (rows, place) => (rows ?? []).find((one) => one[place]);
    const word = best(unit.words, 3);
    const mask = best(unit.masks, 2);
    const neurons = (unit.neurons ?? []).map(([rosetta, concept, trusted]) =>
      h(
        "span",
        h("a", { href: atlas.state.href(`concept/${concept}`) }, `in concept ${concept}`),
        ` as part of neuron ${rosetta} `,
        trusted ? parts.chip("trusted", "good") : null,
      ),
    );
    const facts = [
      word ? layout.fact("named by words", names.name(word[0])) : null,
      mask ? h("span", "named by masks ", h("b", names.name(mask[0])), ` IoU ${text.r(mask[1])}`) : null,
      neurons.length ? neurons : h("span.quiet", "in no concept"),
    ];
    return h("p.facts", facts);
  }

  /** @param {any} unit */
  function classes(unit) {
    if (!unit.classes) return null;
    const rows = unit.classes.map(([label, images, auroc, deviation, mean]) =>
      row(
        named(label),
        number([text.r(auroc), parts.bar(2 * auroc - 1)]),
        number(text.value(deviation)),
        number(text.value(mean)),
        number(text.count(images)),
      ),
    );
    const head = [
      column("Class"),
      numbers("AUROC", "The probability that an image of the class peaks higher than any other"),
      numbers("deviations", "How far that lies above one half, in standard deviations of what exchanged images make of it"),
      numbers("mean peak"),
      numbers("images"),
    ];
    return section(
      "section",
      "classes-title",
      "Classes",
      h("p.intro", "The classes of images that the unit is most selective for, by its peaks."),
      table("table.data.profile", "Classes", head, h("tbody", rows)),
    );
  }

  /** All names that were looked at, also those that are none. @param {any} unit */
  function candidates(unit) {
    const row = (kind, label, score, least, is) =>
      h("tr", h("td", kind), named(label), number(text.value(score)), number(text.value(least)), h("td", is ? parts.chip("name", "good") : h("span.quiet", "no name")));
    const rows = [
      ...(unit.words ?? []).map(([label, score, least, is]) => row("words", label, score, least, is)),
      ...(unit.masks ?? []).map(([label, iou, is]) => row("masks", label, iou, 0.04, is)),
    ];
    if (!rows.length) return null;
    const head = [column("From"), column("Name"), numbers("Score", "Soft WPMI of a word, intersection over union of a mask"), numbers("must exceed"), column("")];
    return section("section", "names-title", "Names", table("table.data", "Names", head, h("tbody", rows)));
  }

  /** @param {any} unit @param {number} model */
  function causes(unit, model) {
    const generates = model === run.anchor;
    const rows = (unit.causes ?? []).map(([other, one, effect, change, rank, random, p, q]) =>
      row(
        generates ? h("td", parts.model(other)) : null,
        h("td", names.unitLink(other, one)),
        [effect, random, change].map((value) => number(text.value(value))),
        number(text.percent(rank)),
        [p, q].map((value) => number(text.value(value))),
      ),
    );
    const silenced = unit.silenced ?? [];
    if (!rows.length && !silenced.length) return null;
    const head = [
      generates ? column("Model") : null,
      column(generates ? "Its buddy there" : "Unit of the generator"),
      numbers("effect", "The part of their covariance that is gone with the generator’s unit, in standard deviations"),
      numbers("of random units"),
      numbers("change", "Root mean square of the change of the map, wherever it is"),
      numbers("others that follow", "The share of the other units of the layer that follow at least as much"),
      numbers("p"),
      numbers("q"),
    ];
    return section(
      "section",
      "causes-title",
      generates ? "What ablating it does" : rows.length ? "What it follows" : "What it causes",
      rows.length
        ? [
            h(
              "p.intro",
              generates
                ? "This unit was changed in the generator, and the images looked at again: how far its buddies follow, against random units of its layer."
                : "Units of the generator were changed, and the images looked at again: how far this unit, their buddy, follows, against random units.",
            ),
            table("table.data", "Causes", head, h("tbody", rows)),
          ]
        : null,
      silenced.map(silence),
    );
  }

  function silence([concept, units, change, random, p, rising, falling]) {
    const listed = (word, classes) =>
      classes.length
        ? [` ${word}: `, classes.map(([label, value], place) => [place ? ", " : "", names.name(label, "bdi"), ` ${text.value(value)}`]), "."]
        : null;
    return h(
      "p.silenced",
      units === 1 ? "With this unit, the only one of " : `With the ${text.count(units)} units of `,
      h("a", { href: atlas.state.href(`concept/${concept}`) }, `concept ${concept}`),
      ` in this model${units === 1 ? "," : ""} silenced${units === 1 ? "" : ", this one among them"}, what it puts out moves by ${text.percent(change)} of its length; with random units ${text.percent(random)}, p ${text.value(p)}.`,
      listed("Scores that rise", rising),
      listed("Scores that fall", falling),
    );
  }

  atlas.unitTables = { line, classes, candidates, causes };
})();
