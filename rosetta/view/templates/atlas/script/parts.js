/** Parts that several views are made of. */
(() => {
  const { h, text, run } = atlas;
  const ACROSS = 8;
  const SHOWS = ["overlay", "contour", "plain"];
  const SHOW_NAMES = { overlay: "Overlay", contour: "Contours", plain: "Map" };

  /**
   * Where a square lies within its sheet, as a background.
   * @param {string} folder images or cards
   * @param {number} place
   */
  function background(folder, place) {
    const within = place % run.per_sheet;
    return {
      "background-image": `url("${folder}/${Math.floor(place / run.per_sheet)}.webp")`,
      "background-position": `${((within % ACROSS) / (ACROSS - 1)) * 100}% ${(Math.floor(within / ACROSS) / (ACROSS - 1)) * 100}%`,
    };
  }

  /**
   * A square of a sheet.
   * @param {string} folder
   * @param {number} place
   * @param {string} label empty where text beside it says it all
   */
  function picture(folder, place, label) {
    const told = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
    return h("span.picture", { ...told, style: background(folder, place) });
  }

  /** An image that has a picture of its own, in a square. @param {number} image */
  const large = (image) =>
    h("span.picture.large", { "aria-hidden": "true", style: { "background-image": `url("pictures/${image}.webp")` } });

  const shown = new Set(run.shown);

  /**
   * An image with its number, a link where it has a file of its own.
   * @param {number} image
   */
  function thumb(image) {
    const inside = [picture("images", image, ""), h("small", {}, `image ${image}`)];
    return shown.has(image)
      ? h("a.thumb", { href: atlas.state.href(`image/${image}`) }, inside)
      : h("span.thumb", {}, inside);
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
   * @param {number} image @param {any} field @param {string} show @param {string} label
   * @param {HTMLElement} [below] the image; out of its sheet by default
   */
  function tile(image, field, show, label, below = picture("images", image, "")) {
    const canvas = h("canvas", { "aria-hidden": "true" });
    painters.set(canvas, () => atlas.maps.draw(canvas, field, show));
    seen.observe(canvas);
    return h(`span.tile.${show}`, { role: "img", "aria-label": label }, below, canvas);
  }

  /**
   * Links that look like a switch.
   * @param {string} label
   * @param {[string, string][]} choices value and text
   * @param {string} chosen
   * @param {(value: string) => void} onChoose
   */
  function choice(label, choices, chosen, onChoose) {
    return h(
      "div.choice",
      { role: "group", "aria-label": label },
      choices.map(([value, name]) =>
        h(
          "button",
          {
            type: "button",
            "data-value": value,
            "aria-pressed": String(value === chosen),
            onclick: () => onChoose(value),
          },
          name,
        ),
      ),
    );
  }

  /**
   * Mark what is chosen now.
   * @param {Element} group
   * @param {string} chosen
   */
  function choose(group, chosen) {
    for (const button of group.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.dataset.value === chosen));
  }

  /** How maps are shown: the switch and the slider, the same wherever there are maps. @param {URLSearchParams} query */
  function drawing(query) {
    const set = (/** @type {string} */ value) => atlas.state.patch({ show: value === SHOWS[0] ? "" : value });
    const group = choice(
      "How maps are drawn",
      SHOWS.map((show) => [show, SHOW_NAMES[show]]),
      "",
      set,
    );
    const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Opacity of the map" });
    slider.addEventListener("input", () => atlas.state.patch({ opacity: slider.value === "1" ? "" : slider.value }));
    const element = h("div.drawing", {}, group, h("label.slider", {}, h("span", {}, "Opacity"), slider));

    /** @param {URLSearchParams} asked */
    function read(asked) {
      const show = atlas.state.word(asked.get("show"), SHOWS);
      const opacity = atlas.state.share(asked.get("opacity"), 1);
      choose(group, show);
      if (Number(slider.value) !== opacity || !slider.value) slider.value = String(opacity);
      return { show, opacity };
    }
    slider.value = "1";
    read(query);
    return { element, read, keys: { 1: () => set(SHOWS[0]), 2: () => set(SHOWS[1]), 3: () => set(SHOWS[2]) } };
  }

  /**
   * The colours from a unit's low to its high.
   * @param {string} show
   * @param {number|null} low
   * @param {number|null} high
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
      h("span.ends", {}, h("span", {}, text.value(low)), h("span", {}, text.value(high))),
    );
  }

  /**
   * A command to copy.
   * @param {string} command
   * @param {string} what
   */
  function command(command, what) {
    const button = h(
      "button.small",
      { type: "button", "aria-label": `Copy the command that ${what}`, onclick: copy },
      "Copy",
    );
    const code = h("code", {}, command);
    async function copy() {
      let done = false;
      try {
        await navigator.clipboard.writeText(command);
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Select it by hand";
      atlas.say(button.textContent);
      setTimeout(() => {
        button.textContent = "Copy";
      }, 1600);
    }
    return h(
      "div.command",
      {},
      h("div.scroll", { tabindex: 0, role: "region", "aria-label": `The command that ${what}` }, code),
      button,
    );
  }

  /**
   * A short bar of a share.
   * @param {number} share
   * @param {string} [kind]
   */
  function bar(share, kind = "") {
    return h(
      `span.meter${kind ? `.${kind}` : ""}`,
      { "aria-hidden": "true" },
      h("i", { style: { width: `${text.clamp(share, 0, 1) * 100}%` } }),
    );
  }

  /**
   * Rows of a long table, the first of them until more are asked for.
   * @param {HTMLElement} body
   * @param {any[]} rows
   * @param {(row: any) => HTMLElement} make
   * @param {number} first
   */
  function rows(body, rows, make, first) {
    body.append(...rows.slice(0, first).map(make));
    if (rows.length <= first) return null;
    const button = h(
      "button.small.more",
      {
        type: "button",
        onclick: () => {
          body.append(...rows.slice(first).map(make));
          button.remove();
        },
      },
      `Show all ${text.count(rows.length)}`,
    );
    return button;
  }

  /**
   * A way to the one before and the one after.
   * @param {string} what
   * @param {string|null} before
   * @param {string|null} after
   */
  function steps(what, before, after) {
    const link = (/** @type {string|null} */ href, /** @type {string} */ label, /** @type {string} */ arrow) =>
      href
        ? h("a.round", { href, "aria-label": `${label} ${what}`, title: `${label} ${what}` }, arrow)
        : h("span.round.off", { "aria-hidden": "true" }, arrow);
    return h("span.steps", {}, link(before, "Previous", "←"), link(after, "Next", "→"));
  }

  /**
   * Keys for the same.
   * @param {string|null} before
   * @param {string|null} after
   */
  const stepKeys = (before, after) => ({
    ArrowLeft: () => {
      if (before) location.hash = before;
    },
    ArrowRight: () => {
      if (after) location.hash = after;
    },
  });

  const chip = (/** @type {string} */ name, /** @type {string} */ kind = "", /** @type {string} */ title = "") =>
    h(`span.chip${kind ? `.${kind}` : ""}`, title ? { title } : {}, name);

  atlas.parts = {
    background,
    picture,
    large,
    thumb,
    tile,
    choice,
    choose,
    drawing,
    scale,
    command,
    bar,
    rows,
    steps,
    stepKeys,
    chip,
  };
})();
