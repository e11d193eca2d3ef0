// The side: where to look (stream, history, favourites, folders), and how the page looks.

import { get, post, remove } from "./api.js";
import { askFor } from "./dialogs.js";
import { button, h, icon } from "./elements.js";
import { complain } from "./notices.js";
import { device, server, setDevice, state } from "./state.js";

const VIEWS = [["stream", "stream", "Stream"], ["history", "history", "History"], ["favourites", "heart", "Favourites"]];
const THEMES = { auto: "As the system", dark: "Dark", light: "Light" };

export class Side {
  /** on: { view(name), sharing(), shortcuts(), signOut() }. */
  constructor(host, on) {
    this.host = host;
    this.on = on;
    this.dressed();
  }

  draw() {
    const views = VIEWS.map(([name, picture, words]) => this.link(name, picture, words));
    const folders = server.folders.map((folder) => h("li", {}, this.link(folder.id, "folder", folder.name, folder.count),
      button("close", `Delete the folder ${folder.name}; its pictures stay`, () => this.drop(folder), { class: "icon-button small" })));
    this.host.replaceChildren(
      h("div", { class: "brand" }, h("img", { src: "/studio/icon.svg", alt: "", width: 28, height: 28 }), h("span", {}, "Polarlight")),
      h("ul", { class: "views" }, views.map((view) => h("li", {}, view))),
      h("div", { class: "folders" },
        h("header", {}, h("h2", {}, "Folders"), button("plus", "New folder", () => this.add())),
        h("ul", { class: "views" }, folders)),
      h("div", { class: "foot" },
        button("sun", `Colours: ${THEMES[device.theme]}`, () => this.nextTheme()),
        button("share", "Sharing for training", this.on.sharing),
        button("keys", "Keyboard shortcuts (?)", this.on.shortcuts),
        button("leave", `Sign out (${server.key})`, this.on.signOut)));
  }

  link(name, picture, words, count) {
    const current = state.view === name;
    return h("button", { type: "button", class: "view", "aria-current": current ? "page" : null, onclick: () => this.on.view(name) },
      icon(picture), h("span", {}, words), count === undefined ? null : h("span", { class: "count" }, String(count)));
  }

  async refresh() {
    try {
      server.folders = (await get("/studio/api/folders")).folders;
      this.draw();
    } catch (error) {
      complain(error);
    }
  }

  async add() {
    const name = await askFor("New folder", "Its name");
    if (!name) return null;
    try {
      const folder = await post("/studio/api/folders", { name });
      await this.refresh();
      return folder;
    } catch (error) {
      complain(error);
      return null;
    }
  }

  async drop(folder) {
    try {
      await remove(`/studio/api/folders/${folder.id}`);
      if (state.view === folder.id) this.on.view("history");
      await this.refresh();
    } catch (error) {
      complain(error);
    }
  }

  nextTheme() {
    const names = Object.keys(THEMES);
    setDevice("theme", names[(names.indexOf(device.theme) + 1) % names.length]);
    this.dressed();
    this.draw();
  }

  dressed() {
    if (device.theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = device.theme;
  }
}
