// Everything that can be done to tiles, the same from the grid, the viewer and the keyboard.

import { address, get, patch, post, postForFile } from "./api.js";
import { Brush } from "./brush.js";
import { compare } from "./compare.js";
import { showCopies } from "./copy_as.js";
import { complain, notice } from "./notices.js";
import { openPlan } from "./plan.js";
import { apply } from "./restore.js";
import { anySeed, makeBeside, modelFor } from "./stream.js";
import { change, imageModel, planned, server, upscaler, videoModel } from "./state.js";

const MORE = 4; // pictures that "more like this" makes
const MOST_DOWNLOADED = 500;
const WAYS = {
  variation: "Makes four variations of this picture.",
  masked_edit: "Makes four pictures that keep this one's border and draw its middle anew, with new seeds.",
  new_seeds: "Makes four pictures of the same prompt with new seeds; this model cannot start from a picture.",
};

export class Actions {
  /** studio: { stream, history, viewer, socket, refresh(), focusPrompt(), create(), everywhere(does) }. */
  constructor(studio) {
    this.studio = studio;
    for (const name of ["favourite", "more", "less", "edit", "compare", "plan", "upscale", "video", "use", "download", "remove", "move", "copy", "moreTip", "lessTip"]) {
      this[name] = this[name].bind(this);
    }
  }

  moreTip() {
    return WAYS[imageModel()?.varies_by] ?? WAYS.new_seeds;
  }

  lessTip() {
    return "Takes this picture away with everything made from it, and never draws its seed for this prompt again. Other seeds are not kin to it, so they stay.";
  }

  async favourite(tile) {
    await this.changed([tile.id], { favourite: !tile.favourite });
  }

  async move(tiles, folder) {
    const name = server.folders.find((each) => each.id === folder)?.name;
    if (await this.changed(tiles.map((tile) => tile.id), { folder_id: folder })) {
      notice(folder ? `Moved to ${name}.` : "Moved out of its folder.");
      this.studio.refreshFolders();
    }
  }

  async changed(ids, values) {
    try {
      const { tiles } = await patch("/studio/api/tiles", { ids, ...values });
      this.studio.everywhere((source) => source.update(tiles));
      const shown = tiles.find((tile) => tile.id === this.studio.viewer.tile?.id);
      if (shown) this.studio.viewer.show(shown);
      return true;
    } catch (error) {
      complain(error);
      return false;
    }
  }

  async more(tile) {
    const model = modelFor("variation");
    if (!model) return;
    const order = {
      prompt: tile.prompt, negative_prompt: model.negative_prompt ? tile.negative_prompt : "", model: model.name, task: "variation",
      mode: model.modes.includes(tile.mode) ? tile.mode : model.modes[0], aspect: tile.aspect || "1:1", sources: [tile.id], seed: anySeed(),
    };
    if (!order.prompt) return complain({ message: "This picture has no prompt to vary. Edit it with one of your own." });
    notice("More like this: four pictures are being made.");
    await this.beside(tile, order, MORE);
  }

  /** Make pictures that come from a tile, and show them behind it. */
  async beside(tile, order, count) {
    const { stream, socket, history } = this.studio;
    const items = new Map();
    const reason = await makeBeside(socket, order, count, (message) => {
      if (message.type === "begun") {
        if (items.has(message.slot)) return; // it waits for the second try, after a question
        const item = { id: `${message.request}/${message.slot}`, status: "waiting", seed: message.seed, prompt: message.prompt, pass: 0, passes: 1 };
        items.set(message.slot, item);
        stream.insertAfter(tile.id, item);
      } else if (message.type === "draft") {
        Object.assign(items.get(message.slot), { status: "drawing", pass: message.number, passes: message.passes, draft: message.picture });
      } else if (message.type === "made") {
        Object.assign(items.get(message.slot), { status: "done", tile: message.tile });
        history.add(message.tile);
      }
      this.studio.refresh();
    });
    for (const item of items.values()) if (!item.tile) stream.removeItem(item);
    this.studio.refresh();
    if (reason === "done" && this.studio.viewer.tile?.id === tile.id) this.studio.viewer.show(tile);
  }

  async less(tile) {
    try {
      const { ids } = await post(`/studio/api/tiles/${tile.id}/less`);
      this.gone(ids, ids.length > 1 ? `It and ${ids.length - 1} made from it are taken away.` : "It is taken away, and its seed is not drawn for this prompt again.");
    } catch (error) {
      complain(error);
    }
  }

  async remove(tiles) {
    if (tiles.length === 0) return;
    try {
      const { ids } = await post("/studio/api/tiles/remove", { ids: tiles.map((tile) => tile.id) });
      this.gone(ids, ids.length === 1 ? "The picture is removed." : `${ids.length} pictures are removed.`);
    } catch (error) {
      complain(error);
    }
  }

