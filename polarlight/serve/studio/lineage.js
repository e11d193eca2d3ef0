// What came from what: the family of a tile as nested lists, drawn as a graph from left to right.

import { address, get } from "./api.js";
import { h } from "./elements.js";

const KINDS = { draw: "drawn", edit: "edit", variation: "variation", upscale: "upscaled", video: "clip", upload: "brought in" };

/** The family of a tile; `open(tile)` is called for the one that is chosen. */
export async function lineage(tile, open) {
  const { tiles } = await get(`/studio/api/tiles/${tile.id}/lineage`);
  if (tiles.length < 2) return h("p", { class: "hint" }, "Nothing has come from this picture yet. Edit it, or ask for more like it.");
  const known = new Set(tiles.map((each) => each.id));
  const children = Map.groupBy(tiles, (each) => (known.has(each.parent_id) ? each.parent_id : null));
  const branch = (parent) => {
    const found = children.get(parent) ?? [];
    if (found.length === 0) return null;
    return h("ul", {}, found.map((each) => h("li", {}, knot(each, each.id === tile.id, open), branch(each.id))));
  };
  return h("div", { class: "lineage", role: "group", "aria-label": "Lineage", tabindex: 0 }, branch(null));
}

function knot(tile, current, open) {
  const words = `${KINDS[tile.kind]}: ${tile.prompt || "a picture"}`;
  const picture = tile.content_type.startsWith("image/") ? address(tile, 128) : "/studio/clip.svg";
  return h("button", { type: "button", class: "knot", title: words, "aria-label": words, "aria-current": current ? "true" : null, onclick: () => open(tile) },
    h("img", { src: picture, alt: "" }), h("span", {}, KINDS[tile.kind]));
}
