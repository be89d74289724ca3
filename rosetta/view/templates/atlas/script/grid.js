/**
 * A grid of thousands of cells of which only those in sight exist. Cells are as wide as the room divides, and rows are
 * all as high, so a cell's place follows from its number.
 */
(() => {
  const GAP = 16;
  /** Rows kept ready above and below what is in sight. */
  const AHEAD = 3;

  /**
   * @param {HTMLElement} room @param {number} narrowest pixels of a cell @param {number} below pixels under its square
   * @param {(item: any, place: number) => HTMLElement} make a cell with a link that can be focused
   */
  function grid(room, narrowest, below, make) {
    /** @type {any[]} */
    let items = [];
    /** @type {Map<number, HTMLElement>} */
    const cells = new Map();
    let columns = 1;
    let width = narrowest;
    room.classList.add("grid");
    room.setAttribute("role", "list");

    const pitch = () => width + below + GAP;

    function measure() {
      const whole = room.clientWidth;
      columns = Math.max(2, Math.floor((whole + GAP) / (narrowest + GAP)));
      width = (whole - GAP * (columns - 1)) / columns;
      room.style.height = `${Math.max(0, Math.ceil(items.length / columns) * pitch() - GAP)}px`;
    }

    function draw() {
      const top = room.getBoundingClientRect().top;
      const from = Math.max(0, Math.floor(-top / pitch()) - AHEAD) * columns;
      const to = Math.min(items.length, (Math.ceil((innerHeight - top) / pitch()) + AHEAD) * columns);
      for (const [place, cell] of cells) {
        if ((place < from || place >= to) && !cell.contains(document.activeElement)) {
          cell.remove();
          cells.delete(place);
        }
      }
      for (let place = from; place < to; place += 1) {
        if (!cells.has(place)) {
          const cell = make(items[place], place);
          cell.setAttribute("role", "listitem");
          cell.setAttribute("aria-setsize", String(items.length));
          cell.setAttribute("aria-posinset", String(place + 1));
          cells.set(place, cell);
          // In reading order, so that Tab goes on to the next one.
          let after = place + 1;
          while (after < to && !cells.has(after)) after += 1;
          room.insertBefore(cell, cells.get(after) ?? null);
        }
        const cell = cells.get(place);
        cell.style.width = `${width}px`;
        cell.style.height = `${width + below}px`;
        cell.style.translate = `${(place % columns) * (width + GAP)}px ${Math.floor(place / columns) * pitch()}px`;
      }
    }

    function set(given) {
      items = given;
      for (const cell of cells.values()) cell.remove();
      cells.clear();
      measure();
      draw();
    }

    /** Arrow keys go from cell to cell. @param {KeyboardEvent} event */
    function onKey(event) {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      const here = [...cells].find(([, cell]) => cell.contains(document.activeElement));
      if (here) focus(here[0] + step);
      event.preventDefault();
      event.stopPropagation();
    }

    /** @param {number} place */
    function focus(place) {
      if (place < 0 || place >= items.length) return;
      const y = room.getBoundingClientRect().top + Math.floor(place / columns) * pitch();
      if (y < 150) scrollBy({ top: y - 150, behavior: "instant" });
      else if (y + pitch() > innerHeight) scrollBy({ top: y + pitch() - innerHeight, behavior: "instant" });
      draw();
      cells.get(place)?.querySelector("a")?.focus({ preventScroll: true });
      draw();
    }

    let waiting = false;
    function onScroll() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        if (room.isConnected) draw();
      });
    }
    const sized = new ResizeObserver(() => {
      measure();
      draw();
    });
    room.addEventListener("keydown", onKey);
    addEventListener("scroll", onScroll, { passive: true });
    sized.observe(room);

    function leave() {
      removeEventListener("scroll", onScroll);
      sized.disconnect();
    }

    const enter = () => focus(0);
    return { set, leave, keys: { ArrowDown: enter, ArrowRight: enter } };
  }

  atlas.grid = grid;
})();
