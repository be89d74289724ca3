/** Any unit of any model, matched or not. */
(() => {
  const { h, text, run, state, parts, names, layout } = atlas;

  /** @param {any[]} found [unit, pearson, mutual] @param {number} model */
  function nearest(found, model) {
    const { name, control } = run.models[model];
    const arrow = (mutual) =>
      mutual
        ? h(
            "span.mutual",
            { title: "Mutual: each is among the other’s nearest", role: "img", "aria-label": "mutual" },
            "⇄",
          )
        : h("span.mutual.off", { title: "One way only", role: "img", "aria-label": "one way" }, "→");
    const neighbours = found.map(([unit, pearson, mutual]) =>
      h(
        "li",
        names.unitLink(model, unit),
        parts.bar(pearson ?? 0, control ? "control" : ""),
        h("span.n", text.r(pearson)),
        arrow(mutual),
      ),
    );
    return h(
      "section.near",
      { "aria-label": `Nearest in ${name}` },
      h("h3", parts.model(model)),
      found.length ? h("ol", neighbours) : h("p.quiet", "No neighbours: the unit is constant."),
    );
  }

  /** @param {any} unit @param {number} model @param {number} layer @param {number} channel */
  function facts(unit, model, layer, channel) {
    const figure = (name, value, title) => h("div", { title }, h("dt", name), h("dd", text.value(value)));
    const { first, grid_y, grid_x } = run.models[model].layers[layer];
    return h(
      "div.identity",
      h("p.facts", layout.fact("unit", first + channel), layout.fact("grid", `${grid_y} × ${grid_x}`)),
      atlas.unitTables.line(unit),
      h(
        "dl.figures",
        figure("mean", unit.mean),
        figure("deviation", unit.std),
        figure("highest", unit.maximum),
        figure(
          "kurtosis",
          unit.kurtosis,
          "Of all its values: 3 for a normal distribution, more where it is seldom strong",
        ),
        figure("half share", unit.half_share, "The smallest share of images that carries half of its activation"),
      ),
    );
  }

  /** Model, layer and channel to choose from. */
  function selects(model, layer, channel) {
    const { layers } = run.models[model];
    const select = (what, options, chosen, place) => {
      const go = (value) => {
        location.hash = state.href(names.channelPlace(...place(Number(value))), state.read().query);
      };
      const element = layout.select(what, options, go, { id: `unit-${what.toLowerCase()}` });
      element.value = String(chosen);
      return h("label", h("span", what), element);
    };
    const modelNames = run.models.map(({ name, control }, place) => [place, control ? `${name} (control)` : name]);
    const layerNames = layers.map(({ name }, place) => [place, name]);
    const channelNames = Array.from({ length: layers[layer].channels }, (_, place) => [place, String(place)]);
    return h(
      "div.options.selects",
      select("Model", modelNames, model, (place) => [place, 0, 0]),
      select("Layer", layerNames, layer, (place) => [model, place, 0]),
      select("Channel", channelNames, channel, (place) => [model, layer, place]),
    );
  }

  atlas.views.unit = {
    title({ path }) {
      const { model, layer, channel } = names.locate(path);
      return path.length ? `${run.models[model].layers[layer].name}·${channel} of ${run.models[model].name}` : "Units";
    },
    async show(root, first) {
      const { model, layer, channel } = names.locate(first.path);
      const { name, layers } = run.models[model];
      const { channels, per_file } = layers[layer];
      const file = await atlas.load(`unit/${model}.${layer}.${Math.floor(channel / per_file)}`);
      const unit = file.units[channel - file.first];
      const place = names.channelPlace(model, layer, channel);
      // What is sent on names the unit, even where it was found by its place.
      if (first.path.length) history.replaceState(history.state, "", state.href(place, first.query));
      const step = (by) => {
        const other = channel + by;
        return other >= 0 && other < channels ? names.channelPlace(model, layer, other) : null;
      };
      const [before, after] = [step(-1), step(1)];
      const link = (to, query) => (to ? state.href(to, query) : null);
      const title = layout.title(
        ["Unit of ", names.name(name)],
        [names.name(layers[layer].name, "bdi.clip"), h("span.channel", `·${channel}`)],
        null,
        "channel",
        link(before, first.query),
        link(after, first.query),
      );
      const near = Object.keys(unit.near)
        .map(Number)
        .sort((a, b) => Number(run.models[a].control) - Number(run.models[b].control) || a - b);
      const drawing = parts.drawing();
      const bands = atlas.unitImages.bands(unit, file.rows);
      const beside = atlas.unitImages.sideBySide(unit, name, near);
      const index = atlas.unitIndex.section(model, layer);
      const choices = selects(model, layer, channel);

      root.append(
        h(
          "div.wide.one-unit",
          title.element,
          choices,
          facts(unit, model, layer, channel),
          h("div.options", drawing.element),
          bands.element,
          layout.section("section", "values-title", "Its values", atlas.unitHistogram.figure(unit)),
          layout.section(
            "section",
            "nearest-title",
            "Nearest in other models",
            beside
              ? [
                  h(
                    "p.intro",
                    "Over this unit’s strongest images: its maps, and those of the most correlated unit of each model, each on its own scale.",
                  ),
                  beside.element,
                ]
              : null,
            h(
              "p.intro.after",
              `The ${run.neighbours} most correlated units of each model that it was compared with. `,
              h("span.mutual", "⇄"),
              " marks a buddy: each is among the other’s nearest.",
            ),
            h(
              "div.nears",
              near.map((other) => nearest(unit.near[other], other)),
            ),
          ),
          atlas.unitTables.causes(unit, model),
          atlas.unitTables.classes(unit),
          atlas.unitTables.candidates(unit),
          index.element,
        ),
      );

      let all = null;
      /** The other units of the layer, once the pictures of this one are on their way. */
      async function others() {
        try {
          const found = await atlas.load(`unit/${model}.${layer}`);
          all = atlas.unitIndex.units(found, model, layer, channel);
          const options = choices.querySelector("#unit-channel").options;
          found.concept.forEach((concept, one) => {
            if (concept >= 0) options[one].textContent = `${one} · concept ${concept}`;
          });
          index.room.replaceChildren(all.element);
          all.update(state.read().query);
        } catch (error) {
          index.room.replaceChildren(h("p.quiet", error instanceof Error ? error.message : String(error)));
        }
      }
      requestAnimationFrame(() => setTimeout(others));

      let drawn = "";
      function update({ query }) {
        const { show, opacity } = drawing.read(query);
        root.style.setProperty("--cover", String(opacity));
        // Another unit is shown as this one is.
        for (const arrow of root.querySelectorAll(".steps a"))
          arrow.setAttribute("href", link(arrow.textContent === "←" ? before : after, query));
        all?.update(query);
        if (drawn === show) return;
        drawn = show;
        bands.draw(show);
        beside?.draw(show);
      }
      update(first);
      return { update, keys: { ...title.keys, ...drawing.keys } };
    },
  };
})();
