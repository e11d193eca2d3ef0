// Signing in with a key, where the studio is not opened on the machine itself.

import { post } from "./api.js";
import { h } from "./elements.js";

/** Show the door until a key is accepted; resolves with the server's greeting. */
export function door(host) {
  return new Promise((resolve) => {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const input = h("input", { type: "password", id: "key", autocomplete: "current-password", required: true, placeholder: "pl-…" });
    const enter = async (event) => {
      event.preventDefault();
      wrong.textContent = "";
      try {
        const greeting = await post("/studio/api/session", { key: input.value });
        host.hidden = true;
        host.replaceChildren();
        resolve(greeting);
      } catch (error) {
        wrong.textContent = error.message;
        input.select();
      }
    };
    host.replaceChildren(h("main", {}, h("form", { onsubmit: enter },
      h("img", { src: "/studio/icon.svg", alt: "", width: 48, height: 48 }),
      h("h1", {}, "Polarlight studio"),
      h("p", { class: "hint" }, "Paste a key of this server. The operator makes keys; on the server's own machine none is needed."),
      h("label", { for: "key" }, "Key"), input, wrong,
      h("button", { class: "text-button primary" }, "Sign in"))));
    host.hidden = false;
    input.focus();
  });
}
