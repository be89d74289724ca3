/** Which layer a unit lies in, what units, layers and models are called, and which ones a name means. */
(() => {
  const { models, anchor, strongest, seen, indices } = atlas.run;
  /** Names that an error lists before it only counts them. */
  const LISTED = 12;
  /** By model and unit: looked up for every neuron that a search reads. */
  const places = models.map(({ layers }) => layers.flatMap(({ channels }, place) => Array(channels).fill(place)));

  /** @param {number} model @param {number} unit @returns {number} the layer's place */
  const layerOf = (model, unit) => places[model][unit];

  /** @param {number} model @param {number} unit */
  function address(model, unit) {
    const layer = layerOf(model, unit);
    return channelAddress(model, layer, unit - models[model].layers[layer].first);
  }

  /** By names: a place in the recipe is another model's when a model is added. */
  function channelPlace(model, layer, channel) {
    const { name, layers } = models[model];
    return atlas.state.join("unit", name, layers[layer].name, channel);
  }

  const channelAddress = (model, layer, channel) => atlas.state.href(channelPlace(model, layer, channel));

  /** @param {Array<{name: string}>} all */
  function listed(all) {
    const some = all.slice(0, LISTED).map((one) => one.name);
    return some.join(", ") + (all.length > LISTED ? ` and ${all.length - LISTED} more` : "");
  }

  /**
   * The places of a model and of one of its layers, −1 where no layer is asked for. Where no model has such a name, two
   * numbers are places, as addresses had them once.
   * @param {string} model @param {string} [layer]
   */
  function find(model, layer) {
    const named = models.findIndex((one) => one.name === model);
    const place = named < 0 ? atlas.state.whole(model, -1, models.length) : named;
    if (place < 0) throw new Error(`no model ${model} in this run; its models are ${listed(models)}`);
    if (layer === undefined) return { model: place, layer: -1 };
    const { name, layers } = models[place];
    const found =
      named < 0 ? atlas.state.whole(layer, -1, layers.length) : layers.findIndex((one) => one.name === layer);
    if (found < 0) throw new Error(`no layer ${layer} in ${name}; its layers are ${listed(layers)}`);
    return { model: place, layer: found };
  }

  /**
   * The unit that an address names; the first one of what it leaves open.
   * @param {string[]} path model, layer, channel; a layer's slashes may stand as they are
   */
  function locate([model, ...rest]) {
    if (model === undefined) return { model: anchor, layer: 0, channel: 0 };
    if (!rest.length) return { model: find(model).model, layer: 0, channel: 0 };
    const channel = rest.length > 1 ? rest[rest.length - 1] : "0";
    const found = find(model, rest.length > 1 ? rest.slice(0, -1).join("/") : rest[0]);
    const { name, channels } = models[found.model].layers[found.layer];
    const number = atlas.state.whole(channel, -1, channels);
    if (number < 0)
      throw new Error(
        `no channel ${channel} in ${name} of ${models[found.model].name}; its channels are 0 to ${channels - 1}`,
      );
    return { ...found, channel: number };
  }

  /** The index in the run of an image that is kept. @param {number} place among those */
  const imageIndex = (place) => indices?.[place] ?? place;

  /** The place of the image that an address names by its index in the run. @param {string} [text] */
  function imagePlace(text) {
    const index = atlas.state.numbered("image", text, seen);
    if (!indices) return index;
    const place = indices.indexOf(index);
    if (place >= 0) return place;
    const after = indices.findIndex((one) => one > index);
    const near = indices.slice(after < 0 ? -1 : Math.max(0, after - 1), after < 0 ? undefined : after + 1);
    throw new Error(`image ${index} was not kept; the nearest that were are ${near.join(" and ")}`);
  }

  /**
   * A name as the search reads it: in quotes where it would fall into several words; null where it cannot be asked for.
   * @param {string} name
   */
  function typed(name) {
    const meant = (text) => {
      const found = atlas.search.words(text);
      return found.length === 1 && found[0].kind === "name" && found[0].text === name.toLowerCase();
    };
    return [name, `"${name}"`].find(meant) ?? null;
  }

  /** What can be searched for in this run: the strongest concept's model and layer, its unit, its number. */
  function examples() {
    const [layer = 0, unit = 0, concept = 0] = [strongest.layer[0], strongest.unit[0], strongest.id[0]];
    const names = [models[anchor].name, models[anchor].layers[layer].name];
    const words = names.every((name) => name.length < 30) ? names.map(typed) : [null];
    return [words.includes(null) ? null : words.join(" "), `unit ${unit}`, `concept ${concept}`].filter(Boolean);
  }

  /**
   * A name in full for readers, cut short for the eye by the style.
   * @param {string} name
   * @param {string} [what] tag and classes
   */
  function name(name, what = "bdi.clip") {
    return atlas.h(what, { title: name }, name);
  }

  /** A link to a unit: its layer, its channel. @param {number} model @param {number} unit */
  function unitLink(model, unit) {
    const layer = models[model].layers[layerOf(model, unit)];
    return atlas.h(
      "a.unit",
      {
        href: address(model, unit),
        title: `${models[model].name} · ${layer.name} · channel ${unit - layer.first} (unit ${unit})`,
      },
      atlas.h("bdi.clip", layer.name),
      atlas.h("span.channel", `·${unit - layer.first}`),
    );
  }

  const asked = models.map((_, place) => place).filter((place) => !models[place].control);

  atlas.names = { layerOf, channelPlace, channelAddress, find, locate, examples, name, unitLink, imageIndex, imagePlace, asked };
})();
