/**
 * What is trusted: a Rosetta neuron or not; of a concept, so many of its neurons. And why a neuron is not, in the words of
 * the trust page. A value that is missing was not judged: it passes nothing and fails nothing.
 */
(() => {
  const { run, text } = atlas;

  /**
   * @param {number|null} q @param {boolean|number} replicates @param {number|null} lift @param {number|null} partial
   * @returns {Array<{word: string, told: string}>} one for each test that it fails
   */
  function failures(q, replicates, lift, partial) {
    if (!run.judged) return [];
    const found = [];
    const missing = [q, lift, partial].filter((value) => value === null).length;
    if (q !== null && q > run.q) found.push({ word: "chance", told: `q ${text.value(q)}: chance explains it` });
    if (!replicates && missing < 3) found.push({ word: "halves", told: "not a match in both halves of the images" });
    if (lift !== null && lift <= 0)
      found.push({ word: "control", told: `a control does as well (lift ${text.r(lift)})` });
    if (partial !== null && partial <= run.partial)
      found.push({ word: "pixels", told: `pixels explain it (partial ${text.r(partial)})` });
    if (missing) found.push({ word: "not judged", told: "some of the tests could not be made" });
    return found;
  }

  /**
   * @param {any} neuron its first member is the anchor's, with the weakest value of its matches
   * @returns {any}
   */
  function badge(neuron) {
    if (!run.judged) return null;
    if (neuron.trusted) return atlas.parts.chip("trusted", "good");
    const [own] = neuron.members;
    const found = failures(own.q, own.replicates, own.lift, own.partial);
    return atlas.parts.chip(
      found.map((one) => one.word).join(", ") || "not trusted",
      "bad",
      found.map((one) => one.told).join("; "),
    );
  }

  /**
   * @param {number} trusted
   * @param {number} size neurons
   */
  function share(trusted, size) {
    const told = `${text.count(trusted)} of ${text.counted(size, "neuron")} trusted`;
    return trusted ? atlas.parts.chip(told, "good") : atlas.h("span.quiet", {}, told);
  }

  /**
   * Of a concept, how many of its neurons pass each test.
   * @param {any} concepts the columns
   * @param {number} row
   */
  function passed(concepts, row) {
    const told = (/** @type {string} */ test, /** @type {string} */ words) =>
      concepts[test][row] === null ? `${words}: not asked` : `${text.count(concepts[test][row])} ${words}`;
    return [
      told("chance", "beyond chance"),
      told("replicates", "in both halves of the images"),
      told("lift", "above every control"),
      told("partial", "not explained by pixels"),
    ].join(", ");
  }

  atlas.trust = { badge, share, passed };
})();
