/** All images that can be opened. */
(() => {
  const { h, text, run, state, parts } = atlas;

  atlas.views.images = {
    title: () => "Images",
    async show(root) {
      const room = h("div", { "aria-label": "Images" });
      const all = run.shown.length === run.images;
      const kept = run.seen === run.images ? "of the run" : `that were kept of ${text.count(run.seen)}`;
      root.append(
        h(
          "section.wide",
          h("h1", { tabindex: -1 }, "Images"),
          h(
            "p.intro",
            all
              ? `All ${text.counted(run.images, "image")} ${kept}. `
              : `The ${text.count(run.shown.length)} of ${text.counted(run.images, "image")} ${kept} on which concepts are strongest. `,
            "Open one to see which concepts are strong where.",
          ),
          room,
        ),
      );
      const grid = atlas.grid(room, 104, 24, (image) => h("div.cell", parts.thumb(image)));
      grid.set(run.shown);
      return { leave: grid.leave, keys: grid.keys };
    },
  };
})();
