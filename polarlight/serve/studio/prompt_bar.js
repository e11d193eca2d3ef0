// The prompt bar: what to make and how. It only reads and writes the state; whoever made it is told when to begin and to stop.

import { address } from "./api.js";
import { button, h, icon } from "./elements.js";
import { change, imageModel, server, state, watch } from "./state.js";

const COUNTS = [["endless", "Endless"], ["1", "1"], ["2", "2"], ["4", "4"], ["16", "16"]];

export class PromptBar {
  /** on: { create(), stop(), pick(files), paint(id), running(), masked(id), copy() }. */
  constructor(host, on) {
    this.on = on;
    this.text = h("textarea", {
      id: "prompt", rows: 1, "aria-label": "Prompt", placeholder: "Describe a picture…", spellcheck: "true",
      oninput: () => (this.grow(), change({ prompt: this.text.value })),
      onkeydown: (event) => this.key(event),
    });
    this.negative = h("input", {
      class: "negative", "aria-label": "What to keep out", placeholder: "Without… (for example: people, text)",
      oninput: () => change({ negative: this.negative.value }),
    });
    this.references = h("div", { class: "references" });
    this.controls = h("div", { class: "controls" });
    this.go = h("button", { type: "button", class: "go", onclick: () => (on.running() ? on.stop() : on.create()) });
    this.file = h("input", {
      type: "file", accept: "image/png,image/jpeg,image/webp", multiple: true, class: "unseen", tabindex: -1, "aria-hidden": "true",
      onchange: () => (on.pick([...this.file.files]), (this.file.value = "")),
    });
    const add = button("picture", "Add a picture to start from", () => this.file.click());
    host.append(
      this.references,
      h("div", { class: "words" }, add, this.file, h("div", { class: "lines" }, this.text, this.negative), this.go),
      this.controls,
    );
    const root = document.documentElement.style; // what floats or scrolls above the dock knows its height
    new ResizeObserver(() => root.setProperty("--dock", `${host.offsetHeight}px`)).observe(host);
    watch((names) => names.some((name) => name !== "prompt" && name !== "negative" && name !== "run") && this.draw());
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.on.create();
    }
    if (event.key === "Escape") this.text.blur();
  }

  grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, 160)}px`;
  }

  /** Everything as the state has it. */
  draw() {
    if (this.text.value !== state.prompt) this.text.value = state.prompt;
    if (this.negative.value !== state.negative) this.negative.value = state.negative;
    this.grow();
    const model = imageModel();
    const focused = document.activeElement?.closest?.("[data-control]")?.dataset.control;
    this.negative.hidden = !model?.negative_prompt || !this.showsNegative();
    this.references.replaceChildren(...state.references.map((id) => this.reference(id)));
    this.references.hidden = state.references.length === 0;
    this.controls.replaceChildren(...(model ? this.settings(model) : [this.nothing()]));
    this.drawGo();
    this.text.placeholder = state.references.length ? "Say what to change…" : "Describe a picture…";
    if (focused) this.controls.querySelector(`[data-control="${focused}"]`)?.focus();
  }

  drawGo() {
    const running = this.on.running();
    const words = running ? "Stop" : state.references.length ? "Edit" : "Create";
    if (this.go.textContent !== words) this.go.replaceChildren(icon(running ? "stop" : "up"), h("span", {}, words));
    this.go.setAttribute("aria-label", words);
    this.go.classList.toggle("running", running);
    this.go.setAttribute("aria-keyshortcuts", running ? "S" : "Enter");
    this.go.disabled = imageModel() === null;
  }

  showsNegative() {
    return this.withNegative || state.negative !== "";
  }

  nothing() {
    return h("p", { class: "hint" }, "No image model is loaded. Start the server with one: polarlight serve --model polarlight");
  }

  settings(model) {
    const quality = state.mode !== model.modes[0];
    const parts = [
      choice("mode", "Mode", model.modes.map((mode) => [mode, capital(mode)]), state.mode, (mode) => this.setMode(model, mode)),
      state.references.length ? null : this.aspects(model),
      h("label", { class: "field" }, h("span", {}, "Count"), this.counts(quality)),
      this.seed(),
    ];
    if (model.negative_prompt) parts.push(this.negativeSwitch());
    const drawing = server.models.filter((each) => each.modality === "image");
    if (drawing.length > 1) parts.push(this.models(drawing));
    parts.push(button("copy", "Copy as command line, Python or curl", () => this.on.copy(), { class: "icon-button last", "data-control": "copy" }));
    return parts.filter(Boolean);
  }

  setMode(model, mode) {
    const quality = mode !== model.modes[0];
    const count = quality ? (state.count === "endless" || state.count === "16" ? "4" : state.count) : "endless";
    change({ mode, count });
  }

  aspects(model) {
    const shapes = model.aspects.map((aspect) => [aspect, aspect]);
    if (shapes.length > 8) return h("label", { class: "field" }, h("span", {}, "Shape"), select("aspect", shapes, state.aspect, (aspect) => change({ aspect })));
    return choice("aspect", "Shape", shapes, state.aspect, (aspect) => change({ aspect }), shape);
  }

  counts(quality) {
    const edits = state.references.length > 0;
    const few = quality || edits;
    const fitting = COUNTS.filter(([count]) => !few || (count !== "endless" && count !== "16"));
    return select("count", fitting, edits ? state.edits : state.count, (count) => change(edits ? { edits: count } : { count }));
  }

  seed() {
    const number = h("input", {
      type: "number", min: 0, max: 2 ** 32 - 1, step: 1, value: state.seed, "aria-label": "Seed", "data-control": "seed",
      onchange: () => change({ seed: clampSeed(number.value), locked: true }),
    });
    const label = state.locked ? "Seed is locked: the same settings make the same pictures" : "Lock the seed";
    const lock = button(state.locked ? "lock" : "unlock", label, () => change({ locked: !state.locked }), {
      "aria-pressed": String(state.locked), "data-control": "lock",
    });
    return h("div", { class: "field seed" }, h("span", {}, "Seed"), number, lock);
  }

  negativeSwitch() {
    const toggle = () => {
      this.withNegative = !this.showsNegative();
      if (!this.withNegative) change({ negative: "" });
      this.draw();
      if (this.withNegative) this.negative.focus();
    };
    return h("button", {
      type: "button", class: "chip", "aria-pressed": String(this.showsNegative()), "data-control": "negative", onclick: toggle,
    }, "Without…");
  }

  models(drawing) {
    const names = drawing.map((model) => [model.name, model.name]);
    return h("label", { class: "field" }, h("span", {}, "Model"), select("model", names, imageModel().name, (model) => change({ model })));
  }

  reference(id) {
    const without = () => change({ references: state.references.filter((each) => each !== id) });
    const model = imageModel();
    const paint = model?.masks
      ? button("brush", "Paint what may change", () => this.on.paint(id), { quiet: false })
      : h("span", { class: "hint" }, "This model takes no mask.");
    const painted = this.on.masked(id) ? h("span", { class: "hint" }, "Mask painted.") : null;
    return h("div", { class: "reference" }, h("img", { src: address({ id }, 128), alt: "Picture to start from" }), paint, painted,
      button("close", "Take this picture away", without));
  }

  focus() {
    this.text.focus();
    this.text.select();
  }
}

function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

export function clampSeed(text) {
  return Math.max(0, Math.min(2 ** 32 - 1, Math.floor(Number(text)) || 0));
}

/** A small drawing of an aspect. */
function shape(aspect) {
  const [width, height] = aspect.split(":").map(Number);
  const scale = 14 / Math.max(width, height);
  const box = h("span", { class: "shape", "aria-hidden": "true" });
  box.style.width = `${width * scale}px`;
  box.style.height = `${height * scale}px`;
  return box;
}

/** A group of radio buttons that looks like one control; the arrow keys work as in any radio group. */
function choice(name, label, options, value, set, draw) {
  const radios = options.map(([option, words]) =>
    h("label", { class: "option" },
      h("input", { type: "radio", name, value: option, checked: option === value, "data-control": option === value ? name : `${name}-${option}`, onchange: () => set(option) }),
      draw ? draw(option) : null,
      h("span", {}, words)));
  return h("fieldset", { class: "choice", "data-name": name }, h("legend", { class: "unseen" }, label), radios);
}

function select(name, options, value, set) {
  const element = h("select", { "data-control": name, onchange: () => set(element.value) },
    options.map(([option, words]) => h("option", { value: option }, words)));
  element.value = options.some(([option]) => option === value) ? value : options.at(-1)[0];
  return element;
}
