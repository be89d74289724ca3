/** From the address to the view. */
(() => {
  const { h, run, state } = atlas;
  const main = document.getElementById("main");
  /** What is shown: its place in the address, and what its view returned. */
  let place = "";
  let turn = 0;
  /** @type {Map<string, number>} how far down each address was read */
  const depths = new Map();
  let clicked = true;

  /** @param {unknown} error */
  function failed(error) {
    return h(
      "section.wide.failed",
      h("h1", { tabindex: -1 }, "Not here"),
      h("p", error instanceof Error ? error.message : String(error)),
      h("p", h("a", { href: "#/overview" }, "To the overview")),
    );
  }

  async function route() {
    const now = state.read();
    const next = state.join(now.view, ...now.path);
    atlas.finder.read(now);
    if (next === place) {
      atlas.current?.update?.(now);
      return;
    }
    const isFirst = place === "";
    place = next;
    turn += 1;
    const mine = turn;
    const restore = clicked ? 0 : (depths.get(location.hash) ?? 0);
    const held = document.activeElement?.id ?? "";
    clicked = false;
    atlas.current?.leave?.();
    atlas.current = null;
    const root = h("div.view", { "data-view": now.view });
    main.replaceChildren(root);
    main.setAttribute("aria-busy", "true");
    const view = Object.hasOwn(atlas.views, now.view) ? atlas.views[now.view] : null;
    for (const link of document.querySelectorAll("header [data-view]")) {
      link.toggleAttribute("aria-current", link.getAttribute("data-view").split(" ").includes(now.view));
      if (!link.hasAttribute("aria-current")) continue;
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    let shown = null;
    let title = "Not here";
    try {
      if (!view) throw new Error(`the atlas has no view “${now.view}”`);
      const called = view.title(now);
      document.title = `${called} · ${run.name}`;
      await atlas.notes.ready();
      shown = await view.show(root, now);
      title = called;
    } catch (error) {
      if (mine === turn) {
        root.replaceChildren(failed(error));
        document.title = `${title} · ${run.name}`;
      }
    }
    if (mine !== turn) {
      shown?.leave?.();
      return;
    }
    atlas.current = shown;
    // The address may have changed while data were on their way.
    shown?.update?.(state.read());
    main.removeAttribute("aria-busy");
    scrollTo({ top: restore, behavior: "instant" });
    if (!isFirst) {
      atlas.say(title);
      // Who was at a select stays there; others begin at the new heading.
      const again = held && main.querySelector(`#${CSS.escape(held)}`);
      /** @type {HTMLElement|null} */ (again || main.querySelector("h1"))?.focus({ preventScroll: true });
    }
  }

  atlas.refresh = () => {
    atlas.finder.read(state.read());
    atlas.current?.update?.(state.read());
  };
  if ("scrollRestoration" in history) history.scrollRestoration = "manual";
  addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("a[href^='#/']")) clicked = true;
  });
  addEventListener(
    "scroll",
    () => {
      if (!main.hasAttribute("aria-busy")) depths.set(location.hash, scrollY);
    },
    { passive: true },
  );
  addEventListener("hashchange", () => {
    route();
  });
  // The one link that is no place of the atlas: its address would be taken for one.
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document
    .querySelector("footer")
    .append(h("p", "Made with ", h("code", run.command)), h("p", "Fingerprint ", h("code", run.fingerprint)));
  route();
})();
