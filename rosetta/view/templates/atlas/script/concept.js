/** One concept: what it looks like in every model, and what it is made of. */
(() => {
  const { h, text, run, state, parts, names } = atlas;
  const RANKINGS = ["activation", "agreement"];

  /**
   * @param {any} value of `concept/<c>`
   * @param {string} order
   * @param {string} show
   * @param {number[]} columns
   */
  function dictionary(value, order, show, columns) {
    const members = new Map(value.neurons[0].members.map((/** @type {any} */ member) => [member.model, member]));
    const header = h(
      "div.row.head",
      { role: "row" },
      h("span.col", { role: "columnheader" }, "Image"),
      columns.map((model) => {
        const member = members.get(model);
        return h(
          "span.col",
          { role: "columnheader" },
          names.name(run.models[model].name, "bdi.clip.strong"),
          member ? names.unitLink(model, member.unit) : null,
          h("small", {}, model === run.anchor ? "anchor" : `r ${text.r(member?.pearson)}`),
          parts.scale(show, value.maps.low[model], value.maps.high[model]),
        );
      }),
    );
    const rows = value.rankings[order].map((/** @type {number} */ image) =>
      h(
        "div.row",
        { role: "row" },
        h("span.col", { role: "cell" }, parts.thumb(image)),
        columns.map((model) => {
          const map = value.maps[image]?.[model];
          const field = map ? atlas.maps.decode(map, value.maps.grid[model]) : null;
          return h(
            "span.col",
            { role: "cell", "data-image": image, "data-model": model },
            parts.tile(image, field, show, `${run.models[model].name} over image ${image}`),
          );
        }),
      ),
    );
    return h(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": "Images and maps" },
      h(
        "div.dictionary",
        {
          role: "table",
          "aria-label": "Maps of each model over each image",
          style: { "--columns": columns.length + 1 },
        },
        header,
        rows,
      ),
    );
  }

  /**
   * @param {any} value
   * @param {number[]} others
   */
  function scatters(value, others) {
    const members = new Map(value.neurons[0].members.map((/** @type {any} */ member) => [member.model, member]));
    const anchor = run.models[run.anchor].name;
    const drawn = others.filter((model) => value.scatter[model]);
    return drawn.length
      ? h(
          "section",
          { "aria-labelledby": "scatter-title" },
          h("h2", { id: "scatter-title" }, "Position by position"),
          h(
            "p.intro",
            {},
            "Each point is one position of one image, drawn at random: the anchor unit’s value across, the other model’s upwards, on the pair’s common grid.",
          ),
          h(
            "div.scatters",
            {},
            drawn.map((model) =>
              h(
                "figure",
                {},
                atlas.plot.scatter(
                  value.scatter[model],
                  anchor,
                  run.models[model].name,
                  `Values of ${run.models[model].name} against ${anchor}`,
                ),
                h("figcaption", {}, names.name(run.models[model].name), ` r ${text.r(members.get(model)?.pearson)}`),
              ),
            ),
          ),
        )
      : null;
  }

  /**
   * @param {any} value
   * @param {any} concepts
   */
  function neighbours(value, concepts) {
    return value.near.length
      ? h(
          "section",
          { "aria-labelledby": "near-title" },
          h("h2", { id: "near-title" }, "Near it"),
          h("p.intro", {}, "Concepts whose best unit in the anchor correlates most with this one’s."),
          h(
            "div.shelf",
            {},
            value.near.map((/** @type {[number, number]} */ [id, similarity]) =>
              atlas.cards.card(concepts, id, similarity),
            ),
          ),
        )
      : null;
  }

  /**
   * @param {number} id
   * @param {number} image
   */
  function commands(id, image) {
    const root = text.shell(run.root);
    const generator = run.models[run.anchor].kind === "generator" || run.models[run.anchor].kind === "generative";
    return h(
      "section",
      { "aria-labelledby": "use-title" },
      h("h2", { id: "use-title" }, "Use it"),
      h("p.intro", {}, "This concept as a figure in print quality."),
      parts.command(`rosetta report ${root} --figure ${id}`, "draws a figure of this concept"),
      generator
        ? [
            h(
              "p.intro",
              {},
              "Find the latent of an image with this concept as the guide, or make the image again without the concept.",
            ),
            parts.command(`rosetta invert ${root} ${image} --concepts ${id}`, "inverts an image"),
            parts.command(`rosetta edit ${root} --image ${image} --remove ${id}`, "removes this concept"),
          ]
        : h("p.intro", {}, "The anchor of this run makes no images, so the concept cannot be inverted or edited here."),
    );
  }

  /**
   * @param {any} concepts
   * @param {number} id
   */
  function head(concepts, id) {
    const before = id > 0 ? state.href(`concept/${id - 1}`) : null;
    const after = id + 1 < concepts.id.length ? state.href(`concept/${id + 1}`) : null;
    const layer = run.models[run.anchor].layers[concepts.layer[id]];
    return h(
      "header.title",
      {},
      h(
        "div",
        {},
        h("p.eyebrow", {}, h("a", { href: "#/concepts" }, "Concepts")),
        h("h1", { tabindex: -1 }, `Concept ${id}`),
        h(
          "p.facts",
          {},
          h("span", {}, "mean r ", h("b", {}, text.r(concepts.mean[id]))),
          h("span", {}, "least ", h("b", {}, text.r(concepts.min[id]))),
          run.judged
            ? null
            : h("span", {}, h("b", {}, text.count(concepts.size[id])), concepts.size[id] === 1 ? " neuron" : " neurons"),
          h("span", {}, "layer ", h("b", {}, names.name(layer.name))),
          run.judged
            ? h(
                "span",
                {},
                atlas.trust.share(concepts.trusted[id], concepts.size[id]),
                " ",
                h("small", {}, atlas.trust.passed(concepts, id)),
              )
            : null,
        ),
      ),
      parts.steps("concept", before, after),
    );
  }

  /**
   * @param {number} id
   * @param {number} count
   */
  const keys = (id, count) => parts.stepKeys(id > 0 ? keep(id - 1) : null, id + 1 < count ? keep(id + 1) : null);

  /** Another concept, shown as this one is. @param {number} id */
  const keep = (id) => ({ toString: () => state.href(`concept/${id}`, state.read().query) });

  atlas.views.concept = {
    title: (/** @type {any} */ { path }) => `Concept ${path[0]}`,
    /**
     * @param {HTMLElement} root
     * @param {any} first
     */
    async show(root, first) {
      const id = state.whole(first.path[0], -1, run.concepts);
      if (!run.concepts) throw new Error("this run has no concept");
      if (id < 0) throw new Error(`no concept ${first.path[0] ?? ""} in this run; they run from 0 to ${run.concepts - 1}`);
      const [concepts, value] = await Promise.all([atlas.load("concepts"), atlas.load(`concept/${id}`)]);
      const columns = run.models
        .map((_, model) => model)
        .filter((model) => value.maps.grid[model])
        .sort((a, b) => Number(b === run.anchor) - Number(a === run.anchor));
      const drawing = parts.drawing(first.query);
      const ranking = parts.choice(
        "Images by",
        [
          ["activation", "By activation"],
          ["agreement", "By agreement"],
        ],
        "",
        (order) => state.patch({ rank: order === RANKINGS[0] ? "" : order }),
      );
      const stage = h("div.stage");
      const told = h("p.intro");
      const use = h("div");
      root.append(
        h(
          "div.wide.concept",
          {},
          head(concepts, id),
          h("div.options", {}, ranking, drawing.element),
          told,
          stage,
          atlas.neurons.neuronTable(value.neurons, atlas.names.asked),
          atlas.neurons.buddyTable(value.buddies),
          scatters(
            value,
            columns.filter((model) => model !== run.anchor),
          ) ?? "",
          neighbours(value, concepts) ?? "",
          use,
        ),
      );
      let before = "";
      /** @param {any} now */
      function update({ query }) {
        const { show, opacity } = drawing.read(query);
        const order = state.word(query.get("rank"), RANKINGS);
        stage.style.setProperty("--cover", String(opacity));
        for (const link of root.querySelectorAll(".steps a"))
          link.setAttribute("href", state.href(`concept/${id + (link.textContent === "←" ? -1 : 1)}`, query));
        if (before === order + show) return;
        if (!before.startsWith(order)) use.replaceChildren(commands(id, value.rankings[order][0]));
        before = order + show;
        parts.choose(ranking, order);
        const which =
          order === "activation"
            ? "The images on which the anchor’s unit is highest."
            : "The images that stand highest among all for the units of every model at once.";
        told.textContent = `${which} Every unit keeps one colour scale, from its mean over the run to its highest value; where its map is finer than the picture, each part shows its highest value.`;
        stage.replaceChildren(dictionary(value, order, show, columns));
      }
      update(first);
      return { update, keys: { ...keys(id, concepts.id.length), ...drawing.keys } };
    },
  };
})();
