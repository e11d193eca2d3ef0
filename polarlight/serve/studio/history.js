// The history: everything that was made, newest first, filtered and searched on the server, loaded as it is scrolled to.

import { get } from "./api.js";
import { complain } from "./notices.js";
import { asItem } from "./stream.js";

const PAGE = 500;

export class History {
  constructor(onChange) {
    this.onChange = onChange;
    this.filter = { text: "", folder: null, favourites: false };
    this.forget();
  }

  forget() {
    this.items = [];
    this.total = 0;
    this.loading = null;
    this.complete = false;
    this.version = (this.version ?? 0) + 1;
  }

  /** Look again, with another filter or the same. */
  async look(filter = this.filter) {
    this.filter = filter;
    this.forget();
    await this.load();
  }

  count() {
    return this.total;
  }

  item(index) {
    return this.items[index];
  }

  ratio() {
    return 1;
  }

  /** The grid shows tiles up to here: load what is missing. */
  need(last) {
    if (Math.min(last + PAGE / 4, this.total) > this.items.length && !this.complete) this.load();
  }

  load() {
    this.loading ??= this.fetchPage(this.version).finally(() => {
      this.loading = null;
      this.onChange();
    });
    return this.loading;
  }

  async fetchPage(version) {
    const { text, folder, favourites } = this.filter;
    const query = new URLSearchParams({ limit: PAGE, text });
    if (folder) query.set("folder", folder);
    if (favourites) query.set("favourites", "true");
    const last = this.items.at(-1)?.tile.number;
    if (last !== undefined) query.set("before", last);
    try {
      const { tiles, count } = await get(`/studio/api/tiles?${query}`);
      if (version !== this.version) return this.fetchPage(this.version);
      this.items.push(...tiles.map(asItem));
      this.total = tiles.length < PAGE ? this.items.length : Math.max(count, this.items.length);
      this.complete = tiles.length < PAGE;
    } catch (error) {
      this.complete = true;
      complain(error);
    }
  }

  /** A tile was made: it stands first, where nothing is filtered away. */
  add(tile) {
    const { text, folder, favourites } = this.filter;
    if (text || folder || favourites || this.items.some((item) => item.tile.id === tile.id)) return;
    this.items.unshift(asItem(tile));
    this.total += 1;
    this.onChange();
  }

  drop(ids) {
    const before = this.items.length;
    this.items = this.items.filter((item) => !ids.includes(item.tile.id));
    this.total -= before - this.items.length;
    this.onChange();
  }

  update(tiles) {
    const known = new Map(tiles.map((tile) => [tile.id, tile]));
    for (const item of this.items) if (known.has(item.tile.id)) item.tile = known.get(item.tile.id);
    this.onChange();
  }
}
