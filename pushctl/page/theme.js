// Runs before the first paint, so that a remembered choice does not flash; therefore no module.
"use strict";

(() => {
  const KEY = "pushcast-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // A browser may refuse storage; then the choice lasts as long as the page.
  const remembered = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const remember = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      /* as said above */
    }
  };
  let chosen = remembered();

  const isDark = () => (chosen === null ? dark.matches : chosen === "dark");

  function show() {
    if (chosen !== null) document.documentElement.dataset.theme = chosen;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark()));
    document.dispatchEvent(new Event("themechange"));
  }

  show();
  dark.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      chosen = isDark() ? "light" : "dark";
      remember(chosen);
      show();
    });
    show();
  });
})();
