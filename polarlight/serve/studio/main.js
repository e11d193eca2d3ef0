// The studio: signs in, puts the parts together, and says which part hears what.

import { Actions } from "./actions.js";
import { get, MakingSocket, remove, useToken } from "./api.js";
import { Bar } from "./bar.js";
import { Brush, masks } from "./brush.js";
import { showCopies } from "./copy_as.js";
import { door } from "./door.js";
import { emptyState } from "./empty.js";
import { Grid } from "./grid.js";
import { History } from "./history.js";
import { complain } from "./notices.js";
import { PromptBar } from "./prompt_bar.js";
import * as restoring from "./restore.js";
import { showSharing } from "./sharing.js";
import * as shortcuts from "./shortcuts.js";
import { Side } from "./side.js";
import { adopt, change, device, imageModel, save, server, state, unsaved, watch } from "./state.js";
import { anySeed, Stream } from "./stream.js";
import { Viewer } from "./viewer.js";

const at = (selector) => document.querySelector(selector);
const TITLES = { stream: "Stream", history: "History", favourites: "Favourites" };

class Studio {
  constructor() {
    this.socket = new MakingSocket((message) => complain({ message }));
    this.stream = new Stream(this.socket, () => this.refresh());
    this.history = new History(() => this.refresh());
    this.stream.onMade = (tile) => this.history.add(tile);
    this.actions = new Actions(this);
    this.viewer = new Viewer(this.actions, (step) => this.neighbour(step));
    const onTile = (does) => (index) => this.source.item(index)?.tile && does(this.source.item(index).tile);
    this.grid = new Grid(at("#stage"), {
      open: (index) => this.openViewer(index),
      favourite: onTile(this.actions.favourite),
      more: onTile(this.actions.more),
      less: onTile(this.actions.less),
      select: (index, how, from) => this.select(index, how, from),
      moreTip: this.actions.moreTip,
      lessTip: this.actions.lessTip,
    });
    this.empty = emptyState((prompt) => this.useExample(prompt));
    at("#stage").append(this.empty);
    this.stream.screenful = () => this.grid.screenful();
    this.side = new Side(at("#side"), { view: (name) => this.go(name), sharing: showSharing, shortcuts: shortcuts.showShortcuts, signOut: () => this.signOut() });
    this.bar = new Bar(at("#bar"), {
      search: (text) => this.search(text), resize: () => this.show(true), goOn: () => this.stream.goOn(), clear: () => this.clear(),
      actions: this.actions, chosen: () => this.chosen(),
    });
    this.prompt = new PromptBar(at("#dock"), {
      create: () => this.create(), stop: () => this.stream.stop(), pick: restoring.addReferences, paint: (id) => this.paint(id),
      running: () => this.stream.running, masked: (id) => masks.has(id), copy: () => this.copyOrder(),
    });
    restoring.listen();
    shortcuts.listen(this.keys(), this.grid);
    watch((names) => names.includes("view") && this.show());
    addEventListener("pagehide", () => unsaved() && save());
    document.addEventListener("visibilitychange", () => !document.hidden && this.catchUp());
  }

  get source() {
    return state.view === "stream" ? this.stream : this.history;
  }

  async begin(greeting) {
    useToken(greeting.csrf);
    Object.assign(server, { models: greeting.models, folders: greeting.folders, address: location.origin, key: greeting.key });
    adopt(greeting.state);
    const model = imageModel();
    if (model) {
      state.model = model.name;
      if (!model.modes.includes(state.mode)) state.mode = model.modes[0];
      if (!model.aspects.includes(state.aspect)) state.aspect = model.aspects.includes("1:1") ? "1:1" : model.aspects[0];
    }
    at("#app").hidden = false;
    this.socket.open();
    this.prompt.draw();
    this.show();
    await this.stream.bringBack().catch(complain);
    const types = matchMedia("(hover: hover)").matches; // on a phone the focus would raise the keyboard
    if (state.view === "stream" && types) this.prompt.text.focus();
  }

