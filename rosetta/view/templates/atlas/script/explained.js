/** Where classifiers look on an image, and which concepts lie there. */
(() => {
  const { h, text, run, state, parts, names, layout } = atlas;

  /** The models that may be asked: of the dictionary, and no generators. */
  const asked = run.models.filter(({ kind, control }) => kind !== "generator" && !control);

  /** @param {{grid: number[], map: string}} value */
  const field = ({ grid, map }) => atlas.maps.decode(map, grid);

  /** @param {any} one entry of `explained/<i>` */
  const called = (one) => (one.label ? `“${one.label}”` : `class ${one.class}`);

  /** @param {any} one @param {number} image @param {string} show */
  function maps(one, image, show) {
    const { name } = run.models[one.model];
    const over = (what) => `${what} over image ${names.imageIndex(image)}`;
    const cell = (map, label, caption) =>
      h("figure.one-map", parts.tile(image, map, show, over(label), parts.large(image)), h("figcaption", caption));
    return h(
      "div.row-of-maps",
      cell(field(one), `Grad-CAM of ${name}`, [h("b", "Grad-CAM"), h("small", "from 0 to its maximum")]),
      one.concepts.map((concept) =>
        cell(field(concept), `Concept ${concept.id} in ${name}`, [
          h("a", { href: state.href(`concept/${concept.id}`) }, `concept ${concept.id}`),
          h("small", names.unitLink(one.model, concept.unit)),
          h("small", `r ${text.r(concept.pearson)} · weight ${text.value(concept.weight)}`),
        ]),
      ),
    );
  }

  /** @param {any} one */
  function told(one) {
    if (one.share === null) return h("p.intro", "Its Grad-CAM map is 0 everywhere: nothing here speaks for the class.");
    const more = one.others ? ` ${text.count(one.others)} more concepts have a part in that sum.` : "";
    const random =
      one.random_share === null
        ? ""
        : ` As many random units of the same layers explain ${text.percent(one.random_share)}.`;
    return h(
      "p.intro",
      `The best sum of all concepts explains ${text.percent(one.share)} of this map’s variance.${random}${more}`,
    );
  }

  /** @param {any} one @param {number} image @param {string} show */
  function entry(one, image, show) {
    const { name } = run.models[one.model];
    const title = [names.name(name), ` looks for ${called(one)}`];
    return h(
      "section.explained",
      { "aria-label": `${name}: ${called(one)}` },
      h("h3", title),
      h(
        "p.facts",
        layout.fact("layer", names.name(one.layer)),
        layout.fact("class", one.class),
        layout.fact("probability", text.value(one.probability)),
      ),
      told(one),
      maps(one, image, show),
    );
  }

  /** @param {number} index of the image in the run @param {boolean} known */
  function commands(index, known) {
    if (!asked.length) return null;
    const root = text.shell(run.root);
    const about = known
      ? "Another model, another class of its classifier by its number, or all images:"
      : "No model was asked about this image yet. A model that names classes can be:";
    return h(
      "div.ask",
      h("p.intro", about),
      asked.map(({ name }) =>
        parts.command(
          `rosetta explain ${root} ${index} --model ${text.shell(name)}`,
          `shows where ${name} looks on this image`,
        ),
      ),
      known
        ? parts.command(
            `rosetta explain ${root} --all --model ${text.shell(asked[0].name)}`,
            `shows where ${asked[0].name} looks on all images`,
          )
        : null,
    );
  }

  /**
   * The section of an image, and what draws its maps as they are to be shown.
   * @param {number} image
   */
  async function section(image) {
    const { images } = await atlas.load("explained");
    const known = images.includes(image);
    const entries = known ? await atlas.load(`explained/${image}`) : [];
    const body = h("div");
    const element = layout.section(
      "section",
      "looks-title",
      "Where models look",
      h(
        "p.intro",
        "Grad-CAM: the places of a layer that raise the score of a class. Beside it the concepts that lie there, each by the model’s own unit, those most like it first; r is the correlation with the Grad-CAM map over the places of this image.",
      ),
      body,
      commands(names.imageIndex(image), known),
    );
    /** @param {string} show */
    const draw = (show) => body.replaceChildren(...entries.map((one) => entry(one, image, show)));
    return { element, draw };
  }

  atlas.explained = { section };
})();
