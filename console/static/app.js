// Keys, and forms that are sent once. Every page works without it.
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
    const link = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === `${before} ${event.key}`);
    before = event.key === "g" ? "g" : "";
    if (link) link.click();
  });

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
