/** Data come as scripts, each of which calls `atlas.put` once; each is asked for when it is first needed. */
(() => {
  /** @type {Map<string, {promise: Promise<any>, resolve: (value: any) => void}>} */
  const asked = new Map();

  /** @param {string} key */
  function slot(key) {
    let found = asked.get(key);
    if (!found) {
      let resolve = /** @type {any} */ (null);
      const promise = new Promise((done) => {
        resolve = done;
      });
      found = { promise, resolve };
      asked.set(key, found);
    }
    return found;
  }

  /** Called by the data. @param {string} key */
  function put(key, value) {
    slot(key).resolve(value);
  }

  /**
   * @param {string} key such as `concept/3`
   * @returns {Promise<any>} rejected where there is no such file
   */
  function load(key) {
    if (asked.has(key)) return slot(key).promise;
    const { promise } = slot(key);
    return new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = `data/${key}.js`;
      script.onload = () => {
        script.remove();
        promise.then(done);
      };
      script.onerror = () => {
        script.remove();
        asked.delete(key);
        fail(new Error(`data/${key}.js cannot be read; the folder may be incomplete`));
      };
      document.head.append(script);
    });
  }

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

  atlas.order = order;
  atlas.put = put;
  atlas.load = load;
})();
