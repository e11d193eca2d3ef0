// A grid of any number of tiles with as many nodes as the screen holds: rows are recycled as they leave the view.

import { address } from "./api.js";
import { button, h } from "./elements.js";

const GAP = 8;
const SPARE_ROWS = 2; // kept ready above and below the view

export class Grid {
  /**
   * source: { count(), item(index), need(last), ratio(), fit?(width, height, gap) }; an item is { id, tile, draft, status, seed, prompt, pass, passes }.
   * actions: { open(index), favourite, more, less, select(index, how) }.
   */
  constructor(host, actions) {
    this.actions = actions;
    this.rows = new Map();
    this.spare = [];
    this.active = 0;
    this.chosen = new Set();
    this.element = h("div", { class: "grid", role: "grid", "aria-label": "Pictures", "aria-multiselectable": "true" });
    this.scroller = h("div", { class: "scroller" }, this.element);
    host.append(this.scroller);
    this.scroller.addEventListener("scroll", () => this.later(), { passive: true });
    this.element.addEventListener("click", (event) => this.clicked(event));
    this.element.addEventListener("focusout", (event) => this.left(event));
    this.element.addEventListener("focusin", (event) => this.focused(event));
    new ResizeObserver(() => this.measure()).observe(this.scroller);
  }

  show(source, minimum, keep = false) {
    this.source = source;
    this.minimum = minimum;
    if (!keep) {
      this.active = 0;
      this.chosen.clear();
      this.scroller.scrollTop = 0;
    }
    this.measure();
  }

  measure() {
    const width = this.scroller.clientWidth - 2 * GAP;
    if (!this.source || width <= 0) return;
    const below = parseFloat(getComputedStyle(this.scroller).paddingBottom); // what the dock covers
    const fit = this.source.fit?.(width, this.scroller.clientHeight - below, GAP);
    this.columns = fit?.columns ?? Math.max(2, Math.floor((width + GAP) / (this.minimum + GAP)));
    this.cell = Math.floor(fit?.cell ?? (width - (this.columns - 1) * GAP) / this.columns);
    this.element.style.width = `${this.columns * (this.cell + GAP) - GAP}px`;
    this.rowHeight = Math.round(this.cell / this.source.ratio()) + GAP;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.spare = [];
    this.draw();
  }

  /** The number of tiles changed, or any of them. */
  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** How many tiles fill the view; a few where it is not laid out yet. */
  screenful() {
    return this.columns * Math.ceil(this.scroller.clientHeight / this.rowHeight) || 8;
  }

