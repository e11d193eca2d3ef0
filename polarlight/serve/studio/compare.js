// Two pictures held against each other: a slider, side by side, or their difference.

import { address } from "./api.js";
import { h } from "./elements.js";
import { openDialog } from "./dialogs.js";

/** Compare two tiles; `left` is the older. */
export function compare(left, right) {
  const [before, after] = [left, right].map((tile, number) =>
    h("img", { src: address(tile), alt: `${number ? "Right" : "Left"}: ${tile.prompt || "a picture"}, seed ${tile.seed ?? "unknown"}` }));
  const line = h("span", { class: "line", "aria-hidden": "true" });
  const board = h("div", { class: "compare-board", "data-way": "slider" }, before, after, line);
  board.style.setProperty("--ratio", left.width / left.height);
  const slide = (value) => board.style.setProperty("--cut", `${value}%`);
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the right picture is hidden", oninput: () => slide(slider.value) });
  slide(50);
  const drag = (event) => {
    if (board.dataset.way !== "slider" || (event.type === "pointermove" && !event.buttons)) return;
    const box = board.getBoundingClientRect();
    slider.value = ((event.clientX - box.left) / box.width) * 100;
    slide(slider.value);
  };
  board.addEventListener("pointerdown", drag);
  board.addEventListener("pointermove", drag);
  const ways = Object.entries({ slider: "Slider", side: "Side by side", difference: "Difference" }).map(([way, words]) =>
    h("label", { class: "option" },
      h("input", { type: "radio", name: "way", value: way, checked: way === "slider", onchange: () => {
        board.dataset.way = way;
        slider.hidden = way !== "slider";
      } }),
      h("span", {}, words)));
  const names = h("div", { class: "names" }, ...[left, right].map((tile) => h("p", {}, h("strong", {}, tile.prompt || "A picture"), ` seed ${tile.seed ?? "unknown"}`)));
  openDialog("Compare", [board, slider, h("fieldset", { class: "choice" }, h("legend", { class: "unseen" }, "How"), ways), names], { class: "compare" });
  slider.focus();
}
