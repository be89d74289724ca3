/**
 * What is trusted: a Rosetta neuron or not; of a concept, so many of its neurons. The tests, their words and what they
 * found come with the data.
 */
(() => {
  const { run, text } = atlas;

  /** Whether a neuron is trusted, else the tests that it fails. @param {any} neuron */
  function badge({ trusted, failures }) {
    if (trusted) return atlas.parts.chip("trusted", "good");
    const [words, sentences] = [0, 1].map((part) => failures.map((/** @type {string[]} */ failure) => failure[part]));
    return atlas.parts.chip(words.join(", ") || "not trusted", "bad", sentences.join("; "));
  }

  /**
   * @param {number} trusted
   * @param {number} size neurons
   */
  function share(trusted, size) {
    const words = `${text.count(trusted)} of ${text.counted(size, "neuron")} trusted`;
    return trusted ? atlas.parts.chip(words, "good") : atlas.h("span.quiet", {}, words);
  }

  /**
   * Of a concept, how many of its neurons pass each test.
   * @param {any} concepts the columns
   * @param {number} row
   */
  function passed(concepts, row) {
    const phrase = (/** @type {Test} */ { name, passed }) =>
      concepts[name][row] === null ? `${passed}: not asked` : `${text.count(concepts[name][row])} ${passed}`;
    return run.tests.map(phrase).join(", ");
  }

  atlas.trust = { badge, share, passed };
})();
