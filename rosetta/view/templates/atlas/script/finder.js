/**
 * The search field in the header: a combobox (WAI-ARIA) whose list says what was found while one types. On the concepts
 * the address follows too, so that the cards do.
 */
(() => {
  const { h, state, hits } = atlas;
  const field = /** @type {HTMLInputElement} */ (document.getElementById("find"));
  const list = document.getElementById("found");
  /** @type {HTMLElement[]} */
  let options = [];
  let active = -1;
  let turn = 0;
  let waiting = 0;
  /** What the list is of. */
  let shownFor = "";

  const isOnConcepts = () => state.read().view === "concepts";

  /** @param {number} place −1 for none */
  function choose(place) {
    active = place;
    options.forEach((option, one) => option.setAttribute("aria-selected", String(one === place)));
    const chosen = options[place];
    if (!chosen) field.removeAttribute("aria-activedescendant");
    else {
      field.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    }
  }

  function close() {
    turn += 1;
    clearTimeout(waiting);
    list.hidden = true;
    options = [];
    choose(-1);
    field.setAttribute("aria-expanded", "false");
  }

  /** @param {Hit} hit */
  function option(hit) {
    const made = h(
      hit.all ? "a.all" : "a",
      { role: "option", id: `found-${options.length}`, href: hit.href, tabindex: -1, "aria-selected": "false" },
      h("bdi.clip.hit", hit.title),
      hit.about ? h("bdi.clip.quiet", hit.about) : null,
    );
    options.push(made);
    return made;
  }

  /** @param {Group[]} groups @param {string} [wrong] */
  function show(groups, wrong = "") {
    options = [];
    list.replaceChildren(
      ...groups.map((group, place) =>
        h(
          "div",
          { role: "group", "aria-labelledby": `found-in-${place}` },
          h("p", { id: `found-in-${place}`, role: "presentation" }, group.title),
          group.hits.map(option),
        ),
      ),
      ...(options.length ? [] : [h("p.nothing", wrong || "Nothing here is called so.")]),
    );
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    choose(options.length ? 0 : -1);
    const count = groups.reduce((sum, group) => sum + group.hits.length, 0);
    atlas.say(count ? `${count} found; first ${options[0].textContent}` : wrong || "Nothing found");
  }

  /** Look for what is typed. @returns {Promise<boolean>} whether it is shown, and not something typed since */
  async function look() {
    const query = field.value.trim();
    turn += 1;
    const mine = turn;
    if (!query) {
      close();
      return false;
    }
    try {
      const asked = ["concepts", "search"].map((key) => atlas.load(key));
      const [concepts, index, words] = await Promise.all([
        ...asked,
        hits.isWord(query) ? atlas.words.load() : null,
        atlas.notes.ready(),
      ]);
      if (mine === turn) show(hits.find(query, { concepts, index, words }));
      shownFor = query;
    } catch (error) {
      if (mine === turn) show([], /** @type {Error} */ (error).message);
    }
    return mine === turn;
  }

  function typed() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (isOnConcepts()) state.patch({ q: field.value.trim(), word: "" });
      look();
    }, 80);
  }

  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    if (!(event.target instanceof Element) || !event.target.closest("a")) return;
    // The link leads on by itself. The field is then what the new address says.
    close();
    document.getElementById("main").focus({ preventScroll: true });
    field.value = "";
    atlas.finder.read(state.read());
  });
  field.addEventListener("input", typed);
  field.addEventListener("focus", () => {
    // What is needed is on its way before the first letter is typed.
    for (const key of ["concepts", "search"]) atlas.load(key).catch(() => {});
  });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", async (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (list.hidden) await look();
      else if (options.length) choose((active + step + options.length) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(waiting);
      if (!list.hidden && options[active] && field.value.trim() === shownFor) options[active].click();
      else if (await look()) options[0]?.click();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (!list.hidden) close();
      else {
        field.value = "";
        if (isOnConcepts()) state.patch({ q: "", word: "" });
      }
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && !event.target.closest(".finder")) close();
  });

  atlas.finder = {
    focus() {
      field.focus();
      field.select();
    },
    /** The field says what the concepts are searched for. @param {State} now */
    read({ view, query }) {
      if (document.activeElement === field) return;
      field.value = view === "concepts" ? query.get("q") || query.get("word") || "" : "";
    },
  };
})();
