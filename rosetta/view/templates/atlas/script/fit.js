/** Concepts by how well a word fits them: those above chance first, and the rest marked as not. */
(() => {
  const { h, text } = atlas;

  /**
   * The columns of concepts with `fit`, by which they sort, and with what it stands for.
   * @param {any} concepts @param {any} words the vocabulary, or null @param {string|null} word
   */
  function columns(concepts, words, word) {
    const none = { score: null, above: false };
    const fits = words && word ? words.fits(word) : new Map();
    const listed = concepts.id.map((id) => fits.get(id) ?? none);
    // Ranks: a score above chance comes before any that is not.
    const order = concepts.id
      .filter((id) => listed[id].score !== null)
      .sort((a, b) => Number(listed[a].above) - Number(listed[b].above) || listed[a].score - listed[b].score);
    const fit = listed.map(() => null);
    for (const [rank, id] of order.entries()) fit[id] = rank;
    return { ...concepts, fit, fits: listed };
  }

  /** What is wrong with a word that is asked for, with what to ask for instead; undefined where nothing is. */
  function wrong(words, word) {
    if (!word || words?.has(word)) return undefined;
    if (!words) return "No vocabulary was scored for this run; rosetta label --text does so.";
    const near = words.nearest(word);
    const links = near.flatMap((one, place) => [place ? ", " : "", h("a", { href: atlas.words.href(one) }, h("bdi", one))]);
    return h(
      "span",
      "“",
      h("bdi", word),
      `” is none of the ${text.count(words.count)} words known here`,
      near.length ? ["; spelled like it: ", links] : ".",
    );
  }

  /** How many of the concepts that are shown a word fits. @param {any} concepts @param {number[]} found */
  function told(concepts, found, word) {
    const above = found.filter((id) => concepts.fits[id].above).length;
    return h("span.fits", "“", h("bdi", word), `” fits ${above ? text.count(above) : "none"} above chance `);
  }

  /** @param {any} concepts @param {number} id */
  function card(concepts, id) {
    const { score, above } = concepts.fits[id];
    const made = atlas.cards.card(concepts, id, { word: above ? "fits" : "as chance", value: score });
    made.classList.toggle("chance", !above);
    return made;
  }

  atlas.fit = { columns, wrong, told, card };
})();
