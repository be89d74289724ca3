/** The run in one glance. */
(() => {
  const { h, text, run, parts, names, layout } = atlas;
  const { column, numbers } = layout;
  /** Models whose maps the first picture shows. */
  const MAPPED = 4;
  /** Its images. */
  const ROWS = 3;

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

  /** The strongest concept in a picture: some images, and where each model is strong in them. */
  function example() {
    const id = run.strongest.id[0];
    const room = h("div.example", { role: "img" });
    const name = atlas.found.called(run.strongest, 0);
    const caption = h(
      "figcaption",
      h("a", { href: atlas.state.href(`concept/${id}`) }, `Concept ${id}`, name === null ? null : [" ", h("bdi.clip", name)]),
      " in the images that all models find strongest, under the map of each.",
    );
    const figure = h("figure.first", room, caption);
    /** @param {any} value of `concept/<c>` */
    function fill(value) {
      const models = run.models
        .map((_, model) => model)
        .filter((model) => value.maps.grid[model])
        .sort((a, b) => Number(b === run.anchor) - Number(a === run.anchor))
        .slice(0, MAPPED);
      const label = (model) => names.name(run.models[model].name, "bdi.clip.quiet");
      const tile = (image, model) => {
        const map = value.maps[image]?.[model];
        const field = map ? atlas.maps.decode(map, value.maps.grid[model]) : null;
        return parts.tile(image, field, "overlay", "");
      };
      room.setAttribute("aria-label", `Maps of ${models.map((model) => run.models[model].name).join(", ")}`);
      room.style.setProperty("--columns", String(models.length + 1));
      room.append(
        h("span.quiet", "image"),
        ...models.map(label),
        ...value.rankings.agreement
          .slice(0, ROWS)
          .flatMap((image) => [h("span.tile", parts.picture("images", image)), ...models.map((model) => tile(image, model))]),
      );
    }
    return { figure, load: () => atlas.load(`concept/${id}`).then(fill, () => figure.remove()) };
  }

  /** @param {HTMLElement} [example] */
  function head(example) {
    const anchor = run.models[run.anchor];
    const controls = run.models.filter((model) => model.control).length;
    const words = h(
      "div",
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
        run.found.called ? figure("named concepts", text.count(run.found.called), "#/concepts?named=1") : null,
      ),
      run.null
        ? h("p.null", run.trust_page ? h("a", { href: `${run.trust_page}#null` }, run.null) : run.null)
        : null,
    );
    return h(
      "section.wide.opening",
      h("div.split", words, example),
      run.judgement ? h("p.notice", { role: "note" }, run.judgement) : null,
      run.outdated.map(({ table, command }) =>
        h(
          "p.notice",
          { role: "note" },
          `${table} is about an earlier dictionary, so the page does not show it. With --replace `,
          h("code", command),
          " measures it for this one.",
        ),
      ),
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
    const all = h("a", { href: "#/concepts" }, "All concepts →");
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
      const first = run.concepts ? example() : null;
      root.append(
        head(first?.figure),
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
      // After what stands in the page itself.
      if (first) requestAnimationFrame(() => setTimeout(first.load));
      return { leave: () => near.disconnect() };
    },
  };
})();
