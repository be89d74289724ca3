/** Any unit of any model, matched or not. */
(() => {
  const { h, text, run, state, parts, names } = atlas;

  /**
   * @param {any[]} found [unit, pearson, mutual]
   * @param {number} model
   */
  function nearest(found, model) {
    const { name, control } = run.models[model];
    return h(
      "section.near",
      { "aria-label": `Nearest in ${name}` },
      h("h3", {}, names.name(name), control ? parts.chip("control", "control") : null),
      found.length
        ? h(
            "ol",
            {},
            found.map(([unit, pearson, mutual]) =>
              h(
                "li",
                {},
                names.unitLink(model, unit),
                parts.bar(pearson ?? 0, control ? "control" : ""),
                h("span.n", {}, text.r(pearson)),
                mutual
                  ? h(
                      "span.mutual",
                      { title: "Mutual: each is among the other’s nearest", role: "img", "aria-label": "mutual" },
                      "⇄",
                    )
                  : h("span.mutual.off", { title: "One way only", role: "img", "aria-label": "one way" }, "→"),
              ),
            ),
          )
        : h("p.quiet", {}, "No neighbours: the unit is constant."),
    );
  }

  /**
   * @param {any} value of `unit/<m>.<l>`
   * @param {number} model
   * @param {number} layer
   * @param {number} channel
   */
  function facts(value, model, layer, channel) {
    const unit = value.first + channel;
    const fact = (/** @type {string} */ name, /** @type {any} */ number, /** @type {string} */ title = "") =>
      h("div", { title: title || null }, h("dt", {}, name), h("dd", {}, text.value(number)));
    const { grid_y, grid_x } = run.models[model].layers[layer];
    const concept = value.concept[channel];
    return h(
      "div.identity",
      {},
      h(
        "p.facts",
        {},
        h("span", {}, "unit ", h("b", {}, String(unit))),
        h("span", {}, "grid ", h("b", {}, `${grid_y} × ${grid_x}`)),
        concept >= 0
          ? h("a.chip.good", { href: state.href(`concept/${concept}`) }, `in concept ${concept}`)
          : h("span.quiet", {}, "in no concept"),
      ),
      h(
        "dl.figures",
        {},
        fact("mean", value.mean[channel]),
        fact("deviation", value.std[channel]),
        fact("highest", value.maximum[channel]),
        fact(
          "kurtosis",
          value.kurtosis?.[channel],
          "Of all its values: 3 for a normal distribution, more where it is seldom strong",
        ),
        fact(
          "half share",
          value.half_share?.[channel],
          "The smallest share of images that carries half of its activation",
        ),
      ),
    );
  }

  atlas.views.unit = {
    title(/** @type {any} */ { path }) {
      const { model, layer, channel } = names.locate(path);
      return path.length ? `${run.models[model].layers[layer].name}·${channel} of ${run.models[model].name}` : "Units";
    },
    /**
     * @param {HTMLElement} root
     * @param {any} now
     */
    async show(root, { path }) {
      const { model, layer, channel } = names.locate(path);
      const { layers } = run.models[model];
      const { channels } = layers[layer];
      const value = await atlas.load(`unit/${model}.${layer}`);
      // What is sent on names the unit, even where it was found by its place.
      if (path.length) history.replaceState(history.state, "", names.channelAddress(model, layer, channel));
      const go = (/** @type {[number, number, number]} */ ...place) => {
        location.hash = names.channelAddress(...place);
      };

      const models = h(
        "select",
        { id: "unit-model", "aria-label": "Model", onchange: () => go(Number(models.value), 0, 0) },
        run.models.map((one, place) => h("option", { value: place }, one.control ? `${one.name} (control)` : one.name)),
      );
      const chosen = h(
        "select",
        { id: "unit-layer", "aria-label": "Layer", onchange: () => go(model, Number(chosen.value), 0) },
        layers.map((one, place) => h("option", { value: place }, one.name)),
      );
      const number = h(
        "select",
        { id: "unit-channel", "aria-label": "Channel", onchange: () => go(model, layer, Number(number.value)) },
        Array.from({ length: channels }, (_, place) =>
          h(
            "option",
            { value: place },
            value.concept[place] >= 0 ? `${place} · concept ${value.concept[place]}` : String(place),
          ),
        ),
      );
      [models.value, chosen.value, number.value] = [String(model), String(layer), String(channel)];
      const before = channel > 0 ? names.channelAddress(model, layer, channel - 1) : null;
      const after = channel + 1 < channels ? names.channelAddress(model, layer, channel + 1) : null;
      const near = Object.keys(value.near)
        .map(Number)
        .sort((a, b) => Number(run.models[a].control) - Number(run.models[b].control) || a - b);

      root.append(
        h(
          "div.wide.one-unit",
          {},
          h(
            "header.title",
            {},
            h(
              "div",
              {},
              h("p.eyebrow", {}, "Unit of ", names.name(run.models[model].name)),
              h(
                "h1",
                { tabindex: -1 },
                names.name(layers[layer].name, "bdi.clip"),
                h("span.channel", {}, `·${channel}`),
              ),
            ),
            parts.steps("channel", before, after),
          ),
          h(
            "div.options.selects",
            {},
            h("label", {}, h("span", {}, "Model"), models),
            h("label", {}, h("span", {}, "Layer"), chosen),
            h("label", {}, h("span", {}, "Channel"), number),
          ),
          facts(value, model, layer, channel),
          h(
            "section",
            { "aria-labelledby": "top-title" },
            h("h2", { id: "top-title" }, "Top images"),
            h(
              "div.tops",
              {},
              value.top[channel].map((/** @type {number} */ image) => {
                return parts.thumb(image);
              }),
            ),
          ),
          h(
            "section",
            { "aria-labelledby": "nearest-title" },
            h("h2", { id: "nearest-title" }, "Nearest in other models"),
            h(
              "p.intro",
              {},
              `The ${run.neighbours} most correlated units of each model that it was compared with. `,
              h("span.mutual", {}, "⇄"),
              " marks a buddy: each is among the other’s nearest.",
            ),
            h(
              "div.nears",
              {},
              near.map((other) => nearest(value.near[other][channel], other)),
            ),
          ),
        ),
      );
      return { keys: parts.stepKeys(before, after) };
    },
  };
})();
