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

  /** The tests that what is trusted must pass, and those that are reported beside them. */
  const asked = run.tests.filter((test) => test.asked);
  const others = run.tests.filter((test) => !test.asked);

  /**
   * Of a concept, how many of its neurons pass each test that they must pass.
   * @param {any} concepts the columns
   * @param {number} row
   */
  function passed(concepts, row) {
    const phrase = (/** @type {Test} */ { name, passed }) =>
      concepts[name][row] === null ? `${passed}: not made` : `${text.count(concepts[name][row])} ${passed}`;
    return asked.map(phrase).join(", ");
  }

  /**
   * What was measured of a match beside its correlation, in a line; null where nothing was.
   * @param {any} member of a neuron
   */
  function measured(member) {
    const { low, high, held_out, excess, robust, within, one_to_one } = member;
    const known = (word, value) => (typeof value === "number" ? `${word} ${text.r(value)}` : "");
    const parts = [
      typeof low === "number" ? `${text.r(low)} to ${text.r(high)}` : "",
      known("held out", held_out),
      known("excess", excess),
      known("clipped", robust),
      known("within classes", within),
      one_to_one === 1 ? "one to one" : one_to_one === 0 ? "not one to one" : "",
    ].filter(Boolean);
    // The dot stays at the end of its line.
    return parts.length ? parts.join("\u00a0· ") : null;
  }

  atlas.trust = { asked, others, badge, share, passed, measured };
})();
