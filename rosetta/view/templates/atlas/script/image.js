/**
 * One image and all concepts over it: the place that is clicked decides which come first.
 *
 * @typedef {object} Place
 * @property {number} x 0…1 from the left
 * @property {number} y 0…1 from the top
 */
(() => {
  const { h, text, run, state, parts } = atlas;
  /** A step of the arrow keys, as a share of the image. */
  const STEP = 0.04;

  /**
   * Concepts by strength, at a place or anywhere; those without a map come last.
   * @param {any[]} entries
   * @param {?Place} place
   */
  function ranked(entries, place) {
    const valued = entries.map((entry) => ({
      ...entry,
      here: place && entry.field ? atlas.maps.at(entry.field, place.y, place.x) : null,
    }));
    return valued.sort((a, b) =>
      place ? (b.here ?? -1) - (a.here ?? -1) || b.strength - a.strength : b.strength - a.strength,
    );
  }

  /** @param {URLSearchParams} query */
  function placeOf(query) {
    const [x, y] = [state.share(query.get("x"), null), state.share(query.get("y"), null)];
    return x === null || y === null ? null : { x, y };
  }

  /** Whether another concept is drawn than the address asks for. @param {URLSearchParams} query @param {any} chosen */
  function missing(query, chosen) {
    const asked = query.get("concept");
    return asked && asked !== String(chosen.id) ? `There is no concept ${asked}. ` : "";
  }

  const short = (/** @type {number} */ value) => String(Number(text.clamp(value, 0, 1).toFixed(3)));

  /**
   * @param {number} image
   * @param {any} value
   */
  function head(image, value) {
    const place = run.shown.indexOf(image);
    const href = (/** @type {number|undefined} */ other) => (other === undefined ? null : state.href(`image/${other}`));
    const [before, after] = [href(run.shown[place - 1]), href(run.shown[place + 1])];
    return {
      keys: parts.stepKeys(before, after),
      element: h(
        "header.title",
        {},
        h(
          "div",
          {},
          h("p.eyebrow", {}, h("a", { href: "#/images" }, "Images")),
          h("h1", { tabindex: -1 }, `Image ${image}`),
          h(
            "p.facts",
            {},
            value.source === null ? null : h("span", {}, "from ", h("b", {}, atlas.names.name(String(value.source)))),
            value.class === null ? null : h("span", {}, "class ", h("b", {}, String(value.class))),
          ),
        ),
        parts.steps("image", before, after),
      ),
    };
  }

  atlas.views.image = {
    title: (/** @type {any} */ { path }) => `Image ${path[0]}`,
    /**
     * @param {HTMLElement} root
     * @param {any} first
     */
    async show(root, first) {
      const image = state.whole(first.path[0], -1, run.images);
      if (image < 0) throw new Error(`no image ${first.path[0] ?? ""} in this run; they run from 0 to ${run.images - 1}`);
      if (!run.shown.includes(image))
        throw new Error(
          `image ${image} has no page: only the ${text.count(run.shown.length)} do on which concepts are strongest`,
        );
      const [concepts, value] = await Promise.all([atlas.load("concepts"), atlas.load(`image/${image}`)]);
      const entries = value.concept.map((/** @type {number} */ id, /** @type {number} */ number) => ({
        id,
        strength: value.strength[number],
        field: value.maps[number] ? atlas.maps.decode(value.maps[number], value.grid[number]) : null,
      }));
      const drawing = parts.drawing(first.query);
      const title = head(image, value);

      const mark = h("span.mark", { hidden: true, "aria-hidden": "true" });
      const room = h("span.holder");
      const target = h(
        "button.target",
        {
          type: "button",
          "aria-label": `Image ${image}. Click a place, or move with the arrow keys, to ask which concepts are strong there.`,
        },
        room,
        mark,
      );
      const caption = h("p.quiet.under", { "aria-live": "polite" });
      const list = h("ol.ranking", { "aria-label": "Concepts, strongest first" });
      const more = h("button.small.more", { type: "button" }, "Show more");
      const heading = h("h2");
      const figure = parts.command(
        `rosetta report ${text.shell(run.root)} --dictionary ${image}`,
        "draws a figure of the concepts over this image",
      );
      root.append(
        h(
          "div.wide.image",
          {},
          title.element,
          h(
            "div.split",
            {},
            h("div.figure", {}, target, caption, h("div.options", {}, drawing.element), figure),
            h(
              "section",
              { "aria-label": "Concepts" },
              h(
                "div.heading",
                {},
                heading,
                h(
                  "button.small",
                  { type: "button", onclick: () => state.patch({ x: "", y: "", concept: "" }) },
                  "Whole image",
                ),
              ),
              list,
              more,
            ),
          ),
        ),
      );

      target.addEventListener("click", (/** @type {MouseEvent} */ event) => {
        if (!event.detail) return;
        const box = target.getBoundingClientRect();
        state.patch({
          x: short((event.clientX - box.left) / box.width),
          y: short((event.clientY - box.top) / box.height),
          concept: "",
        });
      });
      target.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[
          event.key
        ];
        if (!move) return;
        const from = placeOf(state.read().query) ?? { x: 0.5, y: 0.5 };
        state.patch({ x: short(from.x + move[0]), y: short(from.y + move[1]), concept: "" });
        event.preventDefault();
        event.stopPropagation();
      });

      let all = [];
      let length = 24;
      let drawn = "";
      more.addEventListener("click", () => {
        length += 48;
        fill(state.read().query);
      });

      /**
       * @param {any} entry
       * @param {boolean} chosen
       * @param {boolean} asked
       */
      function item(entry, chosen, asked) {
        const strength = asked ? entry.here : entry.strength;
        return h(
          "li",
          { "data-concept": entry.id, "aria-current": chosen ? "true" : null },
          h(
            "button.pick",
            {
              type: "button",
              disabled: !entry.field,
              onclick: () => state.patch({ concept: entry.id }),
              "aria-label": `Draw concept ${entry.id} over the image`,
            },
            parts.picture("cards", entry.id, ""),
            h(
              "span.about",
              {},
              h("b", {}, `Concept ${entry.id}`),
              parts.bar(strength ?? 0),
              h(
                "small",
                {},
                strength === null
                  ? "its map is not kept"
                  : `${text.percent(strength)} of its scale${asked ? " here" : ""}`,
              ),
            ),
          ),
          h("a", { href: state.href(`concept/${entry.id}`), "aria-label": `Open concept ${entry.id}` }, "Open"),
        );
      }

      /** @param {URLSearchParams} query */
      function fill(query) {
        const place = placeOf(query);
        all = ranked(entries, place);
        const wanted = state.whole(query.get("concept"), -1, run.concepts);
        const chosen = all.find((entry) => entry.id === wanted) ?? all[0];
        list.replaceChildren(...all.slice(0, length).map((entry) => item(entry, entry === chosen, place !== null)));
        more.hidden = all.length <= length;
        heading.textContent = place ? "Strong at this place" : "Strong in this image";
        mark.hidden = !place;
        if (place) {
          mark.style.left = `${place.x * 100}%`;
          mark.style.top = `${place.y * 100}%`;
        }
        return chosen;
      }

      /** @param {any} now */
      function update({ query }) {
        const { show, opacity } = drawing.read(query);
        target.style.setProperty("--cover", String(opacity));
        const chosen = fill(query);
        if (drawn === `${show} ${chosen?.id}`) return;
        drawn = `${show} ${chosen?.id}`;
        room.replaceChildren(parts.tile(image, chosen?.field ?? null, show, "", parts.large(image)));
        caption.replaceChildren(
          chosen
            ? `${missing(query, chosen)}Drawn: concept ${chosen.id}, mean r ${text.r(concepts.mean[chosen.id])}. `
            : "No concept is known here.",
          chosen ? parts.scale(show, null, null) : "",
        );
        const ends = caption.querySelectorAll(".ends span");
        if (ends.length) [ends[0].textContent, ends[1].textContent] = ["its unit’s mean", "its highest"];
      }
      update(first);
      return { update, keys: { ...title.keys, ...drawing.keys } };
    },
  };
})();
