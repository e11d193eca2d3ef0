// Painting what may change: a mask over a picture, by pointer or by keyboard.

import { address } from "./api.js";
import { button, h } from "./elements.js";
import { openDialog } from "./dialogs.js";

const COLOUR = "rgb(94, 234, 212)";
const UNDOS = 30;

const place = (id) => `mask:${id}`;

/** The masks of this window, which outlive a reload: tile -> PNG as a data URI, clear where the picture may change. */
export const masks = {
  get: (id) => sessionStorage.getItem(place(id)) ?? undefined,
  has: (id) => sessionStorage.getItem(place(id)) !== null,
  set: (id, mask) => sessionStorage.setItem(place(id), mask),
  delete: (id) => sessionStorage.removeItem(place(id)),
};

export class Brush {
  constructor(tile, onDone) {
    this.tile = tile;
    this.onDone = onDone;
    this.size = Math.max(4, Math.round(Math.min(tile.width, tile.height) / 8));
    this.undos = [];
    this.cursor = { x: tile.width / 2, y: tile.height / 2 };
  }

  open() {
    this.canvas = h("canvas", {
      width: this.tile.width, height: this.tile.height, tabindex: 0, role: "application",
      "aria-label": "Mask. Arrow keys move the brush, space paints, X erases, square brackets change the size.",
      onpointerdown: (event) => this.down(event),
      onpointermove: (event) => this.move(event),
      onpointerup: () => (this.last = null),
      onkeydown: (event) => this.key(event),
    });
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.ring = h("span", { class: "ring", "aria-hidden": "true" });
    const size = h("input", {
      type: "range", min: 2, max: Math.round(Math.min(this.tile.width, this.tile.height) / 2), value: this.size,
      oninput: () => this.resize(Number(size.value)),
    });
    this.slider = size;
    this.erasing = h("input", { type: "checkbox" });
    const tools = h("div", { class: "brush-tools" },
      h("label", {}, "Brush", size),
      h("label", { class: "check" }, this.erasing, "Erase"),
      h("button", { type: "button", class: "text-button", onclick: () => this.undo() }, "Undo"),
      h("button", { type: "button", class: "text-button", onclick: () => this.invert() }, "Invert"),
      h("button", { type: "button", class: "text-button", onclick: () => this.clear() }, "Clear"),
      button("check", "Use this mask", () => this.done(), { quiet: false, class: "text-button primary" }));
    const picture = h("img", { src: address(this.tile), alt: this.tile.prompt || "The picture to change" });
    this.board = h("div", { class: "board" }, picture, this.canvas, this.ring);
    this.board.style.aspectRatio = `${this.tile.width} / ${this.tile.height}`;
    this.board.style.setProperty("--ratio", this.tile.width / this.tile.height);
    const hint = h("p", { class: "hint" }, "Paint what may change. The rest of the picture stays as it is, pixel for pixel.");
    this.dialog = openDialog("Paint what may change", [this.board, tools, hint], { class: "brush" });
    this.restore();
    this.canvas.focus();
    this.drawRing();
  }

  restore() {
    const kept = masks.get(this.tile.id);
    if (!kept) return;
    const picture = new Image();
    picture.onload = () => {
      this.pen.drawImage(picture, 0, 0);
      const mask = this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
      for (let i = 0; i < mask.data.length; i += 4) {
        const painted = mask.data[i + 3] < 128;
        mask.data.set(painted ? [94, 234, 212, 255] : [0, 0, 0, 0], i);
      }
      this.pen.putImageData(mask, 0, 0);
    };
    picture.src = kept;
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.last = this.cursor = this.place(event);
    this.stroke(this.last);
  }

  move(event) {
    this.cursor = this.place(event);
    if (this.last) {
      this.stroke(this.cursor);
      this.last = this.cursor;
    }
    this.drawRing();
  }

  stroke(to, erase = this.erasing.checked) {
    const from = this.last ?? to;
    Object.assign(this.pen, { lineWidth: this.size, lineCap: "round", strokeStyle: COLOUR });
    this.pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
    this.pen.beginPath();
    this.pen.moveTo(from.x, from.y);
    this.pen.lineTo(to.x + 0.01, to.y);
    this.pen.stroke();
    this.pen.globalCompositeOperation = "source-over";
  }

  key(event) {
    const step = this.size / 2;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [x, y] = moves[event.key];
      this.cursor = {
        x: Math.max(0, Math.min(this.canvas.width, this.cursor.x + x)),
        y: Math.max(0, Math.min(this.canvas.height, this.cursor.y + y)),
      };
    } else if (event.key === " " || event.key === "x") {
      this.remember();
      this.stroke(this.cursor, event.key === "x" || this.erasing.checked);
    } else if (event.key === "[" || event.key === "]") this.resize(this.size * (event.key === "]" ? 1.25 : 0.8));
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (event.key === "Enter") this.done();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.drawRing();
  }

  resize(size) {
    this.size = Math.max(2, Math.min(Math.min(this.canvas.width, this.canvas.height) / 2, size));
    this.slider.value = this.size;
    this.drawRing();
  }

  drawRing() {
    const percent = (value, whole) => `${(value / whole) * 100}%`;
    Object.assign(this.ring.style, {
      left: percent(this.cursor.x, this.canvas.width), top: percent(this.cursor.y, this.canvas.height),
      width: percent(this.size, this.canvas.width), height: percent(this.size, this.canvas.height),
    });
  }

  remember() {
    this.undos.push(this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.undos.length > UNDOS) this.undos.shift();
  }

  undo() {
    if (this.undos.length) this.pen.putImageData(this.undos.pop(), 0, 0);
  }

  clear() {
    this.remember();
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  invert() {
    this.remember();
    this.pen.globalCompositeOperation = "xor";
    this.pen.fillStyle = COLOUR;
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.pen.globalCompositeOperation = "source-over";
  }

  /** The mask: black, and clear where it was painted; null where nothing is. */
  mask() {
    const painted = this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    let any = false;
    for (let i = 0; i < painted.data.length; i += 4) {
      const clear = painted.data[i + 3] > 127;
      any ||= clear;
      painted.data.set([0, 0, 0, clear ? 0 : 255], i);
    }
    if (!any) return null;
    const flat = h("canvas", { width: this.canvas.width, height: this.canvas.height });
    flat.getContext("2d").putImageData(painted, 0, 0);
    return flat.toDataURL("image/png");
  }

  done() {
    const mask = this.mask();
    if (mask) masks.set(this.tile.id, mask);
    else masks.delete(this.tile.id);
    this.dialog.close();
    this.onDone(this.tile);
  }
}