  create() {
    const model = imageModel();
    if (!model) return;
    if (!state.prompt.trim()) {
      complain({ message: "The prompt is empty. Say what to draw, for example: a cat under a tree." });
      this.prompt.focus();
      return;
    }
    if (!state.locked) change({ seed: anySeed() });
    const { order, count } = this.order(model);
    const quality = order.task === "edit" || state.mode !== model.modes[0];
    this.stream.begin(order, { quality: quality || (count !== null && count <= 4), count });
    this.prompt.text.blur();
    this.show();
    this.grid.focus(0);
  }

  /** What the prompt bar says; count: null for an endless stream. */
  order(model) {
    const edits = state.references.length > 0;
    const wanted = edits ? state.edits : state.count;
    const mask = edits ? masks.get(state.references[0]) : undefined;
    const order = {
      prompt: state.prompt, negative_prompt: model.negative_prompt ? state.negative : "", model: model.name, mode: state.mode,
      aspect: state.aspect, task: edits ? "edit" : "draw", sources: state.references, seed: state.seed, ...(mask ? { mask } : {}),
    };
    return { order, count: wanted === "endless" ? null : Number(wanted) };
  }

  /** Show what the prompt bar would do as a command. */
  copyOrder() {
    const model = imageModel();
    if (!model) return;
    const { order, count } = this.order(model);
    const quality = model.modes.indexOf(order.mode) > 0 ? "high" : "low";
    showCopies({ ...order, negative: order.negative_prompt, masked: Boolean(order.mask), count: count ?? 4, quality });
  }

  useExample(prompt) {
    change({ prompt });
    this.prompt.draw();
    this.create();
  }

  paint(id) {
    get(`/studio/api/tiles/${id}`).then((tile) => new Brush(tile, () => this.prompt.draw()).open(), complain);
  }

  go(view) {
    if (state.view === view) this.show();
    else change({ view });
  }

  show(keep = false) {
    const folder = server.folders.find((each) => each.id === state.view);
    if (!(state.view in TITLES) && !folder) state.view = "stream";
    if (state.view !== "stream" && !keep) {
      this.history.look({ text: this.bar.search.value, folder: folder?.id ?? null, favourites: state.view === "favourites" });
    }
    this.grid.show(this.source, device.tile, keep);
    this.side.draw();
    this.refresh();
  }

  search(text) {
    this.history.look({ ...this.history.filter, text }).then(() => this.grid.show(this.history, device.tile));
  }

  refresh() {
    const folder = server.folders.find((each) => each.id === state.view);
    const title = state.view === "stream" && state.run?.quality ? "Candidates" : (TITLES[state.view] ?? folder?.name ?? "");
    this.bar.draw(title, this.status(), this.stream);
    this.prompt.drawGo();
    const none = this.source.count() === 0 && !(state.view === "stream" ? this.stream.running : this.history.loading);
    this.empty.draw(none ? state.view : null, this.bar.search.value);
    this.grid.scroller.hidden = none;
    this.grid.later();
  }

  status() {
    if (state.view !== "stream") return this.history.loading && this.history.total === 0 ? "Looking…" : plural(this.history.total);
    const made = this.stream.items.filter((item) => item.tile).length;
    if (!this.stream.running) return made ? plural(made) : "";
    if (this.stream.total !== null) return `${made} of ${this.stream.total}`;
    return this.stream.idle ? `${made} drawn; scroll for more` : `${made} drawn`;
  }

  openViewer(index) {
    const item = this.source.item(index);
    if (!item?.tile) return;
    this.grid.active = index;
    this.viewer.open(item.tile, () => at("#dock").contains(document.activeElement) || this.grid.focus(this.grid.active));
  }

  neighbour(step) {
    for (let index = this.grid.active + step; index >= 0 && index < this.source.count(); index += step) {
      const tile = this.source.item(index)?.tile;
      if (!tile) continue;
      this.grid.active = index;
      return tile;
    }
    return null;
  }

