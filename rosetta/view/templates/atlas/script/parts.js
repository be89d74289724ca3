/** Parts that several views are made of. */
(() => {
  const { h, text, run } = atlas;
  const { button, region } = atlas.layout;
  const ACROSS = 8;
  const SHOWS = { overlay: "Overlay", contour: "Contours", plain: "Map" };

  /**
   * A square of a sheet; text beside it says what it is.
   * @param {string} folder images or cards @param {number} place
   */
  function picture(folder, place) {
    const within = place % run.per_sheet;
    const [x, y] = [within % ACROSS, Math.floor(within / ACROSS)].map((step) => (step / (ACROSS - 1)) * 100);
    const style = {
      "background-image": `url("${folder}/${Math.floor(place / run.per_sheet)}.webp")`,
      "background-position": `${x}% ${y}%`,
    };
    return h("span.picture", { "aria-hidden": "true", style });
  }

  /** An image that has a picture of its own, in a square. @param {number} image */
  const large = (image) =>
    h("span.picture.large", { "aria-hidden": "true", style: { "background-image": `url("pictures/${image}.webp")` } });

  const shown = new Set(run.shown);

  /** An image with its number, a link where it has a file of its own. @param {number} image */
  function thumb(image) {
    const index = atlas.names.imageIndex(image);
    const inside = [picture("images", image), h("small", `image ${index}`)];
    return shown.has(image)
      ? h("a.thumb", { href: atlas.state.href(`image/${index}`) }, inside)
      : h("span.thumb", inside);
  }

  const painters = new WeakMap();
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        painters.get(target)?.();
      }
    },
    { rootMargin: "2000px" },
  );

  /**
   * An image with a map over it, drawn when it comes into sight.
   * @param {number} image @param {string} show @param {string} label
   * @param {HTMLElement} [below] the image; out of its sheet by default
   */
  function tile(image, field, show, label, below = picture("images", image)) {
    const canvas = h("canvas", { "aria-hidden": "true" });
    painters.set(canvas, () => atlas.maps.draw(canvas, field, show));
    seen.observe(canvas);
    return h(`span.tile.${show}`, { role: "img", "aria-label": label }, below, canvas);
  }

  /**
   * A switch between a few words, the first of them by default; what is chosen stands in the address.
   * @param {string} label @param {string} key of the address @param {Object<string, string>} names by word
   */
  function choice(label, key, names) {
    const words = Object.keys(names);
    const choose = (word) => atlas.state.patch({ [key]: word === words[0] ? "" : word });
    const buttons = words.map((word) => button("button", names[word], () => choose(word), { "data-value": word }));
    const element = h("div.choice", { role: "group", "aria-label": label }, buttons);
    /** Mark what an address asks for. @param {URLSearchParams} query */
    function read(query) {
      const chosen = atlas.state.word(query.get(key), words);
      for (const one of buttons) one.setAttribute("aria-pressed", String(one.dataset.value === chosen));
      return chosen;
    }
    return { element, read, choose };
  }

  /** How maps are shown: the switch and the slider, the same wherever there are maps. */
  function drawing() {
    const shows = choice("How maps are drawn", "show", SHOWS);
    const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Opacity of the map" });
    slider.addEventListener("input", () => atlas.state.patch({ opacity: slider.value === "1" ? "" : slider.value }));
    const element = h("div.drawing", shows.element, h("label.slider", h("span", "Opacity"), slider));

    /** @param {URLSearchParams} query */
    function read(query) {
      const show = shows.read(query);
      const opacity = atlas.state.share(query.get("opacity"), 1);
      if (Number(slider.value) !== opacity || !slider.value) slider.value = String(opacity);
      return { show, opacity };
    }
    slider.value = "1";
    const keys = Object.fromEntries(Object.keys(SHOWS).map((show, place) => [place + 1, () => shows.choose(show)]));
    return { element, read, keys };
  }

  /**
   * The colours from a unit's low to its high.
   * @param {string} show @param {string} low @param {string} high
   */
  function scale(show, low, high) {
    return h(
      "span.scale",
      { title: "The unit’s scale: its mean over the run, and its highest value" },
      h(
        `span.ramp.${show}`,
        { "aria-hidden": "true" },
        h("i", { style: { background: atlas.colour.gradient(show !== "overlay") } }),
        show === "contour" ? atlas.maps.LEVELS.map((level) => h("b", { style: { left: `${level * 100}%` } })) : null,
      ),
      h("span.ends", h("span", low), h("span", high)),
    );
  }

  /** A command to copy. @param {string} command @param {string} what */
  function command(command, what) {
    const copier = button("button.small", "Copy", copy, { "aria-label": `Copy the command that ${what}` });
    const code = h("code", command);
    async function copy() {
      let done = false;
      try {
        await navigator.clipboard.writeText(command);
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      copier.textContent = done ? "Copied" : "Select it by hand";
      atlas.say(copier.textContent);
      setTimeout(() => {
        copier.textContent = "Copy";
      }, 1600);
    }
    return h("div.command", region(`The command that ${what}`, code), copier);
  }

  /** A short bar of a share. @param {number} share @param {string} [kind] */
  function bar(share, kind = "") {
    return h(
      `span.meter${kind ? `.${kind}` : ""}`,
      { "aria-hidden": "true" },
      h("i", { style: { width: `${text.clamp(share, 0, 1) * 100}%` } }),
    );
  }

  /**
   * The body of a long table, and a button that fills it where more than the first rows are there.
   * @param {(row: any) => HTMLElement} make @param {number} first
   */
  function rows(rows, make, first) {
    const body = h("tbody", rows.slice(0, first).map(make));
    if (rows.length <= first) return { body, more: null };
    const more = button("button.small.more", `Show all ${text.count(rows.length)}`, () => {
      body.append(...rows.slice(first).map(make));
      more.remove();
    });
    return { body, more };
  }

  const chip = (name, kind = "", title = "") => h(`span.chip${kind ? `.${kind}` : ""}`, title ? { title } : {}, name);

  /** A model's name, and whether it is a control. @param {number} model */
  const model = (model) => [
    atlas.names.name(run.models[model].name),
    run.models[model].control ? chip("control", "control") : null,
  ];

  atlas.parts = { picture, large, thumb, tile, choice, drawing, scale, command, bar, rows, chip, model };
})();
