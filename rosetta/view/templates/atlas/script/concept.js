/** One concept: what it looks like in every model, and what it is made of. */
(() => {
  const { h, text, run, state, parts, names, layout } = atlas;
  const RANKINGS = { activation: "By activation", agreement: "By agreement" };

  /** The units of a neuron. @param {any} neuron */
  const byModel = (neuron) => new Map(neuron.members.map((member) => [member.model, member]));

  /** @param {any} value of `concept/<c>` @param {string} order @param {string} show @param {number[]} columns */
  function dictionary(value, order, show, columns) {
    const members = byModel(value.neurons[0]);
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
          h("small", model === run.anchor ? "anchor" : `r ${text.r(member?.pearson)}`),
          parts.scale(show, text.value(value.maps.low[model]), text.value(value.maps.high[model])),
        );
      }),
    );
    const rows = value.rankings[order].map((image) =>
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
            parts.tile(image, field, show, `${run.models[model].name} over image ${names.imageIndex(image)}`),
          );
        }),
      ),
    );
    const told = { role: "table", "aria-label": "Maps of each model over each image" };
    const style = { "--columns": columns.length + 1 };
    return layout.region("Images and maps", h("div.dictionary", { ...told, style }, header, rows));
  }

  /** @param {number[]} others */
  function scatters(value, others) {
    const members = byModel(value.neurons[0]);
    const anchor = run.models[run.anchor].name;
    const drawn = others.filter((model) => value.scatter[model]);
    if (!drawn.length) return null;
    const figures = drawn.map((model) => {
      const { name } = run.models[model];
      return h(
        "figure",
        atlas.plot.scatter(value.scatter[model], anchor, name, `Values of ${name} against ${anchor}`),
        h("figcaption", names.name(name), ` r ${text.r(members.get(model)?.pearson)}`),
      );
    });
    return layout.section(
      "section",
      "scatter-title",
      "Position by position",
      h(
        "p.intro",
        "Each point is one position of one image, drawn at random: the anchor unit’s value across, the other model’s upwards, on the pair’s common grid.",
      ),
      h("div.scatters", figures),
    );
  }

  function neighbours(value, concepts) {
    if (!value.near.length) return null;
    return layout.section(
      "section",
      "near-title",
      "Near it",
      h("p.intro", "Concepts whose best unit in the anchor correlates most with this one’s."),
      h(
        "div.shelf",
        value.near.map(([id, similarity]) => atlas.cards.card(concepts, id, { word: "near", value: similarity })),
      ),
    );
  }

  /** @param {number} id @param {number} image its index in the run @param {any} found */
  function commands(id, image, found) {
    const root = text.shell(run.root);
    const generator = run.models[run.anchor].kind === "generator";
    return layout.section(
      "section",
      "use-title",
      "Use it",
      h("p.intro", "This concept as a figure in print quality."),
      parts.command(`rosetta report ${root} --figure ${id}`, "draws a figure of this concept"),
      generator
        ? [
            h(
              "p.intro",
              "Find the latent of an image with this concept as the guide, or make the image again without the concept.",
            ),
            parts.command(`rosetta invert ${root} ${image} --concepts ${id}`, "inverts an image"),
            parts.command(`rosetta edit ${root} --image ${image} --remove ${id}`, "removes this concept"),
          ]
        : h("p.intro", "The anchor of this run makes no images, so the concept cannot be inverted or edited here."),
      atlas.conceptFound.unknown(found, id),
    );
  }

  /** @param {number} id */
  function head(concepts, id) {
    const before = id > 0 ? state.href(`concept/${id - 1}`) : null;
    const after = id + 1 < concepts.id.length ? state.href(`concept/${id + 1}`) : null;
    const layer = run.models[run.anchor].layers[concepts.layer[id]];
    const { size, trusted, mean, min } = concepts;
    const facts = h(
      "p.facts",
      layout.fact("mean r", text.r(mean[id])),
      layout.fact("least", text.r(min[id])),
      run.judged ? null : h("span", h("b", text.count(size[id])), size[id] === 1 ? " neuron" : " neurons"),
      layout.fact("layer", names.name(layer.name)),
      run.judged
        ? h("span", atlas.trust.share(trusted[id], size[id]), " ", h("small", atlas.trust.passed(concepts, id)))
        : null,
      atlas.found.measured(concepts, id).map(({ name, word, value }) =>
        h("span", name === null ? null : [names.name(name), " "], `${word} `, h("b", text.r(value))),
      ),
      concepts.effect_q[id] === null ? null : layout.fact("q", text.value(concepts.effect_q[id])),
    );
    const name = atlas.found.called(concepts, id);
    const kind = h("a", { href: "#/concepts" }, "Concepts");
    return layout.title(kind, [`Concept ${id}`, name === null ? null : h("bdi.called", { title: name }, ` ${name}`)], facts, "concept", before, after);
  }

  atlas.views.concept = {
    title: ({ path }) => `Concept ${path[0]}`,
    async show(root, first) {
      if (!run.concepts) throw new Error("this run has no concept");
      const id = state.numbered("concept", first.path[0], run.concepts);
      const [concepts, value] = await Promise.all([atlas.load("concepts"), atlas.load(`concept/${id}`)]);
      const columns = run.models
        .map((_, model) => model)
        .filter((model) => value.maps.grid[model])
        .sort((a, b) => Number(b === run.anchor) - Number(a === run.anchor));
      const others = columns.filter((model) => model !== run.anchor);
      const title = head(concepts, id);
      const drawing = parts.drawing();
      const ranking = parts.choice("Images by", "rank", RANKINGS);
      const stage = h("div.stage");
      const told = h("p.intro");
      const use = h("div");
      root.append(
        h(
          "div.wide.concept",
          title.element,
          atlas.notes.editor(id),
          h("div.options", ranking.element, drawing.element),
          told,
          stage,
          atlas.conceptFound.sections(value.found),
          atlas.neurons.neuronTable(value.neurons, atlas.names.asked),
          atlas.neurons.buddyTable(value.buddies),
          await atlas.classes.ofConcept(id),
          scatters(value, others),
          neighbours(value, concepts),
          use,
        ),
      );
      let before = "";
      function update({ query }) {
        const { show, opacity } = drawing.read(query);
        const order = ranking.read(query);
        stage.style.setProperty("--cover", String(opacity));
        // Another concept is shown as this one is.
        for (const link of root.querySelectorAll(".steps a"))
          link.setAttribute("href", state.href(`concept/${id + (link.textContent === "←" ? -1 : 1)}`, query));
        if (before === order + show) return;
        if (!before.startsWith(order)) use.replaceChildren(commands(id, names.imageIndex(value.rankings[order][0]), value.found));
        before = order + show;
        const which =
          order === "activation"
            ? "The images on which the anchor’s unit is highest."
            : "The images that stand highest among all for the units of every model at once.";
        told.textContent = `${which} Every unit keeps one colour scale, from its mean over the run to its highest value; where its map is finer than the picture, each part shows its highest value.`;
        stage.replaceChildren(dictionary(value, order, show, columns));
      }
      update(first);
      return { update, keys: { ...title.keys, ...drawing.keys } };
    },
  };
})();
