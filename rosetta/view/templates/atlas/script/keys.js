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
    else if (event.key === "/") atlas.finder.focus();
    else {
      // A focused region scrolls by arrow keys.
      if (event.key.startsWith("Arrow") && document.activeElement?.closest(".scroll")) return;
      const action = atlas.current?.keys?.[event.key];
      if (!action) return;
      action();
    }
    event.preventDefault();
  });

  document.getElementById("example").textContent = atlas.names.examples()[0];
  document.getElementById("help").addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close();
  });

  // After the button's own script, which stands before this one, has turned it.
  document.getElementById("theme").addEventListener("click", () => {
    atlas.say(`${document.documentElement.dataset.theme} theme`);
  });
})();
