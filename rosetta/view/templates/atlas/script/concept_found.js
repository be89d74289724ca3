/** What was found out about a concept: names, labels, classes, and what its units cause; and how to find out the rest. */
(() => {
  const { h, text, run, parts, layout, names } = atlas;
  const { column, numbers } = layout;
  /** Rows of causes before more are asked for. */
  const FIRST = 12;
  const q = (value) => (value !== null && value < 0.01 ? text.value(value) : text.r(value));

  /** A name as it is called; of one that counts, with a mark. @param {string} name @param {string} mark */
  const word = (name, mark = "") => h("td", h("bdi.clip", { title: name }, name), mark ? parts.chip(mark, "good") : null);

  /** @param {any[]} head @param {HTMLElement[]} rows */
  const part = (title, intro, head, rows) =>
    h("div", h("h3", title), h("p.quiet", intro), layout.table("table.data", title, head, h("tbody", rows)));

  /** @param {any} found @returns {any[]} each that was measured of this concept */
  function described({ names: words, labels, classes }) {
    return [
      words?.length &&
        part(
          "Words that fit it",
          "The score says how much better a word fits its images than others. A name fits better than chance.",
          [column("Word"), numbers("Score"), numbers("By chance")],
          words.map(([name, score, chance, named]) =>
            h("tr", word(name, named ? "name" : ""), h("td.n", text.r(score)), h("td.n", text.r(chance))),
          ),
        ),
      labels?.length &&
        part(
          "Masks that it overlaps",
          "Intersection over union with the anchor’s map above its threshold. A label needs more than 0.04.",
          [column("Label"), numbers("IoU")],
          labels.map(([name, iou, named]) => h("tr", word(name, named ? "label" : ""), h("td.n", text.value(iou)))),
        ),
      classes?.length &&
        part(
          "Classes that it is selective for",
          "AUROC: how often an image of the class peaks higher than any other image. Deviation: its distance from one half, in standard deviations of chance. Mean peak: in standard deviations of the units.",
          [column("Class"), numbers("Images"), numbers("AUROC"), numbers("Deviation"), numbers("Mean peak")],
          classes.map(([name, images, auroc, deviation, mean]) =>
            h(
              "tr",
              word(name),
              h("td.n", text.count(images)),
              [auroc, deviation, mean].map((value) => h("td.n", text.r(value))),
            ),
          ),
        ),
    ].filter(Boolean);
  }

  /** @param {any[]} causes rows */
  function followed(causes) {
    const row = ([neuron, model, unit, effect, random, rank, p, rate]) =>
      h(
        "tr",
        h("th.n", { scope: "row" }, neuron),
        h("td", parts.model(model)),
        h("td", names.unitLink(model, unit)),
        h("td.n.strong", text.r(effect)),
        h("td.n", text.r(random)),
        h("td.n", rank === null ? "–" : text.percent(rank)),
        [p, rate].map((value) => h("td.n", q(value))),
      );
    const { body, more } = parts.rows(causes, row, FIRST);
    const head = [
      numbers("Neuron"),
      column("Model"),
      column("Unit"),
      numbers("Effect"),
      numbers("Random units"),
      numbers("Rank", "Share of the layer’s other units that follow at least as much"),
      numbers("p"),
      numbers("q"),
    ];
    return [
      h("h3", "Who follows when its units are ablated"),
      h(
        "p.intro",
        "The unit of the generator was ablated or raised, and nothing else. Effect: how far the buddy follows, on the scale of a correlation, beside what random units of the same spread do. Rank: the share of the layer’s other units that follow at least as much.",
      ),
      layout.table("table.data", "Causes", head, body),
      more,
    ];
  }

  /** @param {any[]} rows of one model: its output as a whole, then classes */
  function quieted([whole, ...classes]) {
    const [model, units, , , , change, random, p, cosine] = whole;
    const moved = `Without ${units === 1 ? "its unit" : `its ${text.count(units)} units`} the output moves by ${text.percent(change)} of its length`;
    const chance = random === null ? "" : `, without random units by ${text.percent(random)} (p ${q(p)})`;
    const row = ([, , , index, label, change, random, p]) =>
      h(
        "tr",
        word(label || `class ${index}`),
        [change, random].map((value) => h("td.n", text.r(value))),
        h("td.n", q(p)),
      );
    const head = [column("Class"), numbers("Change"), numbers("Random"), numbers("p")];
    const name = run.models[model].name;
    return h(
      "div",
      h("h3", names.name(name)),
      h("p.quiet", `${moved}${chance}; cosine ${text.r(cosine)}.`),
      classes.length
        ? layout.table("table.data", `Classes of ${name}`, head, h("tbody", classes.map(row)))
        : null,
    );
  }

  /** What it is and what it does, as far as that was measured. @param {any} found of `concept/<c>` */
  function sections(found) {
    const named = described(found);
    const models = new Map();
    for (const row of found.silenced ?? []) models.set(row[0], [...(models.get(row[0]) ?? []), row]);
    const does = [
      found.causes?.length ? h("div", followed(found.causes)) : null,
      models.size
        ? h(
            "div.silenced",
            h("h3", "What models put out without it"),
            h(
              "p.intro",
              "All of its units in a model were set to their mean at once. Change: of a class’s score before the softmax, beside the class of the same rank without random units.",
            ),
            h("div.founds", [...models.values()].map(quieted)),
          )
        : null,
    ].filter((part) => part !== null);
    return [
      named.length ? layout.section("section", "named-title", "What it is", h("div.founds", named)) : null,
      does.length ? layout.section("section", "does-title", "What it does", does) : null,
    ];
  }

  /**
   * The commands that measure what is not known of a concept.
   * @param {any} found @param {number} id
   */
  function unknown(found, id) {
    const root = text.shell(run.root);
    const generator = run.models[run.anchor].kind === "generator";
    const tables = { names: "labels", labels: "masks", causes: "causes", silenced: "silenced" };
    // What there is of other concepts, or of an earlier dictionary, has to make room.
    const replace = (part) =>
      found[part] || run.outdated.some(({ table }) => table === `tables/${tables[part]}.parquet`) ? " --replace" : "";
    const asked = [
      ["names", `rosetta label ${root} --text open_clip/ViT-B-32.laion2b_s34b_b79k`, "names concepts by words"],
      ["labels", `rosetta label ${root} --masks torchvision/lraspp_mobilenet_v3_large`, "labels concepts by masks"],
      ["causes", `rosetta ablate ${root}`, "tests whether models follow when units are ablated"],
      ["silenced", `rosetta ablate ${root} --silence --concepts ${id}`, "tests what models put out without this concept"],
    ]
      // A run has names of all concepts or of none; causes may be those of others.
      .filter(([part]) => (part === "causes" || part === "silenced" ? !found[part]?.length : !found[part]))
      .filter(([part]) => part !== "causes" || generator);
    if (!asked.length) return null;
    return [
      h("p.intro", "What is not known of it yet."),
      asked.map(([part, command, what]) => parts.command(`${command}${replace(part)}`, what)),
    ];
  }

  atlas.conceptFound = { sections, unknown };
})();
