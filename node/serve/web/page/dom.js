// Small helpers that build the page: elements, icons, weaves, toasts. Text from outside only ever becomes text nodes.

/**
 * @param {string} spec tag with optional .classes
 * @param {Record<string, any>} [props] on… are listeners, booleans are present or absent, the rest attributes
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== false).map((c) => /** @type {Node | string} */ (c)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} tag @param {Record<string, any>} attributes @param {...Node} children @returns {SVGElement} */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Strokes on a 24 by 24 field. @type {Record<string, string>} */
const ICONS = {
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21",
  micOff: "M9 9v2a3 3 0 0 0 4.6 2.5M15 11.2V6a3 3 0 0 0-5.7-1.3M5.5 11a6.5 6.5 0 0 0 10.4 5.2M18.5 11a6.4 6.4 0 0 1-.6 2.7M12 17.5V21M4 4l16 16",
  camera: "M4.5 6.5h9a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16V8a1.5 1.5 0 0 1 1.5-1.5zM15 11l6-3.5v9L15 13",
  cameraOff: "M10 6.5h3.5a1.5 1.5 0 0 1 1.5 1.5V11l6-3.5v9L17 14.2M15 15.5V16a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16V8a1.5 1.5 0 0 1 1.5-1.5H6M4 4l16 16",
  screen: "M4.5 4.5h15A1.5 1.5 0 0 1 21 6v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 15V6a1.5 1.5 0 0 1 1.5-1.5zM8 20h8M12 13.5V8M9.5 10.2L12 7.7l2.5 2.5",
  leave: "M3.2 14.6c-.9-1-.9-2.6.1-3.5 4.9-4.3 12.5-4.3 17.4 0 1 .9 1 2.5.1 3.5l-.8.8c-.5.5-1.3.6-1.9.2l-2-1.3c-.5-.3-.8-.9-.7-1.5l.1-1.3a10.6 10.6 0 0 0-7 0l.1 1.3c.1.6-.2 1.2-.7 1.5l-2 1.3c-.6.4-1.4.3-1.9-.2z",
  chat: "M5 4.5h14A1.5 1.5 0 0 1 20.5 6v9.5A1.5 1.5 0 0 1 19 17h-7l-4.5 3.7V17H5a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 5 4.5zM8 9h8M8 12.5h5",
  people: "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5c0-3 2.9-5 6.5-5s6.5 2 6.5 5M15.5 4.8a3.5 3.5 0 0 1 0 6.4M17.8 14.9c2.2.7 3.7 2.4 3.7 4.6",
  invite: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L11.6 7.4M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1.7-1.7",
  stats: "M4 20V11M10 20V4M16 20v-7M21 20H3M20.5 9.5L16 6",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  full: "M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15",
  close: "M6 6l12 12M18 6L6 18",
  send: "M4.5 12L3.5 4.5 21 12 3.5 19.5zM4.5 12H12",
  copy: "M9 8.5h9.5A1.5 1.5 0 0 1 20 10v9a1.5 1.5 0 0 1-1.5 1.5H9A1.5 1.5 0 0 1 7.5 19v-9A1.5 1.5 0 0 1 9 8.5zM16 5.5V5a1.5 1.5 0 0 0-1.5-1.5h-9A1.5 1.5 0 0 0 4 5v9a1.5 1.5 0 0 0 1.5 1.5",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11",
  attach: "M19.5 11.5l-7.6 7.6a4.6 4.6 0 0 1-6.5-6.5l8-8a3.1 3.1 0 0 1 4.4 4.4l-7.9 7.9a1.5 1.5 0 0 1-2.2-2.2l7.2-7.1",
  file: "M7 3.5h7l4.5 4.5v11a1.5 1.5 0 0 1-1.5 1.5H7A1.5 1.5 0 0 1 5.5 19V5A1.5 1.5 0 0 1 7 3.5zM13.5 3.5V8.5h5",
  save: "M12 4v11M7 10.5l5 5 5-5M5 19.5h14",
  back: "M14.5 5.5L8 12l6.5 6.5",
};

/** @param {string} name */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** The mark: a weft thread in the shape of its initial, over the outer warp threads and under the middle one. */
export function mark() {
  return svg("svg", { class: "mark", viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { class: "warp", d: "M5 2.5v5.7M5 15.8v5.7M12 2.5v19M19 2.5v5.7M19 15.8v5.7" }),
    svg("path", { class: "weft", d: "M2 6.5l5.5 11 2.3-4.6M14.2 12.9l2.3 4.6 5.5-11" }));
}

/** @param {string} text @returns {number} */
export function hash(text) {
  let n = 2166136261;
  for (const c of text) n = Math.imul(n ^ /** @type {number} */ (c.codePointAt(0)), 16777619) >>> 0;
  return n;
}

/** Hues of natural dyes: madder, marigold, weld, woad and indigo, walnut green. */
const DYES = [12, 32, 48, 92, 158, 186, 208, 232, 276, 338];

/** @param {string} id @returns {number} a hue of its own */
export const hueOf = (id) => DYES[hash(id) % DYES.length];

/** Which thread lies on top at a crossing. @type {((x: number, y: number) => boolean)[]} */
const WEAVES = [
  (x, y) => (x + y) % 2 === 0, // plain
  (x, y) => (x + y) % 4 < 2, // twill
  (x, y) => (x + (y % 8 < 4 ? y % 8 : 8 - (y % 8))) % 4 < 2, // herringbone
  (x, y) => ((x >> 1) + (y >> 1)) % 2 === 0, // basket
  (x, y) => (x * 2 + y) % 5 < 2, // satin
];

/** A piece of cloth that belongs to an id: what stands where a picture is missing. @param {string} id */
export function swatch(id) {
  const n = hash(`${id}~`);
  const over = WEAVES[n % WEAVES.length];
  const field = svg("svg", { class: "swatch", viewBox: "0 0 32 18", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" });
  for (const warp of [true, false]) {
    let d = "";
    for (let y = 0; y < 18; y++) {
      for (let x = 0; x < 32; x++) {
        if (over(x, y) !== warp) continue;
        d += warp ? `M${x + 0.12} ${y}h.76v1h-.76z` : `M${x} ${y + 0.12}h1v.76h-1z`;
      }
    }
    const path = svg("path", { class: warp ? "warp" : "weft", d });
    field.append(path);
  }
  field.style.setProperty("--hue", String(hueOf(id)));
  return field;
}

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/);
  const first = (/** @type {string | undefined} */ w) => [...(w ?? "")][0] ?? "";
  return (first(words[0]) + (words.length > 1 ? first(words[words.length - 1]) : "")).toUpperCase();
}

/** @param {string} text @param {number} [ms] */
export function toast(text, ms = 4000) {
  const box = h("div.toast", {}, text);
  const all = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  for (const old of [...all.children]) if (old.textContent === text) old.remove();
  while (all.childElementCount > 2) all.firstElementChild?.remove();
  all.append(box);
  setTimeout(() => box.remove(), ms);
}

/** Storage that may be forbidden. */
export const stored = {
  /** @param {string} key @param {any} fallback */
  get(key, fallback) {
    try { return JSON.parse(localStorage.getItem(`weft.${key}`) ?? "null") ?? fallback; } catch { return fallback; }
  },
  /** @param {string} key @param {any} value */
  set(key, value) {
    try { localStorage.setItem(`weft.${key}`, JSON.stringify(value)); } catch { /* private mode */ }
  },
};
