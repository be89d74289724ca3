/**
 * The theme that was chosen before, set before anything is painted. Storage may be forbidden; then the system decides.
 */
try {
  const theme = localStorage.getItem("rosetta-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  /* no storage here */
}
