// The bar above the pictures: what is shown and how far it is, search, the size of tiles, and what is chosen.

import { button, h } from "./elements.js";
import { device, server, setDevice, state } from "./state.js";

const SEARCH_AFTER_MS = 200;

export class Bar {
  /** on: { search(text), resize(), goOn(), clear(), actions, chosen() }. */
  constructor(host, on) {
    this.on = on;
    this.title = h("h1", {});
    this.status = h("p", { class: "status" });
    let timer = 0;
    this.search = h("input", {
      type: "search", placeholder: "Search prompts, models, seeds", "aria-label": "Search the history", maxlength: 400,
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(() => on.search(this.search.value), SEARCH_AFTER_MS);
      },
      onkeydown: (event) => event.key === "Escape" && this.search.blur(),
    });
    this.size = h("input", {
      type: "range", min: 112, max: 352, step: 16, value: device.tile, "aria-label": "Size of the tiles", class: "size",
      oninput: () => (setDevice("tile", Number(this.size.value)), on.resize()),
    });
    this.act = h("div", { class: "act" });
    host.append(h("div", { class: "heading" }, this.title, this.status), this.act, this.search, this.size);
  }

  draw(title, status, stream) {
    this.title.textContent = title;
    this.status.textContent = status;
    this.search.hidden = state.view === "stream";
    this.size.hidden = state.view === "stream" && Boolean(state.run?.quality);
    const chosen = this.on.chosen();
    const known = `${chosen.map((tile) => tile.id)}|${stream.running}|${state.view}|${stream.items.length > 0}|${server.folders.length}`;
    if (known === this.known) return;
    this.known = known;
    this.act.replaceChildren(...(chosen.length ? this.forChosen(chosen) : this.forStream(stream)));
  }

  forStream(stream) {
    if (state.view !== "stream" || stream.running || !state.run || state.run.quality || stream.items.length === 0) return [];
    return [button("stream", "Continue the stream", this.on.goOn, { quiet: false })];
  }

  forChosen(chosen) {
    const { actions } = this.on;
    const folder = h("select", { "aria-label": "Move to a folder", onchange: () => actions.move(chosen, folder.value === "none" ? null : folder.value) },
      h("option", { value: "", disabled: true }, "Move to…"), h("option", { value: "none" }, "No folder"),
      server.folders.map((each) => h("option", { value: each.id }, each.name)));
    folder.value = "";
    return [
      h("span", { class: "chosen" }, `${chosen.length} chosen`),
      chosen.length === 2 ? button("compare", "Compare", () => actions.compare(chosen[0], chosen[1]), { quiet: false }) : null,
      button("download", "Download", () => actions.download(chosen), { quiet: false }),
      folder,
      button("trash", "Remove", () => actions.remove(chosen), { quiet: false }),
      button("close", "Choose nothing", this.on.clear),
    ].filter(Boolean);
  }
}
