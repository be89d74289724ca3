/** A concept as a card. */
(() => {
  const { h, text, run, parts } = atlas;
  /** Pixels under the square of a card. */
  const BELOW = 78;

  /**
   * @param {any} concepts the columns @param {number} row
   * @param {{word: string, value: number|null}} [said] in place of the correlation
   */
  function card(concepts, row, said) {
    const id = concepts.id[row];
    const layer = run.models[run.anchor].layers[concepts.layer[row]];
    const { word, value } = said ?? { word: "r", value: concepts.mean[row] };
    return h(
      "div.cell",
      h(
        "a.card",
        { href: atlas.state.href(`concept/${id}`), "data-concept": id },
        parts.picture("cards", id),
        h(
          "span.about",
          h("span.line", h("b", `Concept ${id}`), h("bdi.clip.quiet", { title: layer.name }, layer.name)),
          h(
            "span.line",
            h("span.number", `${word} ${text.r(value)}`),
            parts.bar(value ?? 0),
          ),
          h(
            "span.line.quiet",
            run.judged
              ? atlas.trust.share(concepts.trusted[row], concepts.size[row])
              : h("span", text.counted(concepts.size[row], "neuron")),
          ),
        ),
      ),
      atlas.notes.tag(id),
    );
  }

  atlas.cards = { card, BELOW };
})();
