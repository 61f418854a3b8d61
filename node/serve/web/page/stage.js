// The tiles of a call: one for each picture, and one for each person without a picture.

import { h, icon, initials, swatch } from "./dom.js";
import { grid, spotlight } from "./layout.js";

/**
 * What a tile shows.
 * @typedef {object} TileModel
 * @property {string} key
 * @property {string} peer id; the cloth and its colours belong to it
 * @property {string} name
 * @property {MediaStreamTrack | null} video
 * @property {string} note in place of a picture, for one a codec that this browser lacks
 * @property {boolean} own
 * @property {boolean} screen
 * @property {boolean} muted microphone off
 * @property {boolean} away connection interrupted
 */

class Tile {
  /** @type {TileModel | null} */ model = null;

  /** @param {TileModel} model @param {() => void} onclick */
  constructor(model, onclick) {
    this.video = h("video", { muted: true, autoplay: true, playsinline: true, tabindex: "-1" });
    this.video.muted = true;
    this.video.disablePictureInPicture = false;
    this.video.onresize = this.video.onplaying = this.video.onloadeddata = () => this.#fit();
    this.letters = h("span.letters");
    this.note = h("p.note");
    this.name = h("span.name");
    this.muted = h("span.muted", { title: "Microphone off" }, icon("micOff"));
    this.stats = h("pre.stats");
    this.element = h("div.tile", {
      role: "button", tabindex: "0", onclick,
      onkeydown: (/** @type {KeyboardEvent} */ e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); onclick(); } },
    }, swatch(model.peer), h("div.face", {}, this.letters, this.note), this.video, this.stats, h("div.tag", {}, this.muted, this.name));
    this.update(model);
  }

  /** @param {TileModel} model */
  update(model) {
    const before = this.model;
    this.model = model;
    const { classList } = this.element;
    this.name.textContent = model.own ? (model.screen ? "Your screen" : `${model.name} (you)`) : model.screen ? `${model.name}’s screen` : model.name;
    this.element.setAttribute("aria-label", `${this.name.textContent}${model.muted ? ", microphone off" : ""}. Show large or in the grid.`);
    this.letters.textContent = initials(model.name);
    this.note.textContent = model.note;
    for (const name of /** @type {const} */ (["own", "screen", "muted", "away"])) classList.toggle(name, model[name]);
    classList.toggle("noted", model.note !== "");
    if (before?.video !== model.video) {
      this.video.srcObject = model.video ? new MediaStream([model.video]) : null;
      if (model.video) this.video.play().catch(() => {});
    }
    this.#fit();
  }

  /** Shows the picture once there is one, cropped only if little is lost. */
  #fit() {
    const { videoWidth, videoHeight, readyState } = this.video;
    const video = this.model?.video;
    const shown = !!video && videoWidth > 0 && readyState >= 2 && (this.model?.own || !video.muted);
    this.element.classList.toggle("live", shown);
    if (!this.box || !shown) return;
    const ratio = (videoWidth / videoHeight) / (this.box.w / this.box.h);
    const whole = this.model?.screen || this.large || ratio > 1.9 || ratio < 1 / 1.9;
    this.element.classList.toggle("whole", whole);
  }

  /** @type {import("./layout.js").Box | null} */ box = null;
  large = false;

  /** @param {import("./layout.js").Box} box @param {boolean} large */
  place(box, large) {
    this.box = box;
    this.large = large;
    const { style, classList } = this.element;
    style.left = `${Math.round(box.x)}px`;
    style.top = `${Math.round(box.y)}px`;
    style.width = `${Math.floor(box.w)}px`;
    style.height = `${Math.floor(box.h)}px`;
    classList.toggle("large", large);
    classList.toggle("small", box.w < 200 || box.h < 120);
    this.#fit();
  }
}

export class Stage {
  /** @type {Map<string, Tile>} */ #tiles = new Map();
  /** @type {string | null} */ #spot = null;
  /** Screens that were made small by hand stay so. @type {Set<string>} */ #seenScreens = new Set();

