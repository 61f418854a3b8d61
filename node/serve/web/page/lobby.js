// Before a call: choose a room; then see yourself, choose devices, say a name.

import { h, icon, initials, mark, stored, swatch } from "./dom.js";
import { LocalMedia, Meter, canCapture, devices } from "./media.js";

const ADJECTIVES = ["amber", "calm", "clear", "cobalt", "copper", "quiet", "golden", "indigo", "ivory", "linen", "madder", "mellow", "rosy", "russet", "silver", "woad"];
const NOUNS = ["bobbin", "canvas", "fringe", "heddle", "knot", "loom", "ribbon", "selvage", "sheaf", "shuttle", "spindle", "tassel", "thread", "treadle", "twill", "yarn"];

/** @param {string} name @returns {string} what is wrong with it, or "" */
export function roomProblem(name) {
  if (!name) return "A room needs a name.";
  if (new TextEncoder().encode(name).length > 128) return "That name is too long.";
  if (/[\p{Cc}]/u.test(name)) return "That name has characters that cannot be shown.";
  return "";
}

function freshName() {
  const [a, b, n] = crypto.getRandomValues(new Uint32Array(3));
  return `${ADJECTIVES[a % ADJECTIVES.length]}-${NOUNS[b % NOUNS.length]}-${100 + (n % 900)}`;
}

/** @param {string} room */
export const roomPath = (room) => `/r/${encodeURIComponent(room)}`;

/** @param {string} room */
export function remember(room) {
  const rooms = stored.get("rooms", []).filter((/** @type {any} */ r) => typeof r === "string" && r !== room);
  stored.set("rooms", [room, ...rooms].slice(0, 6));
}

export function landing() {
  const input = h("input", { name: "room", placeholder: "Room name", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "128", "aria-label": "Room name" });
  const problem = h("p.problem", { role: "alert" });
  const enter = (/** @type {Event} */ e) => {
    e.preventDefault();
    const room = input.value.trim();
    problem.textContent = roomProblem(room);
    if (!problem.textContent) location.assign(roomPath(room));
  };
  const rooms = stored.get("rooms", []).filter((/** @type {any} */ r) => typeof r === "string");
  return h("div.landing", {},
    h("div.cloth", { "aria-hidden": "true" }),
    h("main", {},
      h("h1", {}, mark(), "Weft"),
      h("p.lead", {}, "Meet in a room. Send the link to whoever should come."),
      h("button.primary.wide", { onclick: () => location.assign(roomPath(freshName())) }, "New room"),
      h("form.enter", { onsubmit: enter }, input, h("button", {}, "Enter")),
      problem,
      rooms.length > 0 && h("nav.recent", { "aria-label": "Recent rooms" }, h("h2", {}, "Recent"),
        ...rooms.map((/** @type {string} */ r) => h("a", { href: roomPath(r) }, r)))));
}

/** Said where a browser holds back both camera and cryptography. @param {string} room */
export function insecure(room) {
  const secure = `https://${location.host}${roomPath(room)}`;
  return h("div.landing", {}, h("div.cloth", { "aria-hidden": "true" }), h("main", {},
    h("h1", {}, mark(), "Weft"),
    h("p.lead", {}, "This page came over plain http. Browsers then give it neither camera nor encryption, so it cannot join the room."),
    h("a.button.primary.wide", { href: secure }, "Open over https"),
    h("p.hint", {}, "If the certificate is self-signed, the browser warns you once. From the machine itself, http://localhost works too.")));
}

/**
 * @typedef {{name: string, media: LocalMedia}} Joined
 * @param {string} room @param {{name: string, join: string | null}} query
 * @param {(joined: Joined) => void} onjoin
 */
export function prejoin(room, query, onjoin) {
  const media = new LocalMedia();
  const meter = new Meter();
  const view = new Preview(room, media, query.name || stored.get("name", ""));
  const wanted = { video: stored.get("wantCamera", true), audio: stored.get("wantMic", true) };
  let done = false;

  const timer = setInterval(() => view.level(meter.level(media.audio)), 80);
  const finish = (/** @type {boolean} */ watch) => {
    if (done) return;
    done = true;
    clearInterval(timer);
    meter.close();
    if (watch) media.close();
    const name = view.name.value.trim().slice(0, 64);
    stored.set("name", name);
    onjoin({ name: name || "Guest", media });
  };

  const refresh = async () => view.update(await devices());
  const open = async (/** @type {import("./media.js").Wanted} */ want) => {
    view.opening = true;
    refresh();
    await media.open(want);
    if (done) media.close(); // the permission came after "Just watch"
    view.opening = false;
    await refresh();
  };
  media.onchange = refresh;
  view.mic.onclick = async () => {
    if (!media.audio) await open({ video: false, audio: true });
    else media.audio.enabled = !media.audio.enabled;
    stored.set("wantMic", media.micOn);
    refresh();
  };
  view.camera.onclick = async () => {
    if (media.video) media.closeVideo();
    else await open({ video: true, audio: false });
    stored.set("wantCamera", media.cameraOn);
    refresh();
  };
  view.cameras.onchange = async () => { await media.choose("video", view.cameras.value); refresh(); };
  view.mics.onchange = async () => { await media.choose("audio", view.mics.value); refresh(); };
  view.form.onsubmit = (e) => { e.preventDefault(); finish(false); };
  view.watch.onclick = () => finish(true);

  if (query.join === "watch") {
    queueMicrotask(() => finish(true));
  } else {
    const first = query.join ? { video: true, audio: true } : wanted;
    const opened = (first.video || first.audio) && canCapture() ? open(first) : refresh();
    if (query.join) opened.then(() => finish(false));
  }
  return view.element;
}

