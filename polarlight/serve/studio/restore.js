// Pictures that are dropped or pasted: their settings come back, or they become something to start from.

import { upload } from "./api.js";
import { h } from "./elements.js";
import { complain, notice } from "./notices.js";
import { change, imageModel, state } from "./state.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];

/** Bring pictures in as references; what does not fit is said. */
export async function addReferences(files) {
  const model = imageModel();
  if (!model?.tasks.includes("edit")) {
    complain({ message: "The loaded model cannot edit, so a picture cannot be a start. Choose another model." });
    return;
  }
  for (const file of files.filter((each) => KINDS.includes(each.type))) {
    try {
      const tile = await upload("/studio/api/pictures", file);
      change({ references: [...state.references, tile.id].slice(-model.max_inputs) });
    } catch (error) {
      complain(error);
    }
  }
}

/** Read the settings inside a file and put them into the prompt bar; a file without any becomes a reference. */
export async function restore(file) {
  if (!KINDS.includes(file.type)) {
    complain({ message: `${file.name} is not a PNG, JPEG or WebP picture. Drop one of these.` });
    return;
  }
  const found = await upload("/studio/api/restore", file).catch(complain);
  if (!found) return;
  const more = { label: "Start from this picture", run: () => addReferences([file]) };
  if (found.program === null) {
    notice(found.message, { action: more });
    return;
  }
  apply(found);
  notice(`The settings from ${found.program} are back: prompt, ${found.seed === null ? "no seed" : `seed ${found.seed}`}.`, { action: more });
}

/** Put settings into the prompt bar; what this model does not have stays as it is. */
export function apply(settings, { withSeed = true } = {}) {
  const model = imageModel();
  const values = { prompt: settings.prompt ?? "", negative: settings.negative_prompt ?? "", references: [] };
  if (withSeed && settings.seed !== null && settings.seed !== undefined) Object.assign(values, { seed: settings.seed, locked: true });
  if (model?.modes.includes(settings.mode)) values.mode = settings.mode;
  if (settings.width && settings.height) values.aspect = nearest(model, settings.width / settings.height);
  change(values);
}

function nearest(model, ratio) {
  const far = (aspect) => {
    const [width, height] = aspect.split(":").map(Number);
    return Math.abs(Math.log(width / height / ratio));
  };
  return (model?.aspects ?? ["1:1"]).reduce((best, aspect) => (far(aspect) < far(best) ? aspect : best));
}

/** Listen for drops and pastes on the whole page. */
export function listen() {
  const target = h("div", { class: "drop", hidden: true },
    h("div", { class: "drop-half", "data-for": "restore" }, h("strong", {}, "Bring its settings back"), h("span", {}, "Polarlight, A1111 or ComfyUI")),
    h("div", { class: "drop-half", "data-for": "start" }, h("strong", {}, "Start from this picture"), h("span", {}, "Edit it, or parts of it")));
  document.body.append(target);
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    target.hidden = false;
    const half = event.target.closest?.(".drop-half");
    for (const each of target.children) each.classList.toggle("over", each === half);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && (target.hidden = true));
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    target.hidden = true;
    const files = [...event.dataTransfer.files];
    if (event.target.closest?.('[data-for="start"]')) addReferences(files);
    else if (files.length > 0) restore(files[0]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    addReferences(files);
  });
}
