/** All notes: what is starred, named or noted, and the way of notes into a file and out of one. */
(() => {
  const { h, text, run, notes, layout } = atlas;

  function exporter() {
    const author = h("input", { type: "text", maxlength: notes.LIMITS.name, placeholder: "Your name" });
    author.setAttribute("aria-label", "Your name, as author of the notes");
    author.value = notes.author.get();
    author.addEventListener("input", () => notes.author.set(author.value));
    const name = `notes-${run.name.replace(/[^\w-]+/g, "-").slice(0, 60)}.json`;
    const save = () => atlas.csv.download(name, `${notes.written(author.value.trim())}\n`, "application/json");
    return [author, layout.button("button.small", "Export", save, { "data-act": "export" })];
  }

  /** @param {() => void} done */
  function importer(done) {
    const told = h("p.told", { role: "status" });
    const file = h("input", { type: "file", accept: ".json,application/json", "aria-label": "File of notes" });
    file.hidden = true;
    /** @param {string} content @param {boolean} anyway */
    function take(content, anyway) {
      try {
        const count = notes.read(content, anyway);
        told.replaceChildren(`${text.counted(count, "note")} taken; the rest were here already, or older.`);
        done();
      } catch (error) {
        const again = () => take(content, true);
        told.replaceChildren(
          `${error.message} `,
          error.foreign ? layout.button("button.small", "Take them anyway", again) : "",
        );
      }
    }
    file.addEventListener("change", async () => {
      const [chosen] = file.files;
      if (!chosen) return;
      if (chosen.size > notes.LIMITS.bytes) told.textContent = "This file is larger than 4 MiB: no file of notes.";
      else take(await chosen.text(), false);
      file.value = "";
    });
    return { button: [layout.button("button.small", "Import…", () => file.click(), { "data-act": "import" }), file], told };
  }

  atlas.views.notes = {
    title: () => "Notes",
    async show(root) {
      const concepts = await atlas.load("concepts");
      const shelf = h("div.shelf");
      const none = h("p.none", "Nothing is starred or named yet: the star on a card, and the fields at the top of a concept, do so.");
      function fill() {
        const noted = notes.noted();
        shelf.replaceChildren(...noted.map((id) => atlas.cards.card(concepts, concepts.id.indexOf(id))));
        none.hidden = noted.length > 0;
      }
      const taking = importer(fill);
      root.append(
        h(
          "section.wide.notes-page",
          h("h1", { tabindex: -1 }, "Notes"),
          h(
            "p.intro",
            "What you star, name and note stays in this browser, for this dictionary. A file takes it to others, and ",
            h("code", `rosetta notes ${text.shell(run.root)} FILE.json`),
            " merges files into the run, where everyone who opens its page sees them.",
          ),
          notes.isKept() ? null : h("p.notice", "This browser keeps nothing for this page: export before you close it."),
          h("div.options", exporter(), taking.button),
          taking.told,
          shelf,
          none,
        ),
      );
      fill();
    },
  };
})();
