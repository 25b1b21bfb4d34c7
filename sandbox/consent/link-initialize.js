// Plaid Link's global over the sandbox: Plaid.create(options) gives {open, exit, submit, destroy}.
"use strict";
window.Plaid = (function () {
  const base = document.currentScript.src.replace(/\/link\/v2\/stable\/link-initialize\.js.*$/, "");
  const origin = new URL(base).origin;

  function create(options) {
    if (!options || !options.token || typeof options.onSuccess !== "function") {
      throw new Error("Plaid.create needs token and onSuccess");
    }
    let frame = null;

    function close() {
      window.removeEventListener("message", hear);
      if (frame) frame.remove();
      frame = null;
    }

    function call(name, ...values) {
      if (typeof options[name] === "function") options[name](...values);
    }

    function exit(error, metadata) {
      close();
      call("onEvent", error ? "ERROR" : "EXIT", metadata);
      call("onExit", error, metadata);
    }

    function hear(event) {
      if (!frame || event.source !== frame.contentWindow || event.origin !== origin) return;
      const told = event.data;
      if (told.kind === "oauth") {
        window.location.assign(told.url);
      } else if (told.kind === "success") {
        close();
        call("onEvent", "HANDOFF", told.metadata);
        call("onSuccess", told.public_token, told.metadata);
      } else {
        exit(told.error, told.metadata);
      }
    }

    function open() {
      if (frame) return;
      const query = new URLSearchParams({ token: options.token, origin: window.location.origin });
      if (options.receivedRedirectUri) {
        query.set("oauth_state_id", new URL(options.receivedRedirectUri).searchParams.get("oauth_state_id") || "");
      }
      frame = document.createElement("iframe");
      frame.title = "Plaid Link";
      frame.name = "plaid-link";
      frame.src = base + "/link/session?" + query;
      Object.assign(frame.style, {
        position: "fixed", inset: "0", width: "100%", height: "100%", border: "0", zIndex: "2147483647",
      });
      window.addEventListener("message", hear);
      document.body.append(frame);
      frame.focus();
      call("onEvent", "OPEN", { link_session_id: "" });
    }

    window.setTimeout(call, 0, "onLoad");
    return {
      open: open,
      exit: () => exit(null, { institution: null, status: null, link_session_id: "", request_id: "" }),
      submit: () => {},
      destroy: close,
    };
  }

  return { create: create };
})();
