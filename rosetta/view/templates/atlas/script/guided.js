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
      const about = "Those that were there when this page was written; ";
      root.append(
        h(
          "div.wide",
          h("h1", { tabindex: -1 }, "Inversions and edits"),
          h("p.intro", about, h("code", `rosetta report ${text.shell(run.root)}`), " writes it again."),
          listed("inversion", "Inversions"),
          listed("edit", "Edits"),
          run.guided.length ? null : h("p.none", "There were none."),
        ),
      );
    },
  };
})();
