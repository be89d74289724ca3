/**
 * The state of the page is its address: `#/concepts?sort=size&q=lite0+blocks.3`. What is left at its default is left
 * out, so that addresses stay short enough to send. Names stand in it as they are called, whatever they hold: each piece
 * is encoded by itself, so a slash of a name is none of the address.
 *
 * @typedef {object} State
 * @property {string} view
 * @property {string[]} path
 * @property {URLSearchParams} query
 */
(() => {
  /** A piece of an address as it is called. Who types one need not encode it. @param {string} piece */
  function decoded(piece) {
    try {
      return decodeURIComponent(piece);
    } catch {
      return piece;
    }
  }

  /** @returns {State} */
  function read(hash = location.hash) {
    const [place, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [view, ...path] = place.replace(/\/+$/, "").split("/").map(decoded);
    return { view: view || "overview", path, query: new URLSearchParams(query) };
  }

  /** The pieces of a place as one. @param {...any} pieces such as `"unit", "lite0", "blocks.3", 7` */
  const join = (...pieces) => pieces.map((piece) => encodeURIComponent(String(piece))).join("/");

  /** @param {string} place as `join` makes it, `concept/3` say @param {Object<string, any>|URLSearchParams} query */
  function href(place, query = {}) {
    const text = String(new URLSearchParams(query));
    return `#/${place}${text ? `?${text}` : ""}`;
  }

  /**
   * Change some of the query where we are, without a step in the history: nobody wants to walk back through a slider.
   * @param {Object<string, any>} changes "" takes a key out
   */
  function patch(changes) {
    const state = read();
    for (const [key, value] of Object.entries(changes)) {
      if (value === "") state.query.delete(key);
      else state.query.set(key, String(value));
    }
    history.replaceState(history.state, "", href(join(state.view, ...state.path), state.query));
    atlas.refresh();
  }

  /**
   * A whole number out of an address, or a default where it is none or out of range.
   * @param {string|null|undefined} text @param {number} otherwise
   * @param {number} end one past the last
   */
  function whole(text, otherwise, end) {
    return text && /^\d+$/.test(text) && Number(text) < end ? Number(text) : otherwise;
  }

  /**
   * The number of one of so many things.
   * @param {string} what is numbered @param {string|undefined} text @param {number} count
   */
  function numbered(what, text, count) {
    const number = whole(text, -1, count);
    if (number < 0) throw new Error(`no ${what} ${text ?? ""} in this run; they run from 0 to ${count - 1}`);
    return number;
  }

  /** A number in 0…1, or a default. @param {string|null} text */
  function share(text, otherwise) {
    const value = text === null || text === "" ? NaN : Number(text);
    return value >= 0 && value <= 1 ? value : otherwise;
  }

  /** One of some words, the first by default. @param {string|null} text @param {string[]} words */
  function word(text, words) {
    return text !== null && words.includes(text) ? text : words[0];
  }

  atlas.state = { read, join, href, patch, whole, numbered, share, word };
})();
