/** Numbers and counts as the page writes them. */
(() => {
  const minus = (text) => text.replace("-", "−");

  atlas.text = {
    /** Two decimals, a true minus, a dash where there is no number. @param {number|null|undefined} value */
    r(value) {
      return typeof value === "number" ? minus((Math.round(value * 100) / 100 + 0).toFixed(2)) : "–";
    },
    /** A value of a unit: three digits. @param {number|null|undefined} value */
    value(value) {
      if (typeof value !== "number") return "–";
      const size = Math.abs(value);
      if (size !== 0 && (size < 0.001 || size >= 1e5)) return minus(value.toExponential(1));
      return minus(String(Number(value.toPrecision(3))));
    },
    /** Thousands apart. @param {number} value */
    count(value) {
      return value.toLocaleString("en");
    },
    /** `1 concept`, `2 concepts`. @param {number} value @param {string} one @param {string} [many] */
    counted(value, one, many = `${one}s`) {
      return `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
    },
    /** @param {number} share in 0…1 */
    percent(share) {
      return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
    },
    /** A word for a POSIX shell. @param {string} word */
    shell(word) {
      return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
    },
    /** @param {number} value @param {number} low @param {number} high */
    clamp(value, low, high) {
      return Math.min(high, Math.max(low, value));
    },
  };
})();
