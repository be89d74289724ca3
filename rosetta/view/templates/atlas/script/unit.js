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

  /**
   * @param {any} value of `unit/<m>.<l>`
   * @param {number} model @param {number} layer @param {number} channel
   */
  function facts(value, model, layer, channel) {
    const figure = (name, numbers, title) =>
      h("div", { title }, h("dt", name), h("dd", text.value(numbers?.[channel])));
    const { grid_y, grid_x } = run.models[model].layers[layer];
    const concept = value.concept[channel];
    return h(
      "div.identity",
      h(
        "p.facts",
        layout.fact("unit", value.first + channel),
        layout.fact("grid", `${grid_y} × ${grid_x}`),
        concept >= 0
          ? h("a.chip.good", { href: state.href(`concept/${concept}`) }, `in concept ${concept}`)
          : h("span.quiet", "in no concept"),
      ),
      h(
        "dl.figures",
        figure("mean", value.mean),
        figure("deviation", value.std),
        figure("highest", value.maximum),
        figure(
          "kurtosis",
          value.kurtosis,
          "Of all its values: 3 for a normal distribution, more where it is seldom strong",
        ),
        figure("half share", value.half_share, "The smallest share of images that carries half of its activation"),
      ),
    );
  }

  atlas.views.unit = {
    title({ path }) {
      const { model, layer, channel } = names.locate(path);
      return path.length ? `${run.models[model].layers[layer].name}·${channel} of ${run.models[model].name}` : "Units";
    },
    async show(root, { path }) {
      const { model, layer, channel } = names.locate(path);
      const { layers } = run.models[model];
      const { channels } = layers[layer];
      const value = await atlas.load(`unit/${model}.${layer}`);
      // What is sent on names the unit, even where it was found by its place.
      if (path.length) history.replaceState(history.state, "", names.channelAddress(model, layer, channel));
      const select = (what, options, chosen, place) => {
        const go = (value) => {
          location.hash = names.channelAddress(...place(Number(value)));
        };
        const element = layout.select(what, options, go, { id: `unit-${what.toLowerCase()}` });
        element.value = String(chosen);
        return h("label", h("span", what), element);
      };
      const modelNames = run.models.map(({ name, control }, place) => [place, control ? `${name} (control)` : name]);
      const layerNames = layers.map(({ name }, place) => [place, name]);
      const channelNames = value.concept.map((concept, place) => [
        place,
        concept >= 0 ? `${place} · concept ${concept}` : String(place),
      ]);
      const before = channel > 0 ? names.channelAddress(model, layer, channel - 1) : null;
      const after = channel + 1 < channels ? names.channelAddress(model, layer, channel + 1) : null;
      const kind = ["Unit of ", names.name(run.models[model].name)];
      const name = [names.name(layers[layer].name, "bdi.clip"), h("span.channel", `·${channel}`)];
      const title = layout.title(kind, name, null, "channel", before, after);
      const near = Object.keys(value.near)
        .map(Number)
        .sort((a, b) => Number(run.models[a].control) - Number(run.models[b].control) || a - b);

      root.append(
        h(
          "div.wide.one-unit",
          title.element,
          h(
            "div.options.selects",
            select("Model", modelNames, model, (place) => [place, 0, 0]),
            select("Layer", layerNames, layer, (place) => [model, place, 0]),
            select("Channel", channelNames, channel, (place) => [model, layer, place]),
          ),
          facts(value, model, layer, channel),
          layout.section("section", "top-title", "Top images", h("div.tops", value.top[channel].map(parts.thumb))),
          layout.section(
            "section",
            "nearest-title",
            "Nearest in other models",
            h(
              "p.intro",
              `The ${run.neighbours} most correlated units of each model that it was compared with. `,
              h("span.mutual", "⇄"),
              " marks a buddy: each is among the other’s nearest.",
            ),
            h(
              "div.nears",
              near.map((other) => nearest(value.near[other][channel], other)),
            ),
          ),
        ),
      );
      return { keys: title.keys };
    },
  };
})();