  /** The index after the last tile in the view. */
  seen() {
    return this.columns * Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / this.rowHeight) || 0;
  }

  draw() {
    if (!this.columns) return;
    const count = this.source.count();
    const total = Math.ceil(count / this.columns);
    this.element.hidden = count === 0;
    this.element.style.height = `${total * this.rowHeight}px`;
    this.element.setAttribute("aria-rowcount", total);
    this.element.setAttribute("aria-colcount", this.columns);
    this.active = Math.min(this.active, Math.max(0, count - 1));
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight) - SPARE_ROWS);
    const last = Math.min(total, Math.ceil(this.seen() / this.columns) + SPARE_ROWS);
    const wanted = new Set([Math.floor(this.active / this.columns)]); // the focused tile stays, wherever the view is
    for (let row = first; row < last; row++) wanted.add(row);
    for (const [row, node] of this.rows) {
      if (wanted.has(row) && row < total) continue;
      this.rows.delete(row);
      this.spare.push(node);
    }
    for (const row of wanted) if (row < total) this.place(row, count);
    for (const node of this.spare) {
      if (!node.hidden) for (const cell of node.children) this.empty(cell);
      node.hidden = true;
    }
    if (this.focusHeld && document.activeElement === document.body) this.focusActive();
    this.source.need(this.seen());
  }

  place(row, count) {
    let node = this.rows.get(row);
    if (!node) {
      node = this.spare.pop() ?? this.newRow();
      node.hidden = false;
      node.style.transform = `translateY(${row * this.rowHeight}px)`;
      node.setAttribute("aria-rowindex", row + 1);
      this.rows.set(row, node);
    }
    for (let column = 0; column < this.columns; column++) {
      const index = row * this.columns + column;
      this.fill(node.children[column], index, index < count ? this.source.item(index) : null);
    }
  }

  newRow() {
    const row = h("div", { class: "row", role: "row" });
    row.style.gridTemplateColumns = `repeat(${this.columns}, ${this.cell}px)`;
    row.style.height = `${this.rowHeight - GAP}px`;
    for (let column = 0; column < this.columns; column++) row.append(this.newCell(column));
    this.element.append(row);
    return row;
  }

  newCell(column) {
    const act = (name) => (event) => {
      event.stopPropagation();
      this.actions[name](Number(event.currentTarget.closest(".tile").dataset.index));
    };
    const tools = h(
      "div",
      { class: "tools" },
      button("plus", "More like this", act("more"), { tabindex: -1, "data-tip": "more" }),
      button("minus", "Less like this", act("less"), { tabindex: -1, "data-tip": "less" }),
      button("heart", "Favourite", act("favourite"), { tabindex: -1, class: "icon-button heart" }),
    );
    const media = h("img", { alt: "", draggable: "false", decoding: "async" });
    const bar = h("span", { class: "passes" });
    return h("div", { class: "tile", role: "gridcell", tabindex: -1, "aria-colindex": column + 1 }, media, bar, tools);
  }

  fill(cell, index, item) {
    cell.hidden = item === null;
    if (item === null) return this.empty(cell);
    cell.dataset.index = index;
    cell.tabIndex = index === this.active ? 0 : -1;
    const id = item?.id ?? `empty-${index}`;
    const picture = item?.tile ? this.poster(item.tile) : (item?.draft ?? "");
    const [image, bar, tools] = cell.children;
    if (cell.dataset.id !== id) {
      cell.dataset.id = id;
      image.removeAttribute("src"); // a recycled node never shows the tile it had before
    }
    if (picture && image.getAttribute("src") !== picture) image.src = picture;
    const status = item?.status ?? "waiting";
    cell.dataset.status = status;
    cell.dataset.kind = item?.tile?.kind ?? "";
    bar.style.transform = `scaleX(${status === "drawing" ? Math.max(0.06, item.pass / item.passes) : 0})`;
    const selected = item?.tile ? this.chosen.has(item.tile.id) : false;
    cell.setAttribute("aria-selected", selected);
    cell.classList.toggle("favourite", Boolean(item?.tile?.favourite));
    cell.setAttribute("aria-label", describe(item, index));
    tools.hidden = !item?.tile;
    tools.children[0].title = this.actions.moreTip();
    tools.children[1].title = this.actions.lessTip();
  }

  /** A cell that shows nothing holds nothing either. */
  empty(cell) {
    for (const name of ["id", "index", "status", "kind"]) delete cell.dataset[name];
    cell.firstChild.removeAttribute("src");
  }

  poster(tile) {
    return tile.content_type.startsWith("video/") ? "/studio/clip.svg" : address(tile, this.cell > 360 ? 1024 : 512);
  }

  clicked(event) {
    const cell = event.target.closest(".tile");
    if (!cell) return;
    const index = Number(cell.dataset.index);
    if (event.shiftKey || event.metaKey || event.ctrlKey) this.actions.select(index, event.shiftKey ? "range" : "one");
    else if (this.chosen.size > 0) this.actions.select(index, "one");
    else this.actions.open(index);
  }

  /** The focus went elsewhere; where only its node went away, `draw` puts it back. */
  left(event) {
    if (event.relatedTarget && !this.element.contains(event.relatedTarget)) this.focusHeld = false;
  }

  focused(event) {
    this.focusHeld = true;
    const cell = event.target.closest(".tile");
    if (!cell || Number(cell.dataset.index) === this.active) return;
    this.active = Number(cell.dataset.index);
    this.later();
  }

  /** Move the focus to a tile, scrolling as little as needed. */
  focus(index) {
    const count = this.source?.count() ?? 0;
    this.focusHeld = true;
    if (count === 0 || !this.columns) return; // `draw` does it when there is something
    this.active = Math.max(0, Math.min(index, count - 1));
    const top = Math.floor(this.active / this.columns) * this.rowHeight;
    const view = this.scroller;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.rowHeight > view.scrollTop + view.clientHeight) view.scrollTop = top + this.rowHeight - view.clientHeight;
    this.draw();
    this.focusActive();
  }

  focusActive() {
    this.focusHeld = true;
    this.element.querySelector(`.tile[data-index="${this.active}"]`)?.focus({ preventScroll: true });
  }

  /** The arrow keys; true where the key was one. */
  key(event) {
    const page = this.columns * Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight));
    const last = (this.source?.count() ?? 1) - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page };
    const target = { Home: 0, End: last }[event.key] ?? (event.key in steps ? this.active + steps[event.key] : null);
    if (target === null) return false;
    event.preventDefault();
    const from = this.active;
    this.focus(target);
    if (event.shiftKey && this.active !== from) this.actions.select(this.active, "range", from);
    return true;
  }
}

function describe(item, index) {
  if (!item) return `Tile ${index + 1}, waiting`;
  const words = item.prompt ? `: ${item.prompt}` : "";
  const how = { drawing: `, pass ${item.pass} of ${item.passes}`, failed: ", failed", waiting: ", waiting" }[item.status] ?? "";
  const seed = item.seed === null || item.seed === undefined ? "" : `, seed ${item.seed}`;
  return `Tile ${index + 1}${words}${seed}${how}${item.tile?.favourite ? ", favourite" : ""}`;
}
