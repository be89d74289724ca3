// Before the first paint, so that a chosen theme does not flash. Storage may be shut, on a page read from disk say.
try {
  const chosen = localStorage.getItem("rosetta-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {}
