// Keys, colours by choice, and forms that are sent once. Every page works without it.
"use strict";

(() => {
  let before = "";
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) {
        event.preventDefault();
        search.focus();
      }
      return;
    }
    if (event.key === "?") {
      const keys = document.getElementById("keys");
      if (keys && !keys.open) keys.showModal();
      return;
    }
    const link = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === `${before} ${event.key}`);
    before = event.key === "g" ? "g" : "";
    if (link) link.click();
  });

  document.querySelectorAll("[data-dialog]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => document.getElementById(button.dataset.dialog).showModal());
  });

  const THEMES = ["auto", "light", "dark"];
  document.querySelectorAll("[data-theme-choice]").forEach((button) => {
    const root = document.documentElement;
    const show = (theme) => {
      if (theme === "auto") delete root.dataset.theme;
      else root.dataset.theme = theme;
      button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
      button.setAttribute("aria-label", `Colours: ${theme}`);
    };
    button.hidden = false;
    show(root.dataset.theme || "auto");
    button.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
      show(next);
      try {
        localStorage.setItem("theme", next);
      } catch {
        // A browser that keeps nothing shows the choice on this page.
      }
    });
  });

  const here = document.querySelector("nav [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    const sure = event.submitter && event.submitter.dataset.sure;
    if (sure && !window.confirm(sure)) {
      event.preventDefault();
      return;
    }
    if ((form.method || "").toLowerCase() === "post") form.dataset.sent = "yes";
  });

  // A page that comes back from the browser's memory may be sent again.
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
  });

  // Parts that show progress ask for themselves again until they say that they are done.
  document.querySelectorAll("[data-refresh]").forEach((part) => {
    const again = async () => {
      try {
        const answer = await fetch(part.dataset.refresh, { headers: { accept: "text/html" } });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(part.id);
          if (fresh) {
            part.replaceChildren(...fresh.childNodes);
            if (!("refresh" in fresh.dataset)) return;
          }
        }
      } catch {
        // The network is gone for a moment; the next try tells.
      }
      setTimeout(again, 1500);
    };
    setTimeout(again, 1500);
  });
})();
