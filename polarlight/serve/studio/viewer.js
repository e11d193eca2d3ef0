// One picture, large, with everything that can be done to it and where it came from.

import { address } from "./api.js";
import { button, h } from "./elements.js";
import { lineage } from "./lineage.js";
import { imageModel, planned, server, upscaler, videoModel } from "./state.js";

export class Viewer {
  /** actions: what can be done to a tile; neighbour(step): the tile before or after in the grid, or null. */
  constructor(actions, neighbour) {
    this.actions = actions;
    this.neighbour = neighbour;
  }

  get tile() {
    return this.dialog?.open ? this.shown : null;
  }

  open(tile, onclose) {
    if (this.dialog?.open) return this.show(tile);
    this.stage = h("div", { class: "viewer-stage" });
    this.panel = h("div", { class: "viewer-panel" });
    this.dialog = h("dialog", { class: "viewer", "aria-label": "Picture", onkeydown: (event) => this.key(event) }, this.stage, this.panel);
    this.dialog.addEventListener("close", () => (this.dialog.remove(), onclose()));
    document.body.append(this.dialog);
    this.show(tile);
    this.dialog.showModal();
    this.dialog.querySelector(".close").focus();
  }

  close() {
    this.dialog?.close();
  }

  show(tile) {
    this.shown = tile;
    const video = tile.content_type.startsWith("video/");
    const media = video
      ? h("video", { src: address(tile), controls: true, loop: true, autoplay: !matchMedia("(prefers-reduced-motion: reduce)").matches })
      : h("img", { src: address(tile), alt: tile.prompt || "A picture" });
    media.style.aspectRatio = `${tile.width} / ${tile.height}`;
    media.style.setProperty("--ratio", tile.width / tile.height);
    const had = this.dialog.contains(document.activeElement) ? (document.activeElement.dataset.act ?? "close") : null;
    const step = (name, label, by) => button(name, label, () => this.step(by), { class: `icon-button step ${name}`, "data-act": name });
    this.stage.replaceChildren(step("left", "Previous picture", -1), media, step("right", "Next picture", 1));
    this.panel.replaceChildren(this.head(tile), this.words(tile), this.facts(tile), this.doings(tile), this.folder(tile), this.family(tile));
    if (had) this.dialog.querySelector(`[data-act="${had}"]`)?.focus();
  }

  head(tile) {
    const { favourite, download, remove } = this.actions;
    return h("header", { class: "viewer-head" },
      button("heart", tile.favourite ? "No longer a favourite" : "Favourite", () => favourite(tile), { "aria-pressed": String(tile.favourite), "data-act": "favourite", class: "icon-button heart" }),
      button("download", "Download", () => download([tile]), { "data-act": "download" }),
      button("copy", "Copy as command line, Python or curl", () => this.actions.copy(tile), { "data-act": "copy" }),
      button("trash", "Remove", () => remove([tile]), { "data-act": "remove" }),
      button("close", "Close", () => this.close(), { class: "icon-button close", "data-act": "close" }));
  }

  words(tile) {
    const without = tile.negative_prompt ? h("p", { class: "hint" }, `Without ${tile.negative_prompt}`) : null;
    return h("div", { class: "viewer-words" }, h("p", { class: "viewer-prompt" }, tile.prompt || "No prompt is known."), without);
  }

  facts(tile) {
    const made = new Date(tile.created_at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const facts = { Seed: tile.seed ?? "unknown", Size: `${tile.width} × ${tile.height}`, Mode: tile.mode, Model: tile.model, Made: made };
    return h("dl", { class: "facts" }, Object.entries(facts).filter(([, value]) => value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
  }

  doings(tile) {
    const { more, less, edit, compare, plan, upscale, video, use, moreTip, lessTip } = this.actions;
    const model = imageModel();
    const still = tile.content_type.startsWith("image/");
    const edits = still && model?.tasks.includes("edit");
    const enlarger = upscaler();
    const maker = videoModel();
    return h("div", { class: "doings" },
      doing("again", "Use settings", () => use(tile, true), true, "Prompt, seed and shape go back into the prompt bar."),
      doing("tune", "Same, new seed", () => use(tile, false), true, "Everything but the seed goes back into the prompt bar."),
      doing("plus", "More like this", () => more(tile), still && model !== null, moreTip()),
      doing("minus", "Less like this", () => less(tile), true, lessTip()),
      doing("brush", "Edit", () => edit(tile), edits, edits ? "Paint what may change, and say how." : "The loaded model cannot edit."),
      doing("layout", "Plan", () => plan(tile), planned(tile), planned(tile) ? "See what stands where, move it, and draw again." : "The loaded model draws without plans."),
      doing("compare", "Compare", () => compare(tile), still, "Hold it against the picture it came from, or the one before it."),
      doing("larger", "Upscale", () => upscale(tile), still && enlarger !== null, enlarger ? "Twice as high and wide, by a network that keeps edges sharp." : "No loaded model offers upscaling."),
      doing("video", "Make a video", () => video(tile), still && maker !== null, maker ? `The first frame of a clip by ${maker.name}.` : "No video model is loaded."));
  }

  folder(tile) {
    const options = [h("option", { value: "" }, "No folder"), ...server.folders.map((each) => h("option", { value: each.id }, each.name))];
    const element = h("select", { onchange: () => this.actions.move([tile], element.value || null) }, options);
    element.value = tile.folder_id ?? "";
    return h("label", { class: "field" }, h("span", {}, "Folder"), element);
  }

  family(tile) {
    const place = h("section", { class: "family" }, h("h3", {}, "Lineage"), h("p", { class: "hint" }, "Looking…"));
    lineage(tile, (other) => this.show(other)).then(
      (found) => place.lastChild.replaceWith(found),
      (error) => (place.lastChild.textContent = error.message),
    );
    return place;
  }

  step(by) {
    const tile = this.neighbour(by);
    if (tile) this.show(tile);
  }

  key(event) {
    if (event.target.closest("select, input, .lineage") || event.ctrlKey || event.metaKey || event.altKey) return;
    const { favourite, more, less, edit, use, download, copy, plan, upscale, video, remove, compare } = this.actions;
    const tile = this.shown;
    const run = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), f: () => favourite(tile), m: () => more(tile), l: () => less(tile),
      e: () => edit(tile), u: () => use(tile, true), r: () => use(tile, false), d: () => download([tile]), c: () => copy(tile),
      p: () => plan(tile), z: () => upscale(tile), v: () => video(tile), b: () => compare(tile), Delete: () => remove([tile]),
    };
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(name in run)) return;
    event.preventDefault();
    run[name]();
  }
}

/** A button with a reason: where it cannot be used it stays readable and says why. */
function doing(name, label, run, able, why) {
  const attributes = able ? {} : { "aria-disabled": "true" };
  const id = `why-${name}`;
  return h("div", { class: "doing" },
    button(name, label, () => able && run(), { quiet: false, title: why, "aria-describedby": id, "data-act": name, ...attributes }),
    h("span", { id, class: able ? "unseen" : "hint" }, why));
}
