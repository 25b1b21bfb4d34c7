// Teller Connect's global over the sandbox: TellerConnect.setup(options) gives {open, close, destroy}.
"use strict";
window.TellerConnect = (function () {
  const base = document.currentScript.src.replace(/\/connect\/connect\.js.*$/, "");
  const origin = new URL(base).origin;

  function setup(options) {
    if (!options || !options.applicationId || typeof options.onSuccess !== "function") {
      throw new Error("TellerConnect.setup needs applicationId and onSuccess");
    }
    let frame = null;

    function close() {
      window.removeEventListener("message", hear);
      if (frame) frame.remove();
      frame = null;
    }

    function call(name, value) {
      if (typeof options[name] === "function") options[name](value);
    }

    function hear(event) {
      if (!frame || event.source !== frame.contentWindow || event.origin !== origin) return;
      close();
      if (event.data.kind === "success") call("onSuccess", event.data.enrollment);
      else if (event.data.kind === "failure") call("onFailure", event.data.failure);
      else call("onExit");
    }

    function open() {
      if (frame) return;
      const query = new URLSearchParams({
        origin: window.location.origin,
        environment: options.environment || "production",
      });
      if (options.nonce) query.set("nonce", options.nonce);
      if (options.enrollmentId) query.set("enrollment_id", options.enrollmentId);
      frame = document.createElement("iframe");
      frame.title = "Teller Connect";
      frame.name = "teller-connect";
      frame.src = base + "/connect/" + encodeURIComponent(options.applicationId) + "?" + query;
      Object.assign(frame.style, {
        position: "fixed", inset: "0", width: "100%", height: "100%", border: "0", zIndex: "2147483647",
      });
      window.addEventListener("message", hear);
      document.body.append(frame);
      frame.focus();
    }

    call("onInit");
    return { open: open, close: close, destroy: close };
  }

  return { setup: setup };
})();
