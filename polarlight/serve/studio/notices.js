// Words for a moment: what went wrong, what was done and how to undo it, and progress for screen readers.

import { button, h } from "./elements.js";

const SHOWN_MS = 7000;
const SAY_EVERY_MS = 4000;
let said = 0;
let pending = 0;

/** Show a sentence. `kind` "error" stays until it is closed; `action` is { label, run }. */
export function notice(sentence, { kind = "info", action } = {}) {
  const box = onTop();
  for (const old of box.children) if (old.dataset.sentence === sentence) old.remove();
  const card = h("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status", "data-sentence": sentence });
  const close = () => card.remove();
  card.append(h("p", {}, sentence));
  if (action) {
    const run = () => (close(), action.run());
    card.append(h("button", { type: "button", class: "text-button", onclick: run }, action.label));
  }
  card.append(button("close", "Close this notice", close));
  box.append(card);
  if (kind !== "error") setTimeout(close, SHOWN_MS);
}

/** The box of notices, inside the topmost dialog where one is open: everything else cannot be seen or reached then. */
function onTop() {
  const box = document.querySelector("#notices");
  const host = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (box.parentElement !== host) host.append(box);
  return box;
}

document.addEventListener("close", (event) => {
  const box = document.querySelector("#notices");
  if (event.target.contains(box)) document.body.append(box);
}, true);

/** Show why something failed. */
export function complain(error) {
  notice(error.message, { kind: "error" });
}

/** Tell screen readers how far things are, a few times a minute at most; the last word always comes. */
export function tell(sentence) {
  const place = document.querySelector("#progress");
  const wait = Math.max(0, said + SAY_EVERY_MS - Date.now());
  clearTimeout(pending);
  pending = setTimeout(() => {
    said = Date.now();
    place.textContent = sentence;
  }, wait);
}
