/**
 * One image and all concepts over it: the place that is clicked decides which come first.
 *
 * @typedef {object} Place
 * @property {number} x 0…1 from the left
 * @property {number} y 0…1 from the top
 */
(() => {
  const { h, text, run, state, parts, names, layout } = atlas;
  /** A step of the arrow keys, as a share of the image. */
  const STEP = 0.04;
  const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

  /** Concepts by strength, at a place or anywhere; those without a map come last. @param {?Place} place */
  function ranked(entries, place) {
    const valued = entries.map((entry) => ({
      ...entry,
      here: place && entry.field ? atlas.maps.at(entry.field, place.y, place.x) : null,
    }));
    return valued.sort((a, b) => (b.here ?? -1) - (a.here ?? -1) || b.strength - a.strength);
  }

  /** @param {URLSearchParams} query */
  function placeOf(query) {
    const [x, y] = [state.share(query.get("x"), null), state.share(query.get("y"), null)];
    return x === null || y === null ? null : { x, y };
  }

  /** Whether another concept is drawn than the address asks for. @param {URLSearchParams} query */
  function missing(query, chosen) {
    const asked = query.get("concept");
    return asked && asked !== String(chosen.id) ? `There is no concept ${asked}. ` : "";
  }

  const short = (value) => String(Number(text.clamp(value, 0, 1).toFixed(3)));

  /** Which concepts are strong at a place. @param {number} x @param {number} y */
  const ask = (x, y) => state.patch({ x: short(x), y: short(y), concept: "" });

  /** @param {number} image */
  function head(image, value) {
    const place = run.shown.indexOf(image);
    const href = (other) => (other === undefined ? null : state.href(`image/${names.imageIndex(other)}`));
    const [before, after] = [href(run.shown[place - 1]), href(run.shown[place + 1])];
    const facts = h(
      "p.facts",
      value.source === null ? null : layout.fact("from", names.name(String(value.source))),
      value.class === null ? null : layout.fact("class", value.class),
    );
    const kind = h("a", { href: "#/images" }, "Images");
    return layout.title(kind, `Image ${names.imageIndex(image)}`, facts, "image", before, after);
  }

  /** An entry of the list, which says how strong the concept is where the address asks, in the whole image else. */
  function item({ id, field, here, strength }, chosen, asked) {
    const share = asked ? here : strength;
    const told = share === null ? "its map is not kept" : `${text.percent(share)} of its scale${asked ? " here" : ""}`;
    const about = h("span.about", h("b", `Concept ${id}`), parts.bar(share ?? 0), h("small", told));
    return h(
      "li",
      { "data-concept": id, "aria-current": chosen ? "true" : null },
      layout.button("button.pick", [parts.picture("cards", id), about], () => state.patch({ concept: id }), {
        disabled: !field,
        "aria-label": `Draw concept ${id} over the image`,
      }),
      h("a", { href: state.href(`concept/${id}`), "aria-label": `Open concept ${id}` }, "Open"),
    );
  }

  atlas.views.image = {
    title: ({ path }) => `Image ${path[0]}`,
    async show(root, first) {
      const image = names.imagePlace(first.path[0]);
      const index = names.imageIndex(image);
      if (!run.shown.includes(image))
        throw new Error(
          `image ${index} has no page: only the ${text.count(run.shown.length)} do on which concepts are strongest`,
        );
      const [concepts, value, looks] = await Promise.all([
        atlas.load("concepts"),
        atlas.load(`image/${image}`),
        atlas.explained.section(image),
      ]);
      const entries = value.concept.map((id, number) => ({
        id,
        strength: value.strength[number],
        field: value.maps[number] ? atlas.maps.decode(value.maps[number], value.grid[number]) : null,
      }));
      const drawing = parts.drawing();
      const title = head(image, value);

      const mark = h("span.mark", { hidden: true, "aria-hidden": "true" });
      const room = h("span.holder");
      const target = h(
        "button.target",
        {
          type: "button",
          "aria-label": `Image ${index}. Click a place, or move with the arrow keys, to ask which concepts are strong there.`,
        },
        room,
        mark,
      );
      const caption = h("p.quiet.under", { "aria-live": "polite" });
      const list = h("ol.ranking", { "aria-label": "Concepts, strongest first" });
      const whole = layout.button("button.small", "Whole image", () => state.patch({ x: "", y: "", concept: "" }));
      const more = layout.button("button.small.more", "Show more", () => {
        length += 48;
        fill(state.read().query);
      });
      const heading = h("h2");
      const figure = parts.command(
        `rosetta report ${text.shell(run.root)} --dictionary ${index}`,
        "draws a figure of the concepts over this image",
      );
      root.append(
        h(
          "div.wide.image",
          title.element,
          h(
            "div.split",
            h("div.figure", target, caption, h("div.options", drawing.element), figure),
            h("section", { "aria-label": "Concepts" }, h("div.heading", heading, whole), list, more),
          ),
          looks.element,
        ),
      );

      target.addEventListener("click", (event) => {
        if (!event.detail) return;
        const box = target.getBoundingClientRect();
        ask((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      });
      target.addEventListener("keydown", (event) => {
        const move = MOVES[event.key];
        if (!move) return;
        const from = placeOf(state.read().query) ?? { x: 0.5, y: 0.5 };
        ask(from.x + move[0], from.y + move[1]);
        event.preventDefault();
        event.stopPropagation();
      });

      let length = 24;
      let drawn = "";
      let shown = "";

      /** @param {URLSearchParams} query */
      function fill(query) {
        const place = placeOf(query);
        const all = ranked(entries, place);
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

      function update({ query }) {
        const { show, opacity } = drawing.read(query);
        for (const over of [target, looks.element]) over.style.setProperty("--cover", String(opacity));
        if (shown !== show) looks.draw(show);
        shown = show;
        const chosen = fill(query);
        if (drawn === `${show} ${chosen?.id}`) return;
        drawn = `${show} ${chosen?.id}`;
        room.replaceChildren(parts.tile(image, chosen?.field ?? null, show, "", parts.large(image)));
        if (chosen)
          caption.replaceChildren(
            `${missing(query, chosen)}Drawn: concept ${chosen.id}, mean r ${text.r(concepts.mean[chosen.id])}. `,
            parts.scale(show, "its unit’s mean", "its highest"),
          );
        else caption.replaceChildren("No concept is known here.");
      }
      update(first);
      return { update, keys: { ...title.keys, ...drawing.keys } };
    },
  };
})();
