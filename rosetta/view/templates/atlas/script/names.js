/** Which layer a unit lies in, and what units, layers and models are called. */
(() => {
  const { models } = atlas.run;

  /**
   * @param {number} model
   * @param {number} unit
   * @returns {number} the layer's place
   */
  function layerOf(model, unit) {
    const { layers } = models[model];
    let low = 0;
    let high = layers.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (layers[middle].first <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * @param {number} model
   * @param {number} unit
   */
  function address(model, unit) {
    const layer = layerOf(model, unit);
    return atlas.state.href(`unit/${model}/${layer}/${unit - models[model].layers[layer].first}`);
  }

  /**
   * A name in full for readers, cut short for the eye by the style.
   * @param {string} name
   * @param {string} [what] tag and classes
   */
  function name(name, what = "bdi.clip") {
    return atlas.h(what, { title: name }, name);
  }

  /**
   * A link to a unit: its layer, its channel.
   * @param {number} model
   * @param {number} unit
   */
  function unitLink(model, unit) {
    const layer = models[model].layers[layerOf(model, unit)];
    return atlas.h(
      "a.unit",
      {
        href: address(model, unit),
        title: `${models[model].name} · ${layer.name} · channel ${unit - layer.first} (unit ${unit})`,
      },
      atlas.h("bdi.clip", {}, layer.name),
      atlas.h("span.channel", {}, `·${unit - layer.first}`),
    );
  }

  atlas.names = {
    layerOf,
    address,
    name,
    unitLink,
    asked: models.map((_, place) => place).filter((place) => !models[place].control),
  };
})();
