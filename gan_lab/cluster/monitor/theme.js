// Dark where JupyterLab around us is, or, outside of it, where the reader wants it; `framed` within it.
(() => {
  const lab = (() => { try { return window.parent.document.body.dataset; } catch { return {}; } })();
  document.documentElement.classList.toggle("framed", window.self !== window.top);
  const night = matchMedia("(prefers-color-scheme: dark)");
  const wear = () => document.documentElement.classList.toggle("dark",
    lab.jpThemeLight ? lab.jpThemeLight === "false" : night.matches);
  wear();
  night.onchange = wear;
  if (lab.jpThemeLight) new MutationObserver(wear).observe(window.parent.document.body, { attributeFilter: ["data-jp-theme-light"] });
})();