  constructor() {
    this.spacer = h("div.spacer");
    this.alone = h("div.alone");
    this.element = h("main.stage", { "aria-label": "Participants" }, this.spacer, this.alone);
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.element);
    this.element.addEventListener("scroll", () => this.onlayout(), { passive: true });
  }

  /** @param {TileModel[]} models in the order in which they stand */
  update(models) {
    const keys = new Set(models.map((m) => m.key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.video.srcObject = null;
      tile.element.remove();
      this.#tiles.delete(key);
      this.#seenScreens.delete(key);
    }
    /** @type {Map<string, Tile>} */
    const ordered = new Map();
    for (const model of models) {
      let tile = this.#tiles.get(model.key);
      if (tile) tile.update(model);
      else {
        tile = new Tile(model, () => this.spot(this.#spot === model.key ? null : model.key));
        this.element.append(tile.element);
      }
      ordered.set(model.key, tile);
      if (model.screen && !model.own && !this.#seenScreens.has(model.key)) {
        this.#seenScreens.add(model.key);
        this.#spot = model.key; // what someone wants to show everyone is shown large at first
      }
    }
    this.#tiles = ordered;
    if (this.#spot && !keys.has(this.#spot)) this.#spot = null;
    this.layout();
  }

  /** @param {string | null} key */
  spot(key) {
    this.#spot = key;
    this.layout();
  }

  /** @param {string} key @returns {{w: number, h: number, seen: boolean} | undefined} the tile in device pixels */
  box(key) {
    const box = this.#tiles.get(key)?.box;
    if (!box) return undefined;
    const { scrollTop, clientHeight } = this.element;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    return { w: box.w * scale, h: box.h * scale, seen: box.y < scrollTop + clientHeight && box.y + box.h > scrollTop };
  }

  get spotted() { return this.#spot !== null; }

  layout() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return;
    const area = { x: 0, y: 0, w: clientWidth, h: clientHeight };
    const tiles = [...this.#tiles];
    if (this.#spot) tiles.sort(([a], [b]) => Number(b === this.#spot) - Number(a === this.#spot));
    const { boxes, height } = this.#spot ? spotlight(tiles.length, area) : grid(tiles.length, area);
    tiles.forEach(([key, tile], i) => tile.place(boxes[i], key === this.#spot && tiles.length > 1));
    this.spacer.style.height = `${Math.floor(height)}px`;
    this.onlayout();
  }

  /** Called when tiles have other places. */
  onlayout() {}

  /** @param {(key: string) => boolean} speaks */
  mark(speaks) {
    for (const [key, tile] of this.#tiles) tile.element.classList.toggle("speaking", speaks(key));
  }

  /** @param {(key: string) => string} text */
  stats(text) {
    for (const [key, tile] of this.#tiles) tile.stats.textContent = text(key);
  }

  close() {
    this.observer.disconnect();
    for (const { video } of this.#tiles.values()) video.srcObject = null;
  }
}

/** Sound of remote streams, apart from the pictures so that pictures may start before sound is allowed. */
export class Sound {
  /** @type {Map<string, HTMLAudioElement>} */ #players = new Map();
  #retry = () => this.retry();

  /** @param {(blocked: boolean) => void} onblocked */
  constructor(onblocked) {
    this.onblocked = onblocked;
    this.sink = "";
    for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, this.#retry, true);
  }

  /** @param {Map<string, MediaStreamTrack>} tracks by a key of their own */
  update(tracks) {
    for (const [key, player] of this.#players) {
      const track = tracks.get(key);
      if (track && /** @type {MediaStream} */ (player.srcObject).getTracks()[0] === track) continue;
      player.srcObject = null;
      this.#players.delete(key);
    }
    for (const [key, track] of tracks) {
      if (this.#players.has(key)) continue;
      const player = new Audio();
      player.srcObject = new MediaStream([track]);
      this.#players.set(key, player);
      this.#route(player);
      this.#play(player);
    }
  }

  /** @param {HTMLAudioElement} player */
  #play(player) {
    player.play().catch((error) => { if (error?.name === "NotAllowedError") this.onblocked(true); });
  }

  retry() {
    const waiting = [...this.#players.values()].filter((p) => p.paused);
    if (waiting.length === 0) return;
    Promise.all(waiting.map((p) => p.play())).then(() => this.onblocked(false), () => {});
  }

  /** @param {string} sink device id of an audio output */
  route(sink) {
    this.sink = sink;
    for (const player of this.#players.values()) this.#route(player);
  }

  /** @param {any} player */
  #route(player) {
    if (this.sink || player.sinkId) player.setSinkId?.(this.sink).catch(() => {});
  }

  close() {
    this.update(new Map());
    for (const event of ["pointerdown", "keydown"]) document.removeEventListener(event, this.#retry, true);
  }
}
