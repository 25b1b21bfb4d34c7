// Opens Plaid Link, or goes on with it after a bank's own page, and posts the public token, once.
"use strict";

(() => {
  const form = document.getElementById("plaid");
  const cancel = document.getElementById("cancel");
  if (!window.Plaid) {
    document.getElementById("blocked").hidden = false;
    return;
  }
  const link = window.Plaid.create({
    token: form.dataset.token,
    ...(form.dataset.returned ? { receivedRedirectUri: window.location.href } : {}),
    onSuccess: (publicToken) => {
      form.elements.public_token.value = publicToken;
      form.requestSubmit();
    },
    onExit: (error) => {
      cancel.elements.reason.value = error ? "failed" : "";
      cancel.requestSubmit();
    },
  });
  document.getElementById("open").addEventListener("click", () => link.open());
  link.open();
})();
