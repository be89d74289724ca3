/** The classes of images that a concept or a unit is selective for, and which others it confuses with them. */
(() => {
  const { h, text, run, parts, layout } = atlas;
  const KINDS = ["the class", "the one confused with it", "all others"];

  /** @param {{grid: ?number[], maps: ?string[]}} value @param {any} best */
  function meanMaps({ grid, maps }, best) {
    if (!grid) return null;
    const names = [best.label, best.confused, "all other classes"];
    const cells = maps.map((map, place) =>
      map
        ? h(
            "figure.one-map",
            parts.tile(0, atlas.maps.decode(map, grid), "plain", `Mean map over ${names[place]}`, h("span.picture")),
            h("figcaption", h("b", names[place]), h("small", `mean map over ${KINDS[place]}`)),
          )
        : null,
    );
    return h("div.row-of-maps.means", cells);
  }

  /** @param {any} row */
  const line = (row) =>
    h(
      "tr",
      h("th", { scope: "row" }, row.label),
      h("td.n", text.count(row.images)),
      h("td", parts.bar(row.auroc ?? 0), " ", text.r(row.auroc)),
      h("td.n", text.value(row.mean)),
      h("td", row.confused || "–"),
      h("td.n", text.r(row.confusion)),
      h("td.n", text.r(row.map_pearson ?? null)),
    );

  const HEADS = [
    ["class", ""],
    ["images", ""],
    ["AUROC", "Probability that an image of the class peaks higher than any other image; 0.5 is chance"],
    ["mean peak", "Over the images of the class"],
    ["confused with", "The other class whose images peak above those of the class most often"],
    ["how often", "Probability that an image of that class peaks above one of the class; 0.5 is no difference"],
    ["maps r", "Correlation of the mean maps of both classes"],
  ];

  /**
   * @param {any[]} rows classes, best first: label, images, auroc, mean, confused, confusion, map_pearson
   * @param {{grid: ?number[], maps: ?string[]}} maps mean maps of the first: over the class, the confused one, the others
   */
  function profile(rows, maps) {
    if (!rows.length) return null;
    const head = h(
      "tr",
      HEADS.map(([name, title]) => h("th", title ? { scope: "col", title } : { scope: "col" }, name)),
    );
    return layout.section(
      "section",
      "classes-title",
      "Classes",
      h(
        "p.intro",
        `The classes of images that it is most selective for among the ${text.count(run.images)} images of this run, and which class it takes for each most often.`,
      ),
      layout.region("Classes", h("table", h("thead", head), h("tbody", rows.map(line)))),
      meanMaps(maps, rows[0]),
    );
  }

  /** The profile of a concept; null where no class is known. @param {number} id */
  async function ofConcept(id) {
    const found = (await atlas.load("classes"))[id];
    return found ? profile(found.rows, found) : null;
  }

  atlas.classes = { profile, ofConcept };
})();
