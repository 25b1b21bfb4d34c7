// In the iframe: hands what came of signing in to the page around it, and to no page of another origin.
"use strict";
window.parent.postMessage(JSON.parse(document.body.dataset.result), document.body.dataset.origin);