  gone(ids, sentence) {
    const { viewer } = this.studio;
    if (ids.includes(viewer.tile?.id)) viewer.close();
    this.studio.everywhere((source) => source.drop(ids));
    this.studio.forgetChosen(ids);
    notice(sentence, { action: { label: "Undo", run: () => this.bringBack(ids) } });
  }

  async bringBack(ids) {
    try {
      const { tiles } = await post("/studio/api/tiles/bring-back", { ids });
      for (const tile of tiles) this.studio.stream.giveBack(tile);
      await this.studio.history.look();
      this.studio.refresh();
    } catch (error) {
      complain(error);
    }
  }

  edit(tile) {
    const model = modelFor("edit");
    if (!model) return;
    const ready = () => {
      this.studio.viewer.close();
      change({ references: [tile.id], prompt: "" });
      this.studio.focusPrompt();
    };
    if (model.masks) new Brush(tile, ready).open();
    else ready();
  }

  compare(tile, other) {
    const against = other ?? this.studio.kin(tile);
    if (!against) complain({ message: "There is nothing to compare it with. Choose two pictures with X, then press B." });
    else compare(...[against, tile].sort((a, b) => a.number - b.number));
  }

  plan(tile) {
    const model = imageModel();
    if (!planned(tile)) return complain({ message: "The loaded model draws without plans." });
    openPlan(tile, async (plan) => {
      notice("Four pictures are being drawn by the plan.");
      const mode = model.modes.includes(tile.mode) ? tile.mode : model.modes[0];
      const order = { prompt: tile.prompt, model: model.name, task: "draw", plan, mode, aspect: tile.aspect || "1:1", sources: [tile.id], seed: tile.seed ?? anySeed() };
      await this.beside(tile, order, MORE);
    });
  }

  async upscale(tile) {
    const model = upscaler();
    if (!model) return complain({ message: "No loaded model offers upscaling. Start the server with one that does." });
    if (!tile.content_type.startsWith("image/")) return complain({ message: "Only pictures can be upscaled." });
    notice("The picture is being made twice as high and wide.");
    const mode = model.modes.includes(tile.mode) ? tile.mode : null;
    const order = { prompt: tile.prompt, model: model.name, task: "upscale", factor: 2, mode, aspect: tile.aspect || "1:1", sources: [tile.id], seed: tile.seed ?? anySeed() };
    await this.beside(tile, order, 1);
  }

  async video(tile) {
    const model = videoModel();
    if (!model) return complain({ message: "No video model is loaded. Start the server with one to make clips." });
    notice(`A clip is being made by ${model.name}.`);
    await this.beside(tile, { prompt: tile.prompt, model: model.name, task: "video", aspect: tile.aspect || "1:1", mode: null, sources: [tile.id], seed: anySeed() }, 1);
  }

  use(tile, withSeed) {
    apply(tile, { withSeed });
    this.studio.viewer.close();
    this.studio.focusPrompt();
    notice(withSeed ? "Its settings are in the prompt bar, seed locked." : "Its settings are in the prompt bar, with a new seed.");
  }

  async copy(tile) {
    const model = imageModel();
    const drawn = tile.kind === "draw" && planned(tile);
    const { plan } = drawn ? await get(`/studio/api/tiles/${tile.id}/plan`).catch(() => ({})) : {};
    const rank = model?.modes.indexOf(tile.mode) ?? 0;
    showCopies({
      task: tile.kind === "upload" ? "draw" : tile.kind, prompt: tile.prompt, negative: tile.negative_prompt, model: tile.model || model?.name || "polarlight",
      mode: tile.mode || model?.modes[0] || "speed", aspect: tile.aspect || "1:1", seed: tile.seed ?? 0, count: 1, quality: rank > 0 ? "high" : "low", plan,
    });
  }

  async download(tiles) {
    if (tiles.length === 0) return;
    if (tiles.length === 1) return saveAs(address(tiles[0]), `polarlight-${tiles[0].number}.${tiles[0].content_type.split("/")[1]}`);
    if (tiles.length > MOST_DOWNLOADED) return complain({ message: `At most ${MOST_DOWNLOADED} pictures go into one archive. Choose fewer.` });
    try {
      const link = URL.createObjectURL(await postForFile("/studio/api/download", { ids: tiles.map((tile) => tile.id) }));
      saveAs(link, "polarlight.zip");
      setTimeout(() => URL.revokeObjectURL(link), 10_000);
    } catch (error) {
      complain(error);
    }
  }
}

function saveAs(link, name) {
  const anchor = document.createElement("a");
  Object.assign(anchor, { href: link, download: name });
  anchor.click();
}