/** The look of the page before joining. */
class Preview {
  /** @param {string} room @param {LocalMedia} media @param {string} name */
  constructor(room, media, name) {
    this.media = media;
    this.opening = false;
    this.video = h("video", { muted: true, autoplay: true, playsinline: true, "aria-label": "Your camera" });
    this.video.muted = true;
    this.letters = h("span.letters");
    this.mic = h("button.round", { type: "button" });
    this.camera = h("button.round", { type: "button" });
    this.meter = h("span.meter", { "aria-hidden": "true" });
    this.problem = h("p.problem", { role: "alert" });
    this.cameras = h("select", { "aria-label": "Camera" });
    this.mics = h("select", { "aria-label": "Microphone" });
    this.name = h("input", { name: "name", value: name, placeholder: "Your name", autocomplete: "name", maxlength: "64", "aria-label": "Your name" });
    this.name.addEventListener("input", () => this.#letters());
    this.join = h("button.primary", {}, "Join");
    this.watch = h("button", { type: "button" }, "Just watch");
    this.box = h("div.preview", {}, swatch(`${room}/preview`), h("div.face", {}, this.letters), this.video,
      h("div.controls", {}, this.mic, this.camera), this.meter);
    /** @type {HTMLFormElement} */
    this.form = h("form", {}, h("h1", {}, room), this.name, h("div.devices", {}, this.cameras, this.mics), this.problem, h("div.actions", {}, this.join, this.watch));
    this.element = h("div.prejoin", {}, h("a.home", { href: "/" }, mark(), "Weft"), h("main", {}, this.box, this.form));
    this.update({ videoinput: [], audioinput: [], audiooutput: [] });
  }

  #letters() { this.letters.textContent = initials(this.name.value) || "·"; }

  /** @param {Awaited<ReturnType<typeof devices>>} found */
  update(found) {
    const { media } = this;
    toggle(this.mic, this.opening || media.micOn, "mic", "microphone");
    toggle(this.camera, this.opening || media.cameraOn, "camera", "camera");
    this.mic.disabled = this.camera.disabled = this.opening || !canCapture();
    if (this.video.srcObject?.getVideoTracks()[0] !== media.video) {
      this.video.srcObject = media.video ? new MediaStream([media.video]) : null;
      if (media.video) this.video.play().catch(() => {});
    }
    this.box.classList.toggle("live", media.cameraOn);
    fill(this.cameras, found.videoinput, media.video, "Camera");
    fill(this.mics, found.audioinput, media.audio, "Microphone");
    this.problem.textContent = media.problem;
    this.join.textContent = this.opening || media.stream.getTracks().length ? "Join" : "Join without camera";
    this.box.classList.toggle("opening", this.opening);
    this.#letters();
  }

  /** @param {number} level */
  level(level) { this.meter.style.setProperty("--level", level.toFixed(2)); }
}

/** @param {HTMLButtonElement} button @param {boolean} on @param {string} image @param {string} what @param {string} [key] */
export function toggle(button, on, image, what, key) {
  const text = `Turn ${what} ${on ? "off" : "on"}${key ? ` (${key})` : ""}`;
  button.replaceChildren(icon(on ? image : `${image}Off`));
  button.classList.toggle("off", !on);
  button.title = text;
  button.setAttribute("aria-label", text);
  button.setAttribute("aria-pressed", String(on));
}

/** @param {HTMLSelectElement} select @param {MediaDeviceInfo[]} found @param {MediaStreamTrack | null} track @param {string} what */
export function fill(select, found, track, what) {
  const current = track?.getSettings().deviceId ?? select.value;
  select.replaceChildren(...found.map((d, i) => h("option", { value: d.deviceId }, d.label || `${what} ${i + 1}`)));
  select.disabled = found.length === 0;
  if (found.length === 0) select.append(h("option", {}, `No ${what.toLowerCase()}`));
  else if (found.some((d) => d.deviceId === current)) select.value = current;
}
