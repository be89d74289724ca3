/** Stars, names and texts of notes, wherever a concept is shown. */
(() => {
  const { h, notes } = atlas;
  const { button } = atlas.layout;

  /** @param {Element} star @param {number} concept */
  function mark(star, concept) {
    star.setAttribute("aria-pressed", String(notes.of(concept).starred));
    const others = notes
      .given(concept)
      .filter((note) => note.starred)
      .map((note) => note.author);
    star.classList.toggle("given", others.length > 0);
    star.setAttribute("title", others.length ? `Starred by ${others.join(", ")}` : "Star");
  }

  /** A star that is pressed or not. @param {number} concept */
  function star(concept) {
    const press = () => notes.set(concept, { starred: !notes.of(concept).starred });
    const one = button("button.star", h("i", { "aria-hidden": "true" }, "★"), press, {
      "aria-label": `Star concept ${concept}`,
      "data-star": concept,
    });
    mark(one, concept);
    return one;
  }

  /** What a card shows of the notes on its concept: a star, and a name if it has one. @param {number} concept */
  const tag = (concept) => [
    h("bdi.noted.clip", { "data-noted": concept, hidden: notes.name(concept) === "" }, notes.name(concept)),
    star(concept),
  ];

  // Cards come and go by the hundred: whoever changes a note looks for those that show it.
  notes.watch((concept) => {
    for (const one of document.querySelectorAll(`[data-star="${concept}"]`)) mark(one, concept);
    for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[data-noted="${concept}"]`))) {
      one.textContent = notes.name(concept);
      one.hidden = notes.name(concept) === "";
    }
  });

  /** A note as someone else wrote it. @param {any} note */
  const givenNote = (note) =>
    h(
      "li",
      note.starred ? h("i.starred", { role: "img", "aria-label": "starred" }, "★") : null,
      note.name ? h("bdi.strong", note.name) : null,
      note.note ? h("bdi.text", note.note) : null,
      h("small", "by ", h("bdi", note.author), ` · ${note.when.slice(0, 10)}`),
    );

  /** The notes on a concept, to be written in. @param {number} concept */
  function editor(concept) {
    const note = notes.of(concept);
    const field = (element, key) => {
      element.value = note[key];
      element.addEventListener("input", () => {
        try {
          notes.set(concept, { [key]: element.value });
          element.setCustomValidity("");
        } catch (error) {
          element.setCustomValidity(error.message);
          element.reportValidity();
        }
      });
      return element;
    };
    const name = h("input", { type: "text", maxlength: notes.LIMITS.name, placeholder: "Your name for it" });
    const text = h("textarea", { rows: 1, maxlength: notes.LIMITS.note, placeholder: "Your note" });
    name.setAttribute("aria-label", `Your name for concept ${concept}`);
    text.setAttribute("aria-label", `Your note on concept ${concept}`);
    const others = notes.given(concept);
    return h(
      "div.notes",
      { role: "group", "aria-label": "Notes" },
      h("div.own", star(concept), field(name, "name"), field(text, "note")),
      others.length ? h("ul", { "aria-label": "Notes in the run" }, others.map(givenNote)) : null,
    );
  }

  Object.assign(notes, { star, tag, editor });
})();
