"use strict";
// The search of a shelf. Its data come as a script, since a page that is read from disk may load nothing else.
const shelf = (() => {
  const MOST = 100;
  const input = /** @type {HTMLInputElement} */ (document.getElementById("query"));
  const found = document.getElementById("found");
  const count = document.getElementById("count");
  const cards = [...document.querySelectorAll("[data-entry]")];
  let items = [];

  const folded = (text) => text.normalize("NFKC").toLowerCase();
  const inAtlas = (page, ...path) => page && `${page}#/${path.map(encodeURIComponent).join("/")}`;

  /** What can be found, in the order in which it is listed: {group, entry, href, title, more, text}. */
  function itemsOf(known) {
    const listed = [];
    const add = (group, entry, href, title, more, text) =>
      listed.push({ group, entry, href, title, more: [known.entries[entry][0], ...more].filter(Boolean), text: folded(text) });
    for (const [entry, number, name, labels, note, neurons, trusted] of known.concepts) {
      const [run, page] = known.entries[entry];
      const size = `${neurons} ${neurons === 1 ? "neuron" : "neurons"}, ${trusted} trusted`;
      const title = name ? `${name} (concept ${number})` : `Concept ${number}`;
      const text = [`concept ${number}`, name, ...labels, note, run].join("\n");
      add("Concepts", entry, inAtlas(page, "concept", number), title, [labels.join(", "), note, size], text);
    }
    for (const [entry, name, zoo] of known.models) {
      const [run, page] = known.entries[entry];
      add("Models", entry, page, name, [zoo], [name, zoo, run].join("\n"));
    }
    for (const [entry, name, , layers] of known.models) {
      const [run, page] = known.entries[entry];
      for (const layer of layers) {
        add("Layers", entry, inAtlas(page, "unit", name, layer, 0), layer, [name], [layer, name, run].join("\n"));
      }
    }
    return listed;
  }

  function element(name, text, href) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (href) made.setAttribute("href", href);
    return made;
  }

  function row(item) {
    const made = element("li");
    made.append(element(item.href ? "a" : "span", item.title, item.href));
    const more = element("span", item.more.join(" · "));
    more.className = "quiet";
    made.append(more);
    return made;
  }

  function group(title, hits) {
    const list = element("ul");
    list.append(...hits.slice(0, MOST).map(row));
    const parts = [element("h2", title), list];
    if (hits.length > MOST) parts.push(element("p", `${hits.length - MOST} more; add a word to narrow it down.`));
    return parts;
  }

  function search() {
    const words = folded(input.value).split(/\s+/).filter(Boolean);
    const hits = words.length ? items.filter((item) => words.every((word) => item.text.includes(word))) : [];
    const groups = ["Concepts", "Models", "Layers"].map((title) => [title, hits.filter((hit) => hit.group === title)]);
    found.replaceChildren(...groups.flatMap(([title, of]) => (of.length ? group(title, of) : [])));
    found.hidden = !hits.length;
    const entries = new Set(hits.map((hit) => hit.entry));
    for (const card of cards) {
      const named = words.every((word) => folded(card.textContent).includes(word));
      card.hidden = words.length > 0 && !named && !entries.has(Number(card.dataset.entry));
    }
    const told = groups.map(([title, of]) => `${of.length} ${of.length === 1 ? title.slice(0, -1) : title}`.toLowerCase());
    count.textContent = words.length ? (hits.length ? `Found ${told.join(", ")}.` : "Nothing found.") : "";
  }

  function read() {
    let asked = "";
    try {
      asked = location.hash.startsWith("#q=") ? decodeURIComponent(location.hash.slice(3)) : "";
    } catch {}
    if (input.value !== asked) input.value = asked;
    search();
  }

  input.addEventListener("input", () => {
    // A browser may refuse many changes of the address in a row; the search goes on.
    try {
      history.replaceState(null, "", input.value ? `#q=${encodeURIComponent(input.value)}` : "#");
    } catch {}
    search();
  });
  addEventListener("hashchange", read);
  return {
    put(known) {
      items = itemsOf(known);
      read();
    },
  };
})();
