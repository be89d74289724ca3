/**
 * What the search field offers for what is typed: concepts, units, layers, models, words, the likeliest first. Units are
 * not listed anywhere: they follow from models, layers and channels.
 *
 * @typedef {object} Hit
 * @property {string} href
 * @property {string} title
 * @property {string} about
 * @property {boolean} [all] stands for all concepts that match
 *
 * @typedef {object} Group
 * @property {string} title
 * @property {number} strength how likely what was meant is in it
 * @property {Hit[]} hits
 */
(() => {
  const { models, anchor } = atlas.run;
  const { state, text, names, search } = atlas;
  /** Hits of a group, at most. */
  const MOST = 5;
  const [EXACT, TYPED, BEGUN, HELD, WEAK] = [4, 3, 2, 1, 0];

  /** @param {number[]} values */
  const highest = (values) => Math.max(WEAK, ...values);

  /** What models and names call a concept. @param {any} concepts @param {number} id */
  const called = (concepts, id) =>
    [atlas.notes.name(id), concepts.name?.[id], concepts.label?.[id], concepts.class?.[id]]
      .filter(Boolean)
      .map(String)
      .filter((name, place, all) => all.indexOf(name) === place);

  /** @returns {Group} */
  function ofConcepts(query, all, { concepts, index }) {
    const found = concepts.id.filter(search.matcher(query, index, concepts));
    const numbers = all.filter((word) => word.kind === "concept" || word.kind === "number").map((word) => word.number);
    const asked = all.filter((word) => word.kind === "name");
    const typed = query.toLowerCase();
    const strength = (id) => {
      if (numbers.includes(id)) return EXACT;
      if (called(concepts, id).some((name) => name.toLowerCase() === typed)) return TYPED;
      const said = search.textOf(concepts, id);
      return asked.length && asked.every((word) => search.says(said, word.text)) ? BEGUN : WEAK;
    };
    const trusted = (id) => Number(concepts.trusted?.[id] > 0);
    const ranked = found
      .map((id) => ({ id, strength: strength(id) }))
      .sort(
        (a, b) =>
          b.strength - a.strength || trusted(b.id) - trusted(a.id) || concepts.mean[b.id] - concepts.mean[a.id] || a.id - b.id,
      );
    /** @type {Hit[]} */
    const hits = ranked.slice(0, MOST).map(({ id }) => ({
      href: state.href(`concept/${id}`),
      title: `Concept ${id}`,
      about: called(concepts, id).join(" · ") || models[anchor].layers[concepts.layer[id]].name,
    }));
    if (found.length)
      hits.push({
        href: state.href("concepts", { q: query }),
        title: found.length === 1 ? "The concept that matches" : `All ${text.counted(found.length, "concept")} that match`,
        about: "",
        all: true,
      });
    return { title: "Concepts", strength: highest(ranked.slice(0, 1).map((one) => one.strength)), hits };
  }

  /** The layers of all models whose names hold all words. @param {any[]} asked */
  function* layersOf(asked) {
    for (const [model, { name, layers }] of models.entries())
      for (const [layer, one] of layers.entries())
        if (asked.every((word) => search.meets(model, layer, word))) yield { model, layer, name, one };
  }

  /** @returns {Group} */
  function ofUnits(clause) {
    const number = (...kinds) => clause.find((word) => kinds.includes(word.kind))?.number;
    const [unit, channel] = [number("unit", "number"), number("channel")];
    const asked = clause.filter((word) => word.kind === "name");
    const hits = [];
    if (unit !== undefined || channel !== undefined)
      for (const { model, layer, name, one } of layersOf(asked)) {
        const place = unit === undefined ? channel : unit - one.first;
        const wrong = place < 0 || place >= one.channels || (channel !== undefined && place !== channel);
        if (!wrong)
          hits.push({
            href: names.channelAddress(model, layer, place),
            title: `${one.name}·${place}`,
            about: `${name}, unit ${one.first + place}`,
          });
      }
    const isBare = clause.every((word) => word.kind === "number");
    const strength = clause.some((word) => word.whole) ? EXACT : isBare ? HELD : TYPED;
    return { title: "Units", strength: hits.length ? strength : WEAK, hits: hits.slice(0, MOST) };
  }

  /** @returns {Group} */
  function ofLayers(asked) {
    const hits = [];
    let strength = WEAK;
    for (const { model, layer, name, one } of layersOf(asked)) {
      const [own, whole] = [one.name.toLowerCase(), name.toLowerCase()];
      if (!asked.some((word) => search.holds(own, word.text))) continue;
      const exact = asked.every((word) => word.text === own || word.text === whole);
      hits.push({
        href: names.channelAddress(model, layer, 0),
        title: one.name,
        about: `${name}, ${text.counted(one.channels, "unit")}`,
        exact,
      });
      strength = Math.max(strength, exact ? EXACT : HELD);
    }
    hits.sort((a, b) => Number(b.exact) - Number(a.exact));
    return { title: "Layers", strength, hits: hits.slice(0, MOST) };
  }

  /** @returns {Group} */
  function ofModels(asked) {
    const strengths = [];
    const hits = [];
    for (const [place, { name, model, units }] of models.entries()) {
      const lower = name.toLowerCase();
      if (!asked.every((word) => search.holds(lower, word.text) || lower.startsWith(word.text))) continue;
      strengths.push(asked.some((word) => word.text === lower) ? EXACT : HELD);
      hits.push({
        href: names.channelAddress(place, 0, 0),
        title: name,
        about: `${model}, ${text.counted(units, "unit")}`,
      });
    }
    return { title: "Models", strength: highest(strengths), hits: hits.slice(0, MOST) };
  }

  /** @returns {Group} */
  function ofWords(query, words) {
    const [typed, known] = [query.toLowerCase(), words.has(query)];
    const near = words.nearest(query).filter((word) => word.toLowerCase() !== typed);
    const hit = (word) => {
      const above = [...words.fits(word).values()].filter((fit) => fit.above).length;
      const about = above ? `fits ${text.counted(above, "concept")}` : "fits none above chance";
      return { href: atlas.words.href(word), title: word, about };
    };
    const lacks = `“${query}” is none of the ${text.count(words.count)} words known here; spelled like it`;
    return {
      title: known ? "Words" : lacks,
      strength: known ? TYPED : WEAK,
      hits: [...(known ? [query] : []), ...near].slice(0, known ? 3 : MOST).map(hit),
    };
  }

  /** Whether a query may be a word: letters, and nothing that asks for a number. */
  const isWord = (query) => /\p{L}{2}/u.test(query) && search.words(query).every((word) => word.kind === "name");

  /**
   * @param {string} query
   * @param {{concepts: any, index: any, words: any}} data `words` null where there are none, or none is asked for
   * @returns {Group[]} those with hits, the likeliest first
   */
  function find(query, data) {
    const all = search.words(query);
    if (!all.length) return [];
    const clauses = search.clauses(all);
    const [clause = []] = clauses;
    const single = clauses.length === 1 && clause.length === all.length;
    const asked = clause.filter((word) => word.kind === "name");
    const onlyNames = single && asked.length === clause.length;
    const groups = [ofConcepts(query, all, data)];
    if (single) groups.push(ofUnits(clause));
    if (onlyNames) groups.push(ofModels(asked), ofLayers(asked));
    // Who typed the name of a place in a model meant no word.
    const isPlace = groups.some((group) => group.title !== "Concepts" && group.hits.length);
    if (data.words && isWord(query) && (data.words.has(query) || !isPlace)) groups.push(ofWords(query, data.words));
    return groups.filter((group) => group.hits.length).sort((a, b) => b.strength - a.strength);
  }

  atlas.hits = { find, isWord, called };
})();
