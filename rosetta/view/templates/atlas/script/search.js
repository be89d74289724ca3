/**
 * What is asked for is a place in a structure (a unit of a layer of a model), so words are compared with names and
 * numbers rather than ranked as text: a text index would find `blocks.3` in `blocks.31`, and could not say that
 * `lite0 blocks.3` means one and the same unit.
 *
 * Words form clauses, each to be met by one unit; a model's name opens the next clause, and so does a second unit as the
 * page writes it, `blocks.4·63` or `main.8:20`. A concept is found if one of its Rosetta neurons meets all clauses; what a
 * concept is called may meet a word as well.
 *
 * @typedef {object} Word
 * @property {"name"|"unit"|"channel"|"neuron"|"concept"|"number"} kind
 * @property {string} text
 * @property {number} number
 * @property {boolean} [whole] a layer's whole name, of a unit as the page writes it
 *
 * @typedef {object} Index
 * @property {number[]} offset
 * @property {number[]} rosetta
 * @property {number[]} mean
 * @property {number[]} unit
 */
(() => {
  const { models } = atlas.run;
  /** @type {Object<string, Word["kind"]>} */
  const KINDS = {
    unit: "unit",
    channel: "channel",
    neuron: "neuron",
    rosetta: "neuron",
    concept: "concept",
    cluster: "concept",
  };

  const lower = models.map((model) => ({
    name: model.name.toLowerCase(),
    layers: model.layers.map((layer) => layer.name.toLowerCase()),
  }));

  /**
   * A bare word, taken apart where it is a unit, and no name holds it as it is. The dot of a copied heading says nothing.
   * @param {string} text
   * @returns {Array<{text: string, quoted: boolean, channel?: string}>}
   */
  function written(text) {
    if (text === "·") return [];
    const unit = /^(.+)[·:](\d+)$/.exec(text);
    const named = lower.some((model) => [model.name, ...model.layers].some((name) => name.includes(text)));
    if (!unit || named || KINDS[unit[1]]) return [{ text, quoted: false }];
    return [{ text: unit[1], quoted: false, channel: unit[2] }];
  }

  /**
   * @param {string} query
   * @returns {Word[]}
   */
  function words(query) {
    const found = [...query.matchAll(/"([^"]*)"?(?:[·:](\d+)(?!\S))?|(\S+)/g)].flatMap(([, quote, channel, bare]) =>
      quote === undefined ? written(bare.toLowerCase()) : { text: quote.toLowerCase(), quoted: true, channel },
    );
    const made = [];
    for (let place = 0; place < found.length; place += 1) {
      const { text, quoted, channel } = found[place];
      const next = found[place + 1];
      if (channel !== undefined) {
        const whole = lower.some((model) => model.layers.includes(text));
        made.push({ kind: /** @type {const} */ ("name"), text, number: -1, whole });
        made.push({ kind: /** @type {const} */ ("channel"), text, number: Number(channel) });
        continue;
      }
      const glued = quoted ? null : /^(unit|channel|neuron|rosetta|concept|cluster)[:=#]?(\d+)$/.exec(text);
      if (glued) made.push({ kind: KINDS[glued[1]], text, number: Number(glued[2]) });
      else if (!quoted && KINDS[text] && next && /^#?\d+$/.test(next.text)) {
        made.push({ kind: KINDS[text], text, number: Number(next.text.replace("#", "")) });
        place += 1;
      } else if (!quoted && /^#?\d+$/.test(text))
        made.push({ kind: /** @type {const} */ ("number"), text, number: Number(text.replace("#", "")) });
      else if (text) made.push({ kind: /** @type {const} */ ("name"), text, number: -1 });
    }
    return made;
  }

  /**
   * Whether a name holds a word and does not go on with more digits.
   * @param {string} name
   * @param {string} word
   */
  function holds(name, word) {
    for (let at = name.indexOf(word); at >= 0; at = name.indexOf(word, at + 1)) {
      const before = name[at - 1] ?? "";
      const after = name[at + word.length] ?? "";
      if (!(/\d/.test(word[0]) && /\d/.test(before)) && !(/\d/.test(word[word.length - 1]) && /\d/.test(after)))
        return true;
    }
    return false;
  }

  /** @param {string} text */
  const opens = (text) =>
    lower.some((model) => model.name === text) ||
    (lower.some((model) => model.name.startsWith(text)) &&
      !lower.some((model) => model.layers.some((layer) => holds(layer, text))));

  /**
   * @param {Word[]} all
   * @returns {Word[][]}
   */
  function clauses(all) {
    /** @type {Word[][]} */
    const found = [[]];
    for (const word of all) {
      if (word.kind === "concept" || word.kind === "neuron") continue;
      const clause = found[found.length - 1];
      const second = word.whole && clause.some((one) => one.whole);
      if (clause.length && (second || (word.kind === "name" && !word.whole && opens(word.text)))) found.push([]);
      found[found.length - 1].push(word);
    }
    return found.filter((clause) => clause.length);
  }

  /** Whether the names of a layer and its model hold a word. @param {number} model @param {number} layer @param {Word} word */
  function meets(model, layer, word) {
    const { name, layers } = lower[model];
    return word.whole ? layers[layer] === word.text : holds(name, word.text) || holds(layers[layer], word.text);
  }

  /** What does not depend on the unit is asked once for each layer. @param {Word[]} clause */
  function prepared(clause) {
    const names = clause.filter((word) => word.kind === "name");
    const numbers = clause.filter((word) => word.kind !== "name");
    const layers = lower.map((one, model) => one.layers.map((_, layer) => names.every((word) => meets(model, layer, word))));
    return (model, unit, concept) => {
      const layer = atlas.names.layerOf(model, unit);
      return (
        layers[model][layer] &&
        numbers.every((word) => {
          if (word.kind === "channel") return unit - models[model].layers[layer].first === word.number;
          return unit === word.number || (word.kind === "number" && concept === word.number);
        })
      );
    };
  }

  /**
   * Whether some neuron of a concept meets a test, which is given the neuron and a way to its unit in a model, −1 where
   * it has none.
   * @param {Index} index @param {number} concept
   * @param {(neuron: number, unitOf: (model: number) => number) => boolean} test
   */
  function someNeuron(index, concept, test) {
    for (let neuron = index.offset[concept]; neuron < index.offset[concept + 1]; neuron += 1) {
      if (test(neuron, (model) => index.unit[neuron * models.length + model])) return true;
    }
    return false;
  }

  /**
   * All that a concept is called, in small letters: by words, labels, classes and people.
   * @param {any} concepts the columns, of which each of these may be missing @param {number} concept
   */
  function textOf(concepts, concept) {
    const columns = ["name", "label", "class"].map((column) => concepts[column]?.[concept] ?? "");
    return [...columns, atlas.notes.text(concept)].join(" ").toLowerCase();
  }

  /** Whether a word of a text begins with some letters. @param {string} text @param {string} letters */
  function says(text, letters) {
    for (let at = text.indexOf(letters); at >= 0; at = text.indexOf(letters, at + 1))
      if (!/[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return true;
    return false;
  }

  /**
   * Which concepts a query finds: a word may be met by what the concept is called instead of by one of its units.
   * @param {string} query @param {Index} index @param {any} concepts the columns
   * @returns {(concept: number) => boolean}
   */
  function matcher(query, index, concepts) {
    const all = words(query);
    const numbers = (kind) => all.filter((word) => word.kind === kind).map((word) => word.number);
    const [wanted, neurons] = [numbers("concept"), numbers("neuron")];
    /** By what is left to units. @type {Map<string, Array<ReturnType<typeof prepared>>>} */
    const known = new Map();
    function met(concept, rest) {
      const key = rest.map((word) => all.indexOf(word)).join();
      if (!known.has(key)) known.set(key, clauses(rest).map(prepared));
      const asks = known.get(key);
      return someNeuron(
        index,
        concept,
        (neuron, unitOf) =>
          neurons.every((one) => one === index.rosetta[neuron]) &&
          asks.every((ask) => models.some((_, model) => unitOf(model) >= 0 && ask(model, unitOf(model), concept))),
      );
    }
    return (concept) => {
      if (!wanted.every((one) => one === concept)) return false;
      if (met(concept, all)) return true;
      const called = textOf(concepts, concept);
      const rest = all.filter((word) => word.kind !== "name" || word.whole || !says(called, word.text));
      return rest.length < all.length && met(concept, rest);
    };
  }

  /**
   * Concepts with a unit in a layer of a model; any layer where it is −1.
   * @param {Index} index @param {number} model @param {number} layer
   */
  function inLayer(index, model, layer) {
    const within = (unit) => unit >= 0 && (layer < 0 || atlas.names.layerOf(model, unit) === layer);
    return (concept) => someNeuron(index, concept, (_, unitOf) => within(unitOf(model)));
  }

  atlas.search = { matcher, inLayer, words, clauses, holds, meets, says, textOf };
})();
