/** What is known of a concept beside its matches: what it is called, what it is selective for, what it causes. */
(() => {
  const { h, text, run } = atlas;

  /** Its word, else its label; null where it has neither. @param {any} concepts the columns @param {number} row */
  const called = (concepts, row) => concepts.name[row] ?? concepts.label[row];

  /**
   * Label, effect and class with their measures, each where it is known.
   * @param {any} concepts the columns @param {number} row
   * @returns {Array<{name: string|null, word: string, value: number|null}>}
   */
  function measured(concepts, row) {
    const { name, label, iou, auroc, effect } = concepts;
    return [
      // A label that already stands in place of the name is not said twice.
      label[row] !== null && { name: name[row] === null ? null : label[row], word: "IoU", value: iou[row] },
      effect[row] !== null && { name: null, word: "effect", value: effect[row] },
      concepts.class[row] !== null && { name: concepts.class[row], word: "AUROC", value: auroc[row] },
    ].filter((one) => typeof one === "object");
  }

  /** How many lines of cards of this run they take. */
  const lines = [run.found.label, run.found.effect, run.found.class].filter((count) => count > 0).length;

  /** The same as quiet lines of a card. @param {any} concepts @param {number} row */
  const cardLines = (concepts, row) =>
    measured(concepts, row).map(({ name, word, value }) =>
      h(
        "span.line.quiet",
        name === null ? h("span", word) : h("bdi.clip", { title: name }, name),
        h("span.number", name === null ? text.r(value) : `${word} ${text.r(value)}`),
      ),
    );

  /** Whether cards of this run have names. */
  const names = run.found.called > 0;

  atlas.found = { called, measured, cardLines, lines, names };
})();
