/** What views are laid out with: sections, tables, headings, controls. */
(() => {
  const { h } = atlas;

  /** A part of a view under a heading of its own. @param {string} what tag and classes @param {string} id of the heading */
  const section = (what, id, title, ...children) =>
    h(what, { "aria-labelledby": id }, h("h2", { id }, title), children);

  /** What may be wider than the page and scrolls by itself. @param {string} label */
  const region = (label, ...children) =>
    h("div.scroll", { tabindex: 0, role: "region", "aria-label": label }, children);

  /** The heading of a column. @param {string} [title] said where the pointer rests */
  const column = (name, title) => h("th", { scope: "col", title }, name);

  /** The same for a column of numbers. */
  const numbers = (name, title) => h("th.n", { scope: "col", title }, name);

  /** @param {string} what tag and classes @param {string} label */
  const table = (what, label, columns, body) => region(label, h(what, h("thead", h("tr", columns)), body));

  /**
   * The top of a view of one thing: the kind of thing, its name, facts, and the way to the one before and the one after,
   * with keys that go where the links then lead.
   * @param {string} what @param {string|null} before @param {string|null} after
   */
  function title(kind, name, facts, what, before, after) {
    const link = (href, label, arrow) =>
      href
        ? h("a.round", { href, "aria-label": `${label} ${what}`, title: `${label} ${what}` }, arrow)
        : h("span.round.off", { "aria-hidden": "true" }, arrow);
    const [previous, next] = [link(before, "Previous", "←"), link(after, "Next", "→")];
    const follow = (end) => () => {
      if (end.hash) location.hash = end.hash;
    };
    const about = h("div", h("p.eyebrow", kind), h("h1", { tabindex: -1 }, name), facts);
    return {
      element: h("header.title", about, h("span.steps", previous, next)),
      keys: { ArrowLeft: follow(previous), ArrowRight: follow(next) },
    };
  }

  /** A fact of such a heading: what it is called, and what it is. */
  const fact = (name, value) => h("span", `${name} `, h("b", value));

  /** @param {string} what tag and classes @param {string} name @param {() => void} onclick */
  const button = (what, name, onclick, attributes = {}) => h(what, { type: "button", onclick, ...attributes }, name);

  /** A choice among many. @param {any[][]} options value and name @param {(value: string) => void} choose */
  function select(label, options, choose, attributes = {}) {
    const element = h("select", { "aria-label": label, onchange: () => choose(element.value), ...attributes });
    element.append(...options.map(([value, name]) => h("option", { value }, name)));
    return element;
  }

  atlas.layout = { section, region, column, numbers, table, title, fact, button, select };
})();
