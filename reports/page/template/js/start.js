// Everything that the page does begins here.

function startTheme() {
  const button = byId("theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const say = () => button.setAttribute("aria-pressed", dark() ? "true" : "false");
  button.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("histods-theme", next); } catch { /* the browser keeps nothing for files */ }
    say();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h("textarea", { class: "offscreen", "aria-hidden": "true" });
    field.value = text;
    (document.querySelector("dialog[open]") || document.body).append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
  return true;
}

function startCopying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.getAttribute("aria-label");
    const said = (await copyText(button.dataset.copy)) ? "Copied" : "Select and copy";
    button.textContent = said;
    button.setAttribute("aria-label", said);
    setTimeout(() => {
      button.textContent = "Copy";
      button.setAttribute("aria-label", label);
    }, 1500);
  });
}

function startNavigation() {
  const bar = document.querySelector("nav");
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link, name) => {
        if (name === entry.target.id) {
          link.setAttribute("aria-current", "true");
          bar.scrollLeft = link.offsetLeft - bar.offsetLeft - 24;
        } else link.removeAttribute("aria-current");
      });
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

function startOverview() {
  const node = document.querySelector('[data-chart="roles"]');
  if (!node) return;
  const colours = { conditional: "#0072b2", unconditional: "#56b4e9", excluded: "#d55e00" };
  const parts = data.overview.roles.map((one) => ({ ...one, colour: colours[one.name], text: `${whole.format(one.value)} ${one.name}` }));
  const inner = h("div");
  node.replaceChildren(inner, legend(parts));
  stacks(inner, "Samples by role", [{ name: "samples", parts }], false);
}

function startGalleries() {
  const { galleries } = data.thumbnails;
  document.querySelectorAll("#thumbnails [data-gallery]").forEach((node, place) =>
    gallery(node, galleries[place].cards, { code: galleries[place].code }));
  document.querySelectorAll("[data-toolbar]").forEach((node) => toolbar(node, Boolean(node.closest("#classes"))));
}

addEventListener("beforeprint", () => { for (const node of [...waiting.keys()]) begin(node); });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", hideTip, { passive: true });

startTheme();
startCopying();
startNavigation();
startOverview();
startViewer();
startGalleries();
startClasses();
startSplit();
startRuns();
startFindings().catch(() => {
  byId("finding-count").textContent = "This table needs a newer browser; 'histods show' lists the same.";
});
