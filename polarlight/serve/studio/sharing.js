// Sharing pictures for training: off until somebody turns it on here, and off again at any time.

import { get, post } from "./api.js";
import { openDialog } from "./dialogs.js";
import { h } from "./elements.js";
import { complain, notice } from "./notices.js";

const TICKS = 1e10; // a dollar

/** What sharing means, and the switch. */
export async function showSharing() {
  try {
    const now = await get("/studio/api/sharing");
    const grant = now.monthly_grant_ticks ? ` It brings $${(now.monthly_grant_ticks / TICKS).toFixed(2)} of credit a month.` : "";
    const since = now.since ? h("p", { class: "hint" }, `Shared since ${new Date(1000 * now.since).toLocaleDateString()}.`) : null;
    const box = h("input", { type: "checkbox", name: "shares", checked: now.shares, "aria-describedby": "sharing-hint" });
    const form = h("form", { method: "dialog", class: "consent", onsubmit: () => box.checked !== now.shares && change(box.checked) },
      h("p", {}, `The operator may use pictures that you make from words, and their prompts, to train models.${grant}`),
      h("label", {}, box, "Share my pictures for training"), since,
      h("p", { class: "hint", id: "sharing-hint" }, "Only what you make from then on, never what you upload or make from it. You can take it back at any time; then nothing of it is exported any more."),
      h("button", { class: "text-button primary" }, "Save"));
    openDialog("Sharing for training", [form], { class: "small" });
    box.focus();
  } catch (error) {
    complain(error);
  }
}

async function change(shares) {
  try {
    await post("/studio/api/sharing", { shares });
    notice(shares ? "What you make from words is shared from now on." : "Nothing of yours is shared any more.");
  } catch (error) {
    complain(error);
  }
}
