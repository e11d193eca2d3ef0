// The gate's question where a request changes a photograph of a person: asked when the server says so, answered for that request alone.

import { openDialog } from "./dialogs.js";
import { h } from "./elements.js";

/** Ask whether the person shown consents. True where the box was ticked and the answer sent, false where one turned back. */
export function askForConsent() {
  return new Promise((resolve) => {
    let given = false;
    const box = h("input", { type: "checkbox", name: "consent", required: true, "aria-describedby": "consent-hint" });
    const form = h("form", { method: "dialog", class: "consent", onsubmit: () => (given = box.checked) },
      h("p", { id: "consent-why" }, "The picture counts as a photograph, and the request speaks of a person. It is made only with that person's consent."),
      h("label", {}, box, "I have the consent of the person shown."),
      h("p", { class: "hint", id: "consent-hint" }, "What you state is written down with this request."),
      h("button", { class: "text-button primary" }, "Continue"));
    openDialog("Consent", [form], { class: "small", "aria-describedby": "consent-why", onclose: () => resolve(given) });
    box.focus();
  });
}
