// Before anything is painted: the colours that were chosen last time.
try {
  const chosen = localStorage.getItem("histods-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* the browser keeps nothing for files */ }
