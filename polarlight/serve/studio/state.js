// The page's state: what is shown and chosen. What belongs to the person lies on the server, so that a reload and another device
// show the same; only what belongs to the device (theme, size of tiles) lies in the browser.

import { put } from "./api.js";

const SAVE_AFTER_MS = 500;

/** Settings of the next request, and where the page stands. Everything here is kept on the server. */
export const state = {
  prompt: "",
  negative: "",
  model: "",
  mode: "",
  aspect: "1:1",
  count: "endless", // of pictures to draw
  edits: "2", // of edits to make
  seed: 0,
  locked: false,
  references: [], // ids of tiles
  view: "stream", // "stream", "history", "favourites" or a folder's id
  run: null, // { prompt, first, seed, next, aspect, mode, quality } of the last stream
};

/** What is known of the server: models, folders, address. Never saved. */
export const server = { models: [], folders: [], address: "", key: "" };

/** Choices of this device. */
export const device = { theme: localStorage.getItem("theme") ?? "auto", tile: Number(localStorage.getItem("tile") ?? 176) };

const watchers = new Set();
let timer = 0;

/** Hear every change; the names of what changed come along. */
export function watch(listener) {
  watchers.add(listener);
}

/** Change the state, tell everybody, and save it soon. */
export function change(values) {
  const names = Object.keys(values).filter((name) => state[name] !== values[name]);
  if (names.length === 0) return;
  Object.assign(state, values);
  for (const listener of watchers) listener(names);
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_AFTER_MS);
}

/** Take over what the server kept; names that are not known any more are left out. */
export function adopt(kept) {
  for (const name of Object.keys(state)) if (kept[name] !== undefined) state[name] = kept[name];
}

/** Save now, also while the page is being left. */
export function save() {
  clearTimeout(timer);
  timer = 0;
  return put("/studio/api/state", state).catch(() => {}); // the next change saves it all again
}

export const unsaved = () => timer !== 0;

export function setDevice(name, value) {
  device[name] = value;
  localStorage.setItem(name, value);
}

/** The model that draws, or null where the server has none. */
export function imageModel() {
  const drawing = server.models.filter((model) => model.modality === "image");
  return drawing.find((model) => model.name === state.model) ?? drawing[0] ?? null;
}

/** The model that makes pictures larger, the chosen one where it can, or null. */
export function upscaler() {
  const able = server.models.filter((model) => model.tasks.includes("upscale"));
  return able.find((model) => model.name === state.model) ?? able[0] ?? null;
}

/** Whether a tile can be drawn anew by a plan. */
export function planned(tile) {
  return Boolean(imageModel()?.plans) && tile.content_type.startsWith("image/");
}

/** The model that makes clips, or null. */
export function videoModel() {
  return server.models.find((model) => model.modality === "video") ?? null;
}
