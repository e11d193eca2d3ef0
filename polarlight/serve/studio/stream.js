// What is being made: an endless stream in Speed mode, a few candidates in Quality. A source for the grid.

import { get } from "./api.js";
import { askForConsent } from "./consent.js";
import { complain, notice, tell } from "./notices.js";
import { change, imageModel, state } from "./state.js";

const SEEDS = 2 ** 32;
const MOST_BACK = 20; // pages of 500 that are looked through when a run comes back after a reload

/** A seed nobody chose. */
export const anySeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

export class Stream {
  constructor(socket, onChange) {
    this.socket = socket;
    this.onChange = onChange;
    this.items = [];
    this.request = null;
    this.seen = 0;
    this.screenful = () => 12;
    this.onMade = () => {};
  }

  get running() {
    return this.request !== null;
  }

  count() {
    return this.items.length + (this.running ? Math.max(0, this.room() - this.items.length) : 0);
  }

  item(index) {
    return this.items[index];
  }

  ratio() {
    const [width, height] = (state.run?.aspect ?? "1:1").split(":").map(Number);
    return width / height || 1;
  }

  /** Candidates are as large as they can be with all of them in the view; on a phone they fill it and scroll. */
  fit(width, height, gap) {
    if (!state.run?.quality) return null;
    if (width < 560) return { columns: 1, cell: width };
    const count = Math.max(2, this.count());
    const cell = (columns) => {
      const rows = Math.ceil(count / columns);
      return Math.min((width - (columns - 1) * gap) / columns, (height / rows - gap) * this.ratio());
    };
    const columns = [1, 2, 3, 4].reduce((best, each) => (cell(each) > cell(best) + 1 ? each : best));
    return { columns, cell: Math.max(160, cell(columns)) };
  }

  /** Whether everything is drawn that there is room for. */
  get idle() {
    return this.items.every((item) => item.tile) && this.items.length >= this.room();
  }

  /** How many tiles the page has room for: what is in the view and one screenful more. */
  room() {
    const ahead = this.seen + this.screenful();
    return this.total === null ? ahead : Math.min(this.total, ahead);
  }

  /** The grid shows tiles up to here. */
  need(last) {
    this.seen = Math.max(this.seen, last);
    if (!this.running) return;
    const allowed = this.room() + this.gone;
    if (allowed > this.allowed) {
      this.allowed = allowed;
      this.socket.send({ type: "allow", request: this.request, tiles: allowed });
    }
  }

  /** Begin anew with what the prompt bar says. */
  begin(order, { quality, count }) {
    this.stop();
    this.items = [];
    this.seen = 0;
    const run = { prompt: order.prompt, first: null, seed: order.seed, next: order.seed, aspect: order.aspect, quality, order };
    change({ run, view: "stream" });
    this.go(order, count);
  }

  /** Go on where the stream was stopped. */
  goOn() {
    const { order, next } = state.run;
    this.go({ ...order, seed: next }, null);
  }

  go(order, count) {
    this.total = count === null ? null : this.items.length + count;
    this.gone = -this.items.length; // tiles that left, less those that are not this request's
    this.allowed = count ?? this.room() + this.gone;
    this.slots = new Map();
    let mine = null;
    const listener = (message) => {
      if (mine !== this.request) return;
      if (message.consent) this.asked(message, order, count);
      else this.hear(message);
    };
    mine = this.request = this.socket.start({ ...order, count, allowed: this.allowed }, listener);
    tell("Drawing has begun.");
    this.onChange();
  }

  /** Stop at once, here and on the server. */
  stop() {
    if (!this.running) return;
    this.socket.send({ type: "stop", request: this.request });
    this.ended({ reason: "stopped" });
  }

  hear(message) {
    if (message.type === "ended") this.ended(message);
    else this[message.type](message);
    this.onChange();
  }

  /** It was refused for want of consent: where the person states it, all of it is asked for again. */
  async asked({ message }, order, count) {
    this.lastFailure = null;
    this.ended({ reason: "refused" });
    const { run } = state;
    const given = await askForConsent();
    if (given && !this.running && state.run === run) this.go({ ...order, subject_consent: true }, count);
    else if (!given) complain({ message });
  }

  begun({ slot, seed, prompt }) {
    const item = { id: `${this.request}/${slot}`, status: "waiting", seed, prompt, pass: 0, passes: 1 };
    this.slots.set(slot, item);
    this.items.push(item);
    if (state.run) change({ run: { ...state.run, next: (seed + 1) % SEEDS } });
  }

