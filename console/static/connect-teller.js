// Opens Teller Connect and posts what it hands over, once.
"use strict";

(() => {
  const form = document.getElementById("teller");
  const cancel = document.getElementById("cancel");
  if (!window.TellerConnect) {
    document.getElementById("blocked").hidden = false;
    return;
  }
  const put = (name, value) => {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    form.append(field);
  };
  const connect = window.TellerConnect.setup({
    applicationId: form.dataset.application,
    environment: form.dataset.environment,
    nonce: form.dataset.nonce,
    ...(form.dataset.enrollment ? { enrollmentId: form.dataset.enrollment } : {}),
    products: ["transactions", "balance", "identity"],
    onSuccess: (given) => {
      put("access_token", given.accessToken);
      put("user_id", given.user.id);
      put("enrollment_id", given.enrollment.id);
      (given.signatures || []).forEach((one) => put("signature", one));
      form.requestSubmit();
    },
    onExit: () => cancel.requestSubmit(),
    onFailure: () => {
      cancel.elements.reason.value = "failed";
      cancel.requestSubmit();
    },
  });
  document.getElementById("open").addEventListener("click", () => connect.open());
  connect.open();
})();
