// Dialogs: the browser's own, which hold the focus and close with Escape.

import { button, h } from "./elements.js";

/** Open a dialog with a title; it removes itself when it closes. Returns the element. */
export function openDialog(title, content, { onclose, ...attributes } = {}) {
  const dialog = h("dialog", { "aria-label": title, ...attributes });
  const head = h("header", { class: "dialog-head" }, h("h2", {}, title), button("close", "Close", () => dialog.close()));
  dialog.append(head, ...content.filter(Boolean));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask for a line of text; null where the person turned back. */
export function askFor(title, label, value = "") {
  return new Promise((resolve) => {
    let answer = null;
    const input = h("input", { value, maxlength: 80, required: true });
    const form = h("form", { method: "dialog", class: "ask", onsubmit: () => (answer = input.value.trim()) },
      h("label", {}, label, input), h("button", { class: "text-button primary" }, "Save"));
    openDialog(title, [form], { class: "small", onclose: () => resolve(answer || null) });
    input.focus();
  });
}
