/** The pages of the models: what a script adds to figures that are there without one. */

import { $ } from "./dom.js";
import { walkable } from "./model-matrix.js";
import { sortable } from "./model-table.js";

for (const each of document.querySelectorAll("[data-scripted]")) each.hidden = false;
if ($("matrix")) walkable($("matrix"), $("matrix-says"), JSON.parse($("matrix-config").textContent));
if ($("class-table")) sortable($("class-table"));
