/** A concept as a card. */
(() => {
  const { h, text, run, parts, found } = atlas;
  /** Pixels under the square of a card: a line more for each thing that is known of concepts. */
  const BELOW = 78 + 21 * found.lines;

  /**
   * @param {any} concepts the columns @param {number} row
   * @param {{word: string, value: number|null}} [said] in place of the correlation
   */
  function card(concepts, row, said) {
    const id = concepts.id[row];
    const layer = run.models[run.anchor].layers[concepts.layer[row]];
    const { word, value } = said ?? { word: "r", value: concepts.mean[row] };
    const name = found.called(concepts, row);
    const place = h("bdi.clip.quiet", { title: layer.name }, layer.name);
    return h(
      "div.cell",
      h(
        "a.card",
        { href: atlas.state.href(`concept/${id}`), "data-concept": id },
        parts.picture("cards", id),
        h(
          "span.about",
          h(
            "span.line",
            h("b", `Concept ${id}`),
            // Where concepts have names, the layer makes room for them.
            found.names ? (name === null ? null : h("bdi.clip.called", { title: name }, name)) : place,
          ),
          h(
            "span.line",
            h("span.number", `${word} ${text.r(value)}`),
            parts.bar(value ?? 0),
            found.names ? place : null,
          ),
          h(
            "span.line.quiet",
            run.judged
              ? atlas.trust.share(concepts.trusted[row], concepts.size[row])
              : h("span", text.counted(concepts.size[row], "neuron")),
          ),
          found.cardLines(concepts, row),
        ),
      ),
      atlas.notes.tag(id),
    );
  }

  atlas.cards = { card, BELOW };
})();
