/** The keyboard, the help and the theme. */
(() => {
  const help = /** @type {HTMLDialogElement} */ (document.getElementById("keys"));

  /** Whether keys belong to what is focused. @param {Element|null} element */
  const typing = (element) =>
    element instanceof HTMLElement && (element.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName));

  addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.defaultPrevented ||
      help.open ||
      typing(document.activeElement)
    )
      return;
    if (event.key === "?") help.showModal();
    else if (event.key === "/") {
      if (atlas.state.read().view !== "concepts") location.hash = "#/concepts";
      atlas.wantsSearch = true;
      atlas.focusSearch();
    } else {
      // A focused region scrolls by arrow keys.
      if (event.key.startsWith("Arrow") && document.activeElement?.closest(".scroll")) return;
      const action = atlas.current?.keys?.[event.key];
      if (!action) return;
      action();
    }
    event.preventDefault();
  });

  /** Into the search field, now or as soon as it is there. */
  atlas.focusSearch = () => {
    const field = /** @type {HTMLInputElement|null} */ (document.querySelector("main input[type=search]"));
    if (!field || !atlas.wantsSearch) return;
    atlas.wantsSearch = false;
    field.focus();
    field.select();
  };

  document.getElementById("example").textContent = atlas.names.examples()[0];
  document.getElementById("help").addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close();
  });

  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    atlas.say(`${root.dataset.theme} theme`);
    try {
      localStorage.setItem("rosetta-theme", root.dataset.theme);
    } catch {
      /* it holds for this visit */
    }
  });
})();
