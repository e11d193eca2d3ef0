// Making elements: h("button", { class: "x", onclick }, children...).

/** An element with attributes, properties (functions, booleans) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const PATHS = {
  stream: "M4 6h16M4 12h10M4 18h16",
  history: "M12 7v5l3 2M4 12a8 8 0 1 0 3-6M4 4v4h4",
  heart: "M12 20s-7-4.4-7-10a4 4 0 0 1 7-2.6A4 4 0 0 1 19 10c0 5.600-7 10-7 10z",
  folder: "M4 7h6l2 2h8v10H4z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  search: "M11 5a6 6 0 1 0 0 12a6 6 0 0 0 0-12zM15.500 15.500L20 20",
  lock: "M7 11h10v8H7zM9 11V8a3 3 0 0 1 6 0v3",
  unlock: "M7 11h10v8H7zM9 11V8a3 3 0 0 1 5.800-1",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-2 4 4M15 9.500h.01",
  brush: "M14 5l5 5-8 8H6v-5zM12 7l5 5",
  stop: "M7 7h10v10H7z",
  up: "M12 19V5M6 11l6-6 6 6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 13h8l1-13",
  compare: "M12 4v16M4 7h5v10H4M20 7h-5v10h5",
  layout: "M4 5h16v14H4zM7 8h5v8H7zM15 8h2v3h-2z",
  larger: "M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7",
  video: "M4 7h11v10H4zM15 11l5-3v8l-5-3",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  again: "M19 12a7 7 0 1 1-2-5M19 4v4h-4",
  keys: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8zM12 3v1M12 20v1M3 12h1M20 12h1M6 6l.7.7M17.300 17.300l.7.7M6 18l.7-.7M17.300 6.700l.7-.7",
  leave: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
  tree: "M6 5h4v4H6zM14 15h4v4h-4zM14 5h4v4h-4zM10 7h4M12 7v10h2",
  tune: "M5 8h8M17 8h2M5 16h2M11 16h8M15 6v4M9 14v4",
  share: "M12 15V4M8 8l4-4 4 4M6 12H4v8h16v-8h-2",
  check: "M5 12l5 5 9-10",
};

/** A drawn icon; it says nothing to a screen reader, its button does. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and words; `quiet` shows the icon alone and keeps the words for screen readers and the tooltip. */
export function button(name, label, onclick, { quiet = true, ...attributes } = {}) {
  const words = quiet ? { "aria-label": label, title: label } : {};
  const kind = attributes.class ?? (quiet ? "icon-button" : "text-button");
  return h("button", { type: "button", ...words, ...attributes, class: kind, onclick }, icon(name), quiet ? null : label);
}