  draft({ slot, number, passes, picture }) {
    Object.assign(this.slots.get(slot), { status: "drawing", pass: number, passes, draft: picture });
  }

  made({ slot, tile }) {
    Object.assign(this.slots.get(slot), { status: "done", tile });
    if (state.run && state.run.first === null) change({ run: { ...state.run, first: tile.number } });
    this.onMade(tile);
    tell(`${this.items.filter((item) => item.tile).length} pictures made.`);
  }

  failed({ slot, message }) {
    const item = this.slots.get(slot);
    this.items.splice(this.items.indexOf(item), 1);
    this.gone += 1;
    this.lastFailure = message;
  }

  ended({ reason, message }) {
    this.request = null;
    this.items = this.items.filter((item) => item.tile);
    if (reason === "failed") complain({ message });
    else if (reason === "lost") {
      notice("The connection was lost. What was made is kept.", { action: state.run && { label: "Continue", run: () => this.goOn() } });
    } else if (this.lastFailure) notice(this.lastFailure);
    this.lastFailure = null;
    tell({ stopped: "Stopped.", refused: "Refused." }[reason] ?? "Done.");
    this.onChange();
  }

  /** Take tiles out of the stream. */
  drop(ids) {
    const before = this.items.length;
    this.items = this.items.filter((item) => !item.tile || !ids.includes(item.tile.id));
    this.gone += before - this.items.length;
    if (this.total !== null) this.total -= before - this.items.length;
    this.onChange();
  }

  /** Put tiles behind another one: variations of it. */
  insertAfter(id, item) {
    const at = this.items.findIndex((each) => each.tile?.id === id);
    this.items.splice(at < 0 ? this.items.length : at + 1, 0, item);
    this.gone -= 1;
    this.onChange();
  }

  /** Take back what was put in and came to nothing. */
  removeItem(item) {
    this.items = this.items.filter((each) => each !== item);
    this.gone += 1;
    this.onChange();
  }

  /** Put a removed tile back where its number says. */
  giveBack(tile) {
    if (state.run?.first === null || !state.run || tile.number < state.run.first) return;
    const at = this.items.findIndex((item) => item.tile?.number > tile.number);
    this.items.splice(at < 0 ? this.items.length : at, 0, asItem(tile));
    this.gone -= 1;
    if (this.total !== null) this.total += 1;
    this.onChange();
  }

  update(tiles) {
    const known = new Map(tiles.map((tile) => [tile.id, tile]));
    for (const item of this.items) if (known.has(item.tile?.id)) item.tile = known.get(item.tile.id);
    this.onChange();
  }

  /** After a reload: the tiles of the last run, which the server has kept. */
  async bringBack() {
    const run = state.run;
    if (!run || run.first === null) return;
    const found = [];
    let before = null;
    for (let page = 0; page < MOST_BACK; page++) {
      const after = before === null ? "" : `&before=${before}`;
      const { tiles } = await get(`/studio/api/tiles?limit=500${after}`);
      found.push(...tiles.filter((tile) => tile.number >= run.first && tile.kind !== "upload"));
      if (tiles.length < 500 || tiles.at(-1).number < run.first) break;
      before = tiles.at(-1).number;
    }
    this.items = found.reverse().map(asItem);
    this.onChange();
  }
}

/** A kept tile as the grid shows it. */
export function asItem(tile) {
  return { id: tile.id, tile, status: "done", seed: tile.seed, prompt: tile.prompt, pass: 1, passes: 1 };
}

/** Make a few tiles beside the stream; `hear` gets drafts and tiles. Ends by itself. */
export function makeBeside(socket, order, count, hear) {
  return new Promise((resolve) => {
    socket.start({ ...order, count, allowed: count }, async (message) => {
      if (message.type !== "ended") return hear(message);
      if (message.consent && (await askForConsent())) return resolve(makeBeside(socket, { ...order, subject_consent: true }, count, hear));
      if (message.reason === "failed") complain({ message: message.message });
      if (message.reason === "lost") complain({ message: "The connection was lost before it was done. Try again." });
      resolve(message.reason);
    });
  });
}

/** What is known of a request that starts from tiles; null after saying so where no model can do it. */
export function modelFor(task) {
  const model = imageModel();
  if (model && (task === "variation" || model.tasks.includes(task))) return model;
  complain({ message: model ? `The model ${model.name} cannot ${task}.` : "No image model is loaded. Start the server with one." });
  return null;
}
