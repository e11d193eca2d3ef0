// The keyboard: every action has a key, and "?" shows them all.

import { h } from "./elements.js";
import { openDialog } from "./dialogs.js";

export const KEYS = [
  ["Make", [["/", "Go to the prompt"], ["Enter", "Create, in the prompt"], ["S", "Stop"], ["Q", "Change the mode"], ["K", "Lock the seed, or let it go"], ["N", "Add a picture to start from"]]],
  ["Pictures", [["Arrow keys", "Move"], ["Enter", "Open"], ["F", "Favourite"], ["M", "More like this"], ["L", "Less like this"], ["E", "Edit with a brush"], ["U", "Use its settings"], ["R", "Use its settings with a new seed"], ["C", "Copy as command line, Python or curl"], ["D", "Download"], ["P", "See and change its plan"], ["Z", "Upscale"], ["V", "Make a video"], ["Delete", "Remove"]]],
  ["Choose", [["X", "Choose, or choose no longer"], ["Shift + arrow", "Choose a range"], ["A", "Choose all that are loaded"], ["B", "Compare two"], ["Escape", "Choose nothing"]]],
  ["Go", [["1", "Stream"], ["2", "History"], ["3", "Favourites"], ["G", "Search"], ["T", "Dark or light"], ["?", "This sheet"]]],
];

export function showShortcuts() {
  const parts = KEYS.map(([title, keys]) =>
    h("section", {}, h("h3", {}, title),
      h("dl", {}, keys.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))))));
  openDialog("Keyboard", [h("div", { class: "sheet", tabindex: 0, role: "group", "aria-label": "Shortcuts" }, parts)], { class: "shortcuts" });
}

/** Listen for keys outside of text fields and dialogs; `run` maps a key to what it does. */
export function listen(run, grid) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select")) return;
    const inGrid = event.target.closest(".grid");
    if (inGrid && !event.ctrlKey && !event.metaKey && grid.key(event)) return;
    if (event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" && !event.target.classList.contains("tile")) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(name in run)) return;
    event.preventDefault();
    run[name]();
  });
}
