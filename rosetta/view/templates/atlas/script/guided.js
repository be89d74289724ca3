/** The inversions and edits that were made of the run, each a page of its own. */
(() => {
  const { h, run, layout, text } = atlas;

  /** @param {string} kind @param {string} title */
  function listed(kind, title) {
    const some = run.guided.filter((one) => one.kind === kind);
    if (!some.length) return null;
    const items = some.map((one) => h("li", h("a", { href: one.address }, h("bdi", one.name))));
    return layout.section("section", `${kind}-title`, title, h("ul.pages", items));
  }

  atlas.views.guided = {
    title: () => "Guided",
    async show(root) {
      root.append(
        h(
          "div.wide",
          h("h1", { tabindex: -1 }, "Inversions and edits"),
          h(
            "p.intro",
            "Images of the generator that were searched or changed by its matches. ",
            h("code", `rosetta invert ${text.shell(run.root)} 7`),
            " and ",
            h("code", "rosetta edit"),
            " make them.",
          ),
          listed("inversion", "Inversions"),
          listed("edit", "Edits"),
          run.guided.length ? null : h("p.none", "There are none yet."),
        ),
      );
    },
  };
})();
