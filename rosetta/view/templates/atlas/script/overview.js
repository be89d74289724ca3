/** The run in one glance. */
(() => {
  const { h, text, run, parts, names, layout } = atlas;
  const { column, numbers } = layout;

  /** @param {string} name @param {number|string} value @param {string} [href] */
  const figure = (name, value, href) => h("div", h("dt", name), h("dd", href ? h("a", { href }, value) : value));

  /** What can be trusted before what was found. @param {number} models that are no controls */
  function headline(models) {
    if (!run.concepts) return "No concept is shared by all models yet";
    const found = `${text.counted(run.concepts, "concept")} that ${text.counted(models, "model")} share`;
    if (!run.judged) return found;
    const trusted = run.trusted ? text.counted(run.trusted, "trusted neuron") : "No trusted neuron";
    const where = run.trusted ? text.count(run.trusted_concepts) : "any";
    return `${trusted}, in ${where} of ${found}`;
  }

  function head() {
    const anchor = run.models[run.anchor];
    const controls = run.models.filter((model) => model.control).length;
    return h(
      "section.wide.opening",
      h("p.eyebrow", "Run ", h("bdi", run.name)),
      h("h1", { tabindex: -1 }, headline(run.models.length - controls)),
      h(
        "p.lede",
        "A ",
        h("em", "Rosetta neuron"),
        " is a unit of ",
        h("bdi.name", { title: anchor.name }, anchor.name),
        ` that lights up at the same places of the same images as a unit of every other model, each among the other’s ${run.neighbours} most correlated. Neurons whose units also match one another form one concept.`,
      ),
      h(
        "dl.figures",
        run.judged ? figure("trusted neurons", text.count(run.trusted), run.trusted && "#/concepts?trusted=1") : null,
        figure("Rosetta neurons", text.count(run.rosetta)),
        figure("concepts", text.count(run.concepts), "#/concepts"),
        figure("images", text.count(run.seen), "#/images"),
        figure(
          "models",
          controls ? `${run.models.length - controls} + ${text.counted(controls, "control")}` : run.models.length,
        ),
        figure("units", text.count(run.models.reduce((sum, model) => sum + model.units, 0)), "#/unit"),
      ),
      run.null
        ? h("p.null", run.trust_page ? h("a", { href: `${run.trust_page}#null` }, run.null) : run.null)
        : null,
      run.judgement ? h("p.notice", { role: "note" }, run.judgement) : null,
    );
  }

  /** A count, where there can be one. @param {number|null|undefined} value */
  const number = (value) =>
    h("td.n", typeof value === "number" ? text.count(value) : value === null ? "not made" : "–");

  /** How many buddies of a model pass each of some tests. @param {any} model @param {string[]} tests */
  const survivors = (model, tests) => tests.map((test) => number((model.survives ?? {})[test]));

  /** @param {number} place */
  function modelRow(model, place) {
    const share = model.units ? model.matched / model.units : 0;
    return h(
      model.control ? "tr.control" : "tr",
      h(
        "th",
        { scope: "row" },
        h("a", { href: names.channelAddress(place, 0, 0) }, names.name(model.name, "bdi.clip.strong")),
        place === run.anchor ? parts.chip("anchor") : null,
        model.control ? parts.chip("control", "control") : null,
        h("small", { title: model.model }, h("bdi.clip", model.model)),
      ),
      h("td.n", text.count(model.layers.length)),
      number(model.units),
      h(
        "td.n.wide-cell",
        text.count(model.matched),
        h("small", ` ${text.percent(share)}`),
        parts.bar(share, model.control ? "control" : ""),
      ),
      number(model.buddies),
      model.control ? h("td.n", "–") : number(model.rosetta),
      h("td.n", text.r(model.median)),
      run.judged ? survivors(model, [...atlas.trust.asked.map((test) => test.name), "trusted"]) : null,
    );
  }

  /** @param {Test[]} tests */
  const testColumns = (tests) => tests.map(({ word, passed }) => numbers(word, `Survive: ${passed}`));

  /** What passes the tests that do not decide. */
  function others() {
    const tests = atlas.trust.others;
    const judged = run.models.filter((model) => model.survives);
    if (!judged.length || !tests.length) return null;
    const row = (model) =>
      h(
        model.control ? "tr.control" : "tr",
        h("th", { scope: "row" }, names.name(model.name, "bdi.clip.strong")),
        survivors(
          model,
          tests.map((test) => test.name),
        ),
      );
    return h(
      "details.fold",
      h("summary", "Tests that are reported beside them"),
      layout.table(
        "table.data.others",
        "Tests that do not decide",
        [column("Model"), testColumns(tests)],
        h("tbody", judged.map(row)),
      ),
    );
  }

  function models() {
    const columns = [
      column("Model"),
      numbers("Layers"),
      numbers("Units"),
      numbers("Matched", "Units with a buddy in another model"),
      numbers("Buddies"),
      numbers("In Rosetta neurons"),
      numbers("Median r", "Of its buddies with the anchor"),
    ];
    const tests = [testColumns(atlas.trust.asked), numbers("trusted", "Survive all of them")];
    return layout.section(
      "section.wide",
      "models-title",
      "Models",
      h(
        "p.intro",
        "How many units each model brought, how many of them are matched, and how strongly.",
        run.models.some((model) => model.control)
          ? " A control is an untrained network or plain features of the pixels: what it reaches, too, says how much chance and architecture alone explain."
          : "",
        run.judged ? " On the right, how many of its buddies survive each test that decides about trust, and all of them. " : "",
        run.trust_page ? h("a", { href: run.trust_page }, "What the tests ask, on this run →") : null,
      ),
      layout.table(
        "table.data.models",
        "Table of models",
        run.judged ? [columns, tests] : columns,
        h("tbody", run.models.map(modelRow)),
      ),
      run.judged ? others() : null,
    );
  }

  /**
   * Plots are SVG that came as text; a parser of XML makes nodes of it and runs nothing.
   * @param {{title: string, caption: string, svg: string}} plot
   */
  function plate({ title, caption, svg }) {
    const drawn = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    return h(
      "figure.plate",
      h("h3", title),
      layout.region(title, document.importNode(drawn, true)),
      h("figcaption", caption),
    );
  }

  function strongest() {
    const title = run.trusted ? "Strongest concepts, trusted neurons first" : "Strongest concepts";
    const all = h("a", { href: run.trusted ? "#/concepts?sort=trusted" : "#/concepts" }, "All concepts →");
    const cards = run.strongest.id.map((_, row) => atlas.cards.card(run.strongest, row));
    return h(
      "section.wide",
      { "aria-labelledby": "strong-title" },
      h("div.heading", h("h2", { id: "strong-title" }, title), all),
      h("div.shelf", cards),
    );
  }

  atlas.views.overview = {
    title: () => "Overview",
    async show(root) {
      const plates = h("div.plates");
      root.append(
        head(),
        run.concepts ? strongest() : "",
        models(),
        layout.section("section.wide", "plots-title", "The matches at large", plates),
      );
      // Large, and below the fold: they come when they are nearly in sight.
      const near = new IntersectionObserver(
        ([{ isIntersecting }]) => {
          if (!isIntersecting) return;
          near.disconnect();
          atlas.load("plots").then(
            (plots) => plates.append(...plots.map(plate)),
            (error) => plates.append(h("p.quiet", error.message)),
          );
        },
        { rootMargin: "300px" },
      );
      near.observe(plates);
      return { leave: () => near.disconnect() };
    },
  };
})();
