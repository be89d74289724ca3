/**
 * Why a match is not trusted, in the words of the trust page. A value that is missing was not judged: it passes
 * nothing and fails nothing.
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
   * @param {any} member
   * @returns {any}
   */
  function badge(member) {
    if (!run.judged) return null;
    if (member.trusted) return atlas.parts.chip("trusted", "good");
    const found = failures(member.q, member.replicates, member.lift, member.partial);
    return atlas.parts.chip(
      found.map((one) => one.word).join(", ") || "not trusted",
      "bad",
      found.map((one) => one.told).join("; "),
    );
  }

  atlas.trust = { failures, badge };
})();
