"use strict";
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("rosetta-theme", root.dataset.theme); } catch {}
  });
}

const form = document.getElementById("filter");
if (form) {
  // The last is there when matches were judged.
  const { q, r, n, t } = form.elements;
  const output = form.querySelector("output");
  const shown = form.querySelector(".shown");
  const nothing = document.getElementById("nothing");
  const cards = [...document.querySelectorAll(".card")];
  // As a slider writes it: 0.1, whatever its page says.
  const least = String(Number(r.min));
  let texts = null;
  let waiting = 0;

  const size = () => Number(n.value) || 1;

  const apply = () => {
    const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    // Read once, and only when someone searches.
    if (words.length && !texts) texts = cards.map(card => card.textContent.replace(/\s+/g, " ").toLowerCase());
    const bound = r.value === least ? -Infinity : Number(r.value) - 1e-9;
    let count = 0;
    cards.forEach((card, index) => {
      const strong = bound === -Infinity || Number(card.dataset.r) >= bound;
      const kept = !t?.checked || card.dataset.t === "1";
      const passes = strong && kept && Number(card.dataset.n) >= size() && words.every(word => texts[index].includes(word));
      card.hidden = !passes;
      count += passes;
    });
    output.textContent = Number(r.value).toFixed(2).replace("-", "−");
    shown.innerHTML = `<b>${count.toLocaleString("en")}</b> of ${cards.length.toLocaleString("en")}`;
    nothing.hidden = count > 0;
  };

  const remember = () => {
    const state = new URLSearchParams();
    if (q.value.trim()) state.set("q", q.value.trim());
    if (r.value !== least) state.set("r", r.value);
    if (size() > 1) state.set("n", String(size()));
    if (t?.checked) state.set("t", "1");
    try { history.replaceState(null, "", String(state) ? `#${state}` : location.pathname + location.search); } catch {}
  };

  const recall = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    // Any other fragment is a place on the page.
    if (![...state.keys()].every(key => ["q", "r", "n", "t"].includes(key))) return;
    q.value = state.get("q") ?? "";
    r.value = state.get("r") ?? least;
    n.value = state.get("n") ?? "1";
    if (t) t.checked = state.get("t") === "1";
  };

  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { apply(); remember(); }, 60);
  });
  document.getElementById("reset").addEventListener("click", () => { form.reset(); apply(); remember(); });
  addEventListener("hashchange", () => { recall(); apply(); });
  form.hidden = false;
  recall();
  apply();
}
