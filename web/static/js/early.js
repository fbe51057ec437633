// Runs before the first paint, so that a chosen theme does not flash.
(() => {
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const theme = kept("cleanbook.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
