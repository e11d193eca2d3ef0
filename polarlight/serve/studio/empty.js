// What stands where there is nothing yet: a word on what would be here, and something to try.

import { h } from "./elements.js";

const EXAMPLES = [
  "a red cube on a blue table",
  "a poster that says \"HELLO\" with a yellow star",
  "a green ball beside a white cup in soft light",
];
const WORDS = {
  stream: ["Type, look, pick.", "Speed draws an endless stream while you scroll. Quality makes a few candidates. Try one:"],
  history: ["Nothing here yet.", "Everything you make stays here, with its prompt and seed, on every device."],
  favourites: ["No favourites yet.", "Press F on a picture, or its heart, to keep it here."],
  folder: ["This folder is empty.", "Choose pictures with X, then “Move to…” in the bar above them."],
};

/** The element; `draw(view, search)` fills it, and null hides it. */
export function emptyState(tryPrompt) {
  const element = h("div", { class: "empty", hidden: true });
  element.draw = (view, search) => {
    element.hidden = view === null;
    const known = `${view}|${search}`;
    if (view === null || element.dataset.known === known) return;
    element.dataset.known = known;
    const found = search && view !== "stream";
    const [title, words] = found ? ["Nothing is found.", "Every word must stand in the prompt, the model's name or the seed. Try fewer words."] : (WORDS[view] ?? WORDS.folder);
    const examples = view === "stream" ? EXAMPLES.map((prompt) => h("button", { type: "button", class: "example", onclick: () => tryPrompt(prompt) }, prompt)) : [];
    const hint = view === "stream" ? h("p", { class: "hint" }, "Drop a picture to bring its settings back or to edit it. Press ? for every key.") : null;
    element.replaceChildren(h("h2", {}, title), h("p", {}, words), h("div", { class: "examples" }, examples), ...(hint ? [hint] : []));
  };
  return element;
}
