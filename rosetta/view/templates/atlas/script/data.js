/** Data come as scripts, each of which calls `atlas.put` once; each is asked for when it is first needed. */
(() => {
  /** @type {Map<string, Promise<any>>} */
  const asked = new Map();
  /** What came, by its key. @type {Map<string, any>} */
  const come = new Map();

  /** Called by the data. @param {string} key */
  const put = (key, value) => come.set(key, value);

  /**
   * @param {string} key such as `concept/3`
   * @returns {Promise<any>} rejected where there is no such file
   */
  function load(key) {
    if (asked.has(key)) return asked.get(key);
    const found = new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = `data/${key}.js`;
      script.onload = () => {
        script.remove();
        done(come.get(key));
      };
      script.onerror = () => {
        script.remove();
        asked.delete(key);
        fail(new Error(`data/${key}.js cannot be read; the folder may be incomplete`));
      };
      document.head.append(script);
    });
    asked.set(key, found);
    return found;
  }

  /** Rows of a table. @param {Object<string, any[]>} columns */
  const count = (columns) => Object.values(columns)[0]?.length ?? 0;

  /**
   * Compares rows by a column: those without a value come last, equal ones stay as they are.
   * @param {any[]} column @param {boolean} falling
   */
  function order(column, falling) {
    return (a, b) => {
      const [left, right] = [column[a], column[b]];
      if (left === right) return a - b;
      if (left === null || right === null) return left === null ? 1 : -1;
      return left < right === falling ? 1 : -1;
    };
  }

  atlas.count = count;
  atlas.order = order;
  atlas.put = put;
  atlas.load = load;
})();
