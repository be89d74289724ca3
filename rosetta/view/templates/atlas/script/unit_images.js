/** The images of a unit under its maps, and under those of the units nearest to it in other models. */
(() => {
  const { h, text, run, state, parts, names, layout } = atlas;
  const TOP = "Where it is strongest";
  const BANDS = [
    ["Strong", "90th percentile of the peaks"],
    ["Middling", "median"],
    ["Weak", "10th percentile"],
  ];

  /** An image from a file of its own: the few that a unit shows lie in too many sheets. @param {number} image */
  const small = (image) =>
    h("span.picture.large", { "aria-hidden": "true", style: { "background-image": `url("thumbs/${image}.webp")` } });

  const shown = new Set(run.shown);

  /** An image, a link where it has a file of its own. @param {number} image @param {any} picture @param {string} note */
  function linked(image, picture, note) {
    const index = names.imageIndex(image);
    const inside = [picture, h("small", `image ${index}`), note ? h("small.peak", note) : null];
    return shown.has(image)
      ? h("a.thumb", { href: state.href(`image/${index}`) }, inside)
      : h("span.thumb", inside);
  }

  /** What is said of images where not all can be shown, or not all maps. @param {any} unit */
  function told(unit) {
    const kept =
      run.seen === run.images
        ? ""
        : `Of the ${text.count(run.images)} images whose maps were kept; statistics are over all ${text.count(run.seen)}. `;
    const few =
      unit.maps.length < unit.images.length
        ? `This unit takes part in no match, so the maps of only ${text.counted(unit.maps.length, "image")} are kept here. `
        : "";
    return `${kept}${few}Every map is drawn on the unit’s own scale, from its mean over the run to its highest value; where it is finer than the picture, each part shows its highest value. Below each image is the peak of the unit there.`;
  }

  /**
   * The strongest images, and those further down in the order of their peaks.
   * @param {any} unit of `unit/<m>.<l>.<n>`
   * @param {number[][]} rows of each its first place in the order by peaks, and the one after its last
   */
  function bands(unit, rows) {
    const room = rows.map(() => h("div.strip"));
    const scale = h("div.unit-scale");
    const ranks = ([from, to]) => `ranks ${from + 1} to ${to} of ${text.count(run.images)}`;
    const band = (title, about, row) =>
      h("div.band", h("h3", title, " ", h("small", `${about}, ${ranks(rows[row])}`)), room[row]);
    const element = layout.section(
      "section",
      "top-title",
      TOP,
      h("p.intro", told(unit)),
      scale,
      room[0],
      h("div.bands", BANDS.map(([title, about], place) => band(title, about, place + 1))),
    );

    /** @param {string} show */
    function draw(show) {
      scale.replaceChildren(parts.scale(show, text.value(unit.mean), text.value(unit.maximum)));
      let from = 0;
      rows.forEach(([start, end], row) => {
        const first = from;
        from += end - start;
        const tiles = unit.images.slice(first, from).map((image, step) => {
          const map = unit.maps[first + step];
          const field = map ? atlas.maps.decode(map, unit.grid) : null;
          const said = `Its map over image ${names.imageIndex(image)}`;
          return linked(
            image,
            parts.tile(image, field, show, map ? said : "Its map is not kept", small(image)),
            text.value(unit.peaks[first + step]),
          );
        });
        room[row].replaceChildren(...tiles);
      });
    }
    return { element, draw };
  }

  /**
   * Over the unit's strongest images, its maps beside those of the nearest unit in each other model.
   * @param {any} unit @param {string} name of the unit's model @param {number[]} others in the order of the columns
   */
  function sideBySide(unit, name, others) {
    const columns = others.filter((other) => unit.near_maps[other]);
    if (!columns.length || !unit.maps.length) return null;
    const room = h("div");
    const images = unit.images.slice(0, unit.near_maps[columns[0]].maps.length);

    /** @param {string} show */
    function draw(show) {
      const head = (title, link, note, low, high) =>
        h(
          "span.col",
          { role: "columnheader" },
          names.name(title, "bdi.clip.strong"),
          link,
          h("small", note),
          parts.scale(show, text.value(low), text.value(high)),
        );
      const cell = (image, map, grid, of) => {
        const label = `${of} over image ${names.imageIndex(image)}`;
        const field = map ? atlas.maps.decode(map, grid) : null;
        return h("span.col", { role: "cell" }, parts.tile(image, field, show, label, small(image)));
      };
      const header = h(
        "div.row.head",
        { role: "row" },
        h("span.col", { role: "columnheader" }, "Image"),
        head(name, null, "this unit", unit.mean, unit.maximum),
        columns.map((other) => {
          const [near, pearson, mutual] = unit.near[other][0];
          const { low, high } = unit.near_maps[other];
          const title = run.models[other].control ? `${run.models[other].name} (control)` : run.models[other].name;
          return head(title, names.unitLink(other, near), `r ${text.r(pearson)}${mutual ? ", mutual" : ""}`, low, high);
        }),
      );
      const rows = images.map((image, row) =>
        h(
          "div.row",
          { role: "row", "data-image": image },
          h("span.col", { role: "cell" }, linked(image, small(image), "")),
          cell(image, unit.maps[row], unit.grid, name),
          columns.map((other) => {
            const { grid, maps } = unit.near_maps[other];
            return cell(image, maps[row], grid, run.models[other].name);
          }),
        ),
      );
      const about = { role: "table", "aria-label": "Maps of this unit and of its nearest ones over the same images" };
      const style = { "--columns": columns.length + 2 };
      room.replaceChildren(layout.region("Maps side by side", h("div.dictionary", { ...about, style }, header, rows)));
    }
    return { element: room, draw };
  }

  atlas.unitImages = { bands, sideBySide };
})();
