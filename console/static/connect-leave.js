// Leaves for the provider without leaving this page in the history: the back button leads to the choice.
"use strict";
location.replace(document.querySelector("[data-leave]").href);
