// The plan of a picture: what stands where. Its boxes are moved over the picture, its words changed, and it is drawn anew by them.

import { address, get } from "./api.js";
import { openDialog } from "./dialogs.js";
import { button, h } from "./elements.js";
import { complain } from "./notices.js";

const GRID = 32; // columns and rows of a plan
const ITEM = /\s*((?:"(?:[^"\\]|\\.)*"|[^@;"])*?)\s*@\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*(?:;|$)/y;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The items of a plan: { words, box: [x0, y0, x1, y1] }, the first and the last column and row of each box. */
export function readPlan(text) {
  const items = [];
  for (ITEM.lastIndex = 0; ITEM.lastIndex < text.length; ) {
    const found = ITEM.exec(text);
    if (!found) break;
    items.push({ words: found[1], box: found.slice(2).map(Number) });
  }
  return items;
}

export function writePlan(items) {
  return items.map(({ words, box }) => `${words} @ ${box.join(" ")}`).join("; ");
}

/** Show a tile's plan; `draw(plan)` makes pictures of a changed one. */
export async function openPlan(tile, draw) {
  try {
    const { plan } = await get(`/studio/api/tiles/${tile.id}/plan`);
    new PlanBoard(tile, readPlan(plan), draw).open();
  } catch (error) {
    complain(error);
  }
}

class PlanBoard {
  constructor(tile, items, draw) {
    Object.assign(this, { tile, items, draw });
  }

  open() {
    this.board = h("div", { class: "board plan-board" });
    this.board.style.aspectRatio = `${this.tile.width} / ${this.tile.height}`;
    this.board.style.setProperty("--ratio", this.tile.width / this.tile.height);
    this.list = h("ul", { class: "plan-items" });
    const tools = h("div", { class: "brush-tools" },
      button("plus", "Add a thing", () => this.add(), { quiet: false }),
      button("stream", "Draw by this plan", () => this.done(), { quiet: false, class: "text-button primary" }));
    const hint = h("p", { class: "hint" }, "Drag a box, or move it with the arrow keys; with Shift, or at its corner, change its size. Written texts stand in double quotes.");
    this.dialog = openDialog("What stands where", [this.board, this.list, tools, hint], { class: "plan" });
    this.show();
  }

  show() {
    const picture = h("img", { src: address(this.tile), alt: this.tile.prompt || "The picture that the plan belongs to" });
    this.boxes = this.items.map((item, number) => this.box(item, number));
    this.board.replaceChildren(picture, ...this.boxes);
    this.list.replaceChildren(...this.items.map((item, number) => this.row(item, number)));
  }

  box(item, number) {
    const element = h("button", {
      type: "button", class: "plan-box",
      onpointerdown: (event) => this.grasp(event, element, item),
      onkeydown: (event) => this.key(event, item, element, number),
    }, h("span", { class: "plan-name" }), h("span", { class: "plan-corner", "aria-hidden": "true" }));
    this.place(element, item);
    return element;
  }

  place(element, item) {
    const [x0, y0, x1, y1] = item.box;
    const percent = (value) => `${(value / GRID) * 100}%`;
    Object.assign(element.style, { left: percent(x0), top: percent(y0), width: percent(x1 + 1 - x0), height: percent(y1 + 1 - y0) });
    element.firstChild.textContent = item.words;
    element.setAttribute("aria-label", `${item.words}: columns ${x0} to ${x1}, rows ${y0} to ${y1}. Arrow keys move it, with Shift they change its size.`);
  }

  row(item, number) {
    const words = h("input", { value: item.words, maxlength: 200, oninput: () => {
      item.words = words.value;
      this.place(this.boxes[number], item);
    } });
    return h("li", {}, h("label", {}, h("span", { class: "unseen" }, `Thing ${number + 1}`), words), button("trash", `Remove ${item.words}`, () => this.remove(number)));
  }

  /** Move the whole box, or with `sizes` its last corner, and keep it on the picture. */
  shift(item, [dx, dy], sizes, from = item.box) {
    const [x0, y0, x1, y1] = from;
    const within = (value, low, high) => Math.max(low, Math.min(high, value));
    if (sizes) item.box = [x0, y0, within(x1 + dx, x0, GRID - 1), within(y1 + dy, y0, GRID - 1)];
    else {
      const [x, y] = [within(dx, -x0, GRID - 1 - x1), within(dy, -y0, GRID - 1 - y1)];
      item.box = [x0 + x, y0 + y, x1 + x, y1 + y];
    }
  }

  grasp(event, element, item) {
    const [from, sizes, whole] = [[...item.box], event.target.classList.contains("plan-corner"), this.board.getBoundingClientRect()];
    element.setPointerCapture(event.pointerId);
    const cells = (now) => [Math.round(((now.clientX - event.clientX) / whole.width) * GRID), Math.round(((now.clientY - event.clientY) / whole.height) * GRID)];
    element.onpointermove = (now) => {
      this.shift(item, cells(now), sizes, from);
      this.place(element, item);
    };
    element.onpointerup = element.onpointercancel = () => (element.onpointermove = null);
  }

  key(event, item, element, number) {
    if (event.key in ARROWS) {
      this.shift(item, ARROWS[event.key], event.shiftKey);
      this.place(element, item);
    } else if (event.key === "Delete") this.remove(number);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  add() {
    this.items.push({ words: "cat", box: [10, 10, 21, 21] });
    this.show();
    this.list.lastChild.querySelector("input").select();
  }

  remove(number) {
    this.items.splice(number, 1);
    this.show();
    (this.list.querySelector("input") ?? this.dialog.querySelector(".primary")).focus();
  }

  done() {
    this.dialog.close();
    this.draw(writePlan(this.items));
  }
}