  /** What a tile is compared with: its parent, or the tile before it. */
  kin(tile) {
    const items = this.source.items.filter((item) => item.tile);
    const parent = items.find((item) => item.tile.id === tile.parent_id);
    const place = items.findIndex((item) => item.tile.id === tile.id);
    return (parent ?? items[place - 1] ?? items[place + 1])?.tile ?? null;
  }

  chosen() {
    const { chosen } = this.grid;
    return chosen.size ? this.source.items.filter((item) => chosen.has(item.tile?.id)).map((item) => item.tile) : [];
  }

  select(index, how, from = this.grid.anchor ?? this.grid.active) {
    const { chosen } = this.grid;
    if (how === "range") {
      const [first, last] = [Math.min(from, index), Math.max(from, index)];
      for (let each = first; each <= last; each++) if (this.source.item(each)?.tile) chosen.add(this.source.item(each).tile.id);
    } else {
      const id = this.source.item(index)?.tile?.id;
      if (id && !chosen.delete(id)) chosen.add(id);
      this.grid.anchor = index;
    }
    this.refresh();
  }

  clear() {
    this.grid.chosen.clear();
    this.refresh();
  }

  forgetChosen(ids) {
    for (const id of ids) this.grid.chosen.delete(id);
    this.refresh();
  }

  everywhere(does) {
    does(this.stream);
    does(this.history);
  }

  refreshFolders() {
    this.side.refresh();
  }

  focusPrompt() {
    this.prompt.draw();
    this.prompt.focus();
  }

  /** Another device may have made something meanwhile. */
  async catchUp() {
    if (state.view === "stream" || at("#app").hidden) return;
    await this.history.look();
    this.side.refresh();
  }

  keys() {
    const tile = (does) => () => this.source.item(this.grid.active)?.tile && does(this.source.item(this.grid.active).tile);
    const { actions } = this;
    const several = (does) => () => does(this.chosen().length ? this.chosen() : [this.source.item(this.grid.active)?.tile].filter(Boolean));
    const model = imageModel;
    return {
      "/": () => this.prompt.focus(), s: () => this.stream.stop(), k: () => change({ locked: !state.locked }), n: () => this.prompt.file.click(),
      q: () => model() && this.prompt.setMode(model(), model().modes[(model().modes.indexOf(state.mode) + 1) % model().modes.length]),
      Enter: () => this.openViewer(this.grid.active), ArrowDown: () => this.grid.focus(this.grid.active), f: tile(actions.favourite), m: tile(actions.more), l: tile(actions.less),
      e: tile(actions.edit), u: tile((each) => actions.use(each, true)), r: tile((each) => actions.use(each, false)), c: tile(actions.copy),
      p: tile(actions.plan), z: tile(actions.upscale), v: tile(actions.video), d: several(actions.download), Delete: several(actions.remove), x: () => this.select(this.grid.active, "one"),
      a: () => (this.source.items.forEach((item) => item.tile && this.grid.chosen.add(item.tile.id)), this.refresh()),
      b: () => (this.chosen().length === 2 ? actions.compare(...this.chosen()) : tile(actions.compare)()), Escape: () => this.clear(),
      1: () => this.go("stream"), 2: () => this.go("history"), 3: () => this.go("favourites"),
      g: () => (state.view === "stream" && this.go("history"), this.bar.search.focus()), t: () => this.side.nextTheme(), "?": shortcuts.showShortcuts,
    };
  }

  async signOut() {
    await save();
    await remove("/studio/api/session").catch(() => {});
    location.reload();
  }
}

function plural(count) {
  return count === 1 ? "1 picture" : `${count.toLocaleString()} pictures`;
}

const greeting = await get("/studio/api/session").catch((error) => (complain(error), { signed_in: false }));
const studio = new Studio();
await studio.begin(greeting.signed_in ? greeting : await door(at("#door")));
