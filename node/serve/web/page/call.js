// A call: joins what the client knows of the room to what the page shows, and the buttons to the client.

import { Peer } from "../client/peer.js";
import { Guard, Refused } from "../client/guard.js";
import { NatsDriver } from "../client/nats.js";
import { collect } from "../client/stats.js";
import { h, icon, mark, toast } from "./dom.js";
import { Meter, canShareScreen } from "./media.js";
import { Files, dropZone } from "./files.js";
import { Panel } from "./panel.js";
import { Sound, Stage } from "./stage.js";
import { StatsText } from "./numbers.js";
import { Wishes } from "./wishes.js";
import { invite, settings, shortcuts } from "./dialogs.js";
import { roomPath, toggle } from "./lobby.js";

const CAMERA = "camera";
const SCREEN = "screen";
const SPEAKING = 0.015; // audio level from which someone counts as speaking
const HOLD = 600; // ms that the mark stays after that
const NOTICE_AFTER = 1500; // ms without signaling before the page speaks of it

/** @typedef {{signaling: {driver: string, options: {servers?: string[], prefix?: string}}, iceServers: RTCIceServer[], guarded: boolean}} Config */

const LARGEST = 1_700_000; // bit/s of a camera of 1280 by 720

/**
 * The layers in which a hub gets the camera. VP9 and AV1 have them within one stream, others are sent as three: a
 * quarter, a half and all of it. A small picture is not worth more than one.
 * @param {MediaStreamTrack | null} track @param {string} [codec]
 */
export function layers(track, codec) {
  const small = (track?.getSettings().width ?? 0) < 640;
  if (codec === "VP9" || codec === "AV1") return [{ scalabilityMode: small ? "L1T3" : "L3T3", maxBitrate: LARGEST }];
  if (small) return undefined;
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "f", maxBitrate: LARGEST },
  ];
}

export class Call {
  /** @type {Map<string, {mic: boolean, camera: boolean}>} */ #states = new Map();
  /** @type {Map<string, number>} */ #spoke = new Map();
  /** @type {Map<string, string>} names of people who were here, for messages that come late */ #names = new Map();
  /** @type {MediaStream | null} */ #screen = null;
  #meter = new Meter();
  #numbers = new StatsText();
  /** @type {any[]} */ #timers = [];
  #abort = new AbortController();
  #rendering = false;
  #showStats = false;
  #silentSince = 0;
  #busy = false;

  /**
   * @param {{room: string, name: string, media: import("./media.js").LocalMedia, config: Config, codec?: string, guard: {token: string} | null, onrefused: (why: string) => void, onleave: () => void}} options
   */
  constructor({ room, name, media, config, codec, guard, onrefused, onleave }) {
    this.room = room;
    this.name = name;
    this.codec = codec;
    this.media = media;
    this.onleave = onleave;
    this.onrefused = onrefused;
    this.token = guard?.token ?? "";
    this.guard = guard && new Guard({ room, token: this.token });
    const { servers = [], prefix } = config.signaling.options;
    const ours = servers.every((server) => new URL(server).host === location.host); // a broker of others gets no token
    const apart = (/** @type {string} */ server) => `${server}?room=${encodeURIComponent(room)}`;
    this.driver = new NatsDriver(this.guard && ours ? { servers: servers.map(apart), prefix, token: this.token } : { servers, prefix });
    this.peer = new Peer({
      driver: this.driver, iceServers: config.iceServers,
      beforeAnnounce: () => (this.guard ? this.#admit(this.guard) : this.#enterRoom()),
      verify: this.guard ? (remote) => /** @type {Guard} */ (this.guard).verify(remote) : undefined,
    });
    this.stage = new Stage();
    this.wishes = new Wishes(this.peer, () => this.#shown());
    this.stage.onlayout = () => this.wishes.update();
    this.sound = new Sound((blocked) => { this.soundBanner.hidden = !blocked; });
    this.panel = new Panel();
    this.files = new Files({ peer: this.peer, panel: this.panel, name, nameOf: (id) => this.#nameOf(id), onchange: () => this.#renderSoon() });
    this.#build();
    this.#listen();
  }

  async start() {
    if (this.media.stream.getTracks().length) this.#publishCamera();
    await this.peer.join({ room: this.room, metadata: { name: this.name } });
    if (this.guard) await this.#admit(this.guard).catch(() => {}); // not only before announcing: signaling may be refused too
    if (!this.#abort.signal.aborted) this.#render();
  }

  /** Has the server's hub, if it has one, enter the room. @returns {Promise<string | null>} the hub's id */
  async #enterRoom() {
    const response = await fetch(`/api/v1/rooms/${encodeURIComponent(this.room)}`, { method: "POST", signal: AbortSignal.timeout(3000) });
    const answer = response.ok ? await response.json() : null;
    return answer?.hub && typeof answer.id === "string" ? answer.id : null;
  }

  /** Has this peer admitted, and leaves if that is refused. @param {Guard} guard @returns {Promise<string | null>} the hub's id */
  async #admit(guard) {
    const { id } = this.peer;
    if (id === null) return null;
    try {
      const admission = await guard.admit(id);
      if (this.peer.metadata) this.peer.metadata.admission = admission;
      this.#restrict();
      return guard.hub;
    } catch (error) {
      if (error instanceof Refused && !this.#abort.signal.aborted) {
        const { onrefused } = this;
        this.onleave = () => onrefused(error.message);
        this.leave();
      }
      throw error;
    }
  }

  /** Who may only watch has no buttons for the rest. */
  #restrict() {
    if (this.#mayPublish || this.mic.hidden) return;
    for (const button of [this.mic, this.camera, this.share]) button.hidden = true;
    this.peer.unpublish(CAMERA);
    this.media.close();
    toast("You may watch here, but not be seen or heard.");
  }

  // What is on the page.

  #build() {
    const button = (/** @type {string} */ image, /** @type {string} */ text, /** @type {() => void} */ onclick, extra = "") =>
      h(`button.round${extra}`, { title: text, "aria-label": text, onclick }, icon(image));
    this.mic = h("button.round", { onclick: () => this.toggleMic() });
    this.camera = h("button.round", { onclick: () => this.toggleCamera() });
    this.share = button("screen", "Share screen (S)", () => this.toggleScreen());
    this.share.hidden = !canShareScreen();
    this.unread = h("span.badge", { hidden: true });
    this.chatButton = button("chat", "Chat (C)", () => this.#togglePanel("chat"));
    this.chatButton.append(this.unread);
    this.peopleButton = button("people", "People (P)", () => this.#togglePanel("people"));
    this.count = h("span.count");
    this.peopleButton.append(this.count);
    this.statsButton = button("stats", "Statistics (T)", () => this.toggleStats(), ".plain");
    this.notice = h("div.notice", { role: "status", hidden: true }, h("span.spinner"), h("span"));
    this.soundBanner = h("button.sound-banner", { hidden: true, onclick: () => this.sound.retry() }, icon("sound"), "Click to hear the others");
    const top = h("header.top", {},
      h("span.brand", {}, mark(), h("b", {}, this.room)), this.notice,
      h("span.tools", {}, this.statsButton,
        button("settings", "Devices", () => settings(this), ".plain"),
        button("full", "Full screen (F)", () => this.#fullScreen(), ".plain.wide-only")));
    const bar = h("nav.bar", { "aria-label": "Call" }, this.mic, this.camera, this.share, h("span.gap"),
      this.chatButton, this.peopleButton, button("invite", "Invite (I)", () => invite(this.link)), h("span.gap"),
      button("leave", "Leave", () => this.leave(), ".leave"));
    this.element = h("div.call", {}, top, this.stage.element, this.soundBanner, this.panel.element, bar);
    dropZone(this.element, () => this.files.obstacle, (files) => {
      if (!this.files.obstacle) this.panel.show("chat");
      this.files.send(files);
    });
    this.stage.alone.append(h("p", {}, "You are the only one here."), h("button.primary", { onclick: () => invite(this.link) }, icon("invite"), "Invite someone"));
  }

  get link() { return location.origin + roomPath(this.room) + (this.token ? `#token=${encodeURIComponent(this.token)}` : ""); }

  #listen() {
    const render = () => this.#renderSoon();
    const { peer, panel } = this;
    for (const event of ["peer", "stream", "connection", "active"]) peer.on(event, render);
    peer.on("peer", ({ action, peer: remote }) => {
      if (action === "add") this.#tellState();
      if (action === "remove") { this.#states.delete(remote.id); this.#spoke.delete(remote.id); }
    });
    peer.on("message", (message) => this.#onMessage(message));
    peer.on("error", ({ error }) => console.debug("weft:", error));
    panel.onchange = render;
    panel.onsend = (text) => {
      const time = Date.now();
      if (peer.tell("chat", { text, time }) === 0) toast("Nobody is connected who could read that.");
      panel.add({ from: peer.id ?? "", name: this.name, text, time, own: true });
    };
    this.media.onchange = () => { this.#publishCamera(); render(); };
    const { signal } = this.#abort;
    document.addEventListener("keydown", (e) => this.#onKey(e), { signal });
    window.addEventListener("pagehide", () => peer.leave(), { signal });
    document.addEventListener("visibilitychange", () => { this.#stayAwake(); this.wishes.update(); }, { signal });
    peer.on("connection", () => this.wishes.forget());
    this.#timers.push(setInterval(() => this.#listenToLevels(), 150), setInterval(() => this.#every(), 1000));
    this.#stayAwake();
  }

  /** Keeps a phone's screen on. */
  #stayAwake() {
    if (document.visibilityState === "visible") /** @type {any} */ (navigator).wakeLock?.request("screen").catch(() => {});
  }

  #renderSoon() {
    if (this.#rendering) return;
    this.#rendering = true;
    requestAnimationFrame(() => { this.#rendering = false; this.#render(); });
    // A hidden page has no animation frames, but its people come and go all the same.
    if (document.hidden) setTimeout(() => { if (this.#rendering) { this.#rendering = false; this.#render(); } }, 100);
  }

  #render() {
    if (this.#abort.signal.aborted) return;
    const { tiles, sounds, people } = this.#model();
    this.stage.update(tiles);
    this.sound.update(sounds);
    this.panel.update(people);
    this.files.update();
    this.stage.element.classList.toggle("is-alone", people.length === 1);
    this.count.textContent = String(people.length);
    this.unread.hidden = this.panel.unread === 0;
    this.unread.textContent = this.panel.unread > 9 ? "9+" : String(this.panel.unread);
    this.element.classList.toggle("with-panel", this.panel.shown !== null);
    this.chatButton.classList.toggle("on", this.panel.shown === "chat");
    this.peopleButton.classList.toggle("on", this.panel.shown === "people");
    this.share.classList.toggle("on", this.#screen !== null);
    this.statsButton.classList.toggle("on", this.#showStats);
    toggle(this.mic, this.media.micOn, "mic", "microphone", "M");
    toggle(this.camera, this.media.cameraOn, "camera", "camera", "V");
    document.title = `${this.panel.unread ? `(${this.panel.unread}) ` : ""}${this.room} · Weft`;
  }

  /** Everything that is shown, as data. */
  #model() {
    /** @type {import("./stage.js").TileModel[]} */
    const tiles = [];
    /** @type {Map<string, MediaStreamTrack>} */
    const sounds = new Map();
    const own = this.peer.id ?? "me";
    const people = [{ id: own, name: this.name, own: true, detail: this.#ownDetail(), muted: !this.media.micOn, camera: this.media.cameraOn }];
    for (const remote of this.peer.peers.values()) {
      const name = this.#nameOf(remote.id, remote);
      const state = this.#states.get(remote.id);
      const streams = [...remote.streams.values()];
      const hears = streams.some((s) => s.stream?.getAudioTracks().some((t) => t.readyState === "live"));
      const muted = state ? !state.mic : !hears;
      let pictures = 0;
      for (const s of streams) {
        const video = s.stream?.getVideoTracks().find((t) => t.readyState === "live") ?? null;
        const audio = s.stream?.getAudioTracks().find((t) => t.readyState === "live");
        if (audio) sounds.set(`${remote.id}/${s.label}`, audio);
        const unseen = s.tracks.find((t) => t.kind === "video" && t.muted);
        if (!video && !unseen) continue;
        pictures++;
        const screen = s.label === SCREEN;
        const note = unseen ? (unseen.muted === "codec" ? `Cannot play ${unseen.codec ?? "this video"} here` : `Not sent: ${unseen.muted}`) : "";
        tiles.push({ key: `${remote.id}/${s.label}`, peer: remote.id, name, video: unseen ? null : video, note, own: false, screen, muted: muted && !screen, away: remote.state !== "connected" });
      }
      if (pictures === 0 || streams.every((s) => s.label === SCREEN)) {
        tiles.push({ key: `${remote.id}/`, peer: remote.id, name, video: null, note: "", own: false, screen: false, muted, away: remote.state !== "connected" });
      }
      people.push({ id: remote.id, name, own: false, detail: this.#detailOf(remote, hears, pictures > 0), muted, camera: state?.camera ?? pictures > 0 });
    }
    if (this.#screen) tiles.push({ key: "own/screen", peer: own, name: this.name, video: this.#screen.getVideoTracks()[0] ?? null, note: "", own: true, screen: true, muted: false, away: false });
    tiles.push({ key: "own/", peer: own, name: this.name, video: this.media.video, note: "", own: true, screen: false, muted: !this.media.micOn, away: false });
    return { tiles, sounds, people };
  }

  /** The streams that have a picture, and where that is shown. */
  #shown() {
    return [...this.peer.peers.values()].flatMap((remote) => [...remote.streams.values()]
      .filter((s) => s.tracks.some((t) => t.kind === "video") || s.stream?.getVideoTracks().length)
      .map(({ label }) => ({ peer: remote.id, label, box: this.stage.box(`${remote.id}/${label}`) })));
  }

  #ownDetail() {
    const hub = this.peer.hub;
    if (hub) return "connected through the hub";
    const direct = [...this.peer.links.values()].filter((l) => l.state === "connected").length;
    return direct ? `connected directly to ${direct}` : "waiting for others";
  }

  /** @param {import("../client/roster.js").RemotePeer} remote @param {boolean} hears @param {boolean} sees */
  #detailOf(remote, hears, sees) {
    if (remote.state !== "connected") return "connection interrupted";
    const way = remote.via ? "through the hub" : remote.hub ? "the hub" : "directly";
    return sees || hears ? way : `${way}, only watching`;
  }

  /** @param {string} id @param {import("../client/roster.js").RemotePeer} [remote] */
  #nameOf(id, remote = this.peer.peers.get(id)) {
    const given = remote?.metadata?.name;
    if (typeof given === "string" && given.trim()) this.#names.set(id, given.trim().slice(0, 64));
    return this.#names.get(id) ?? (remote?.hub ? "Hub" : `Guest ${id.slice(-4)}`);
  }

  // Messages.

  /** @param {{from: string, label: string, data: any}} message */
  #onMessage({ from, label, data }) {
    if (label === "chat" && typeof data?.text === "string") {
      this.panel.add({ from, name: this.#nameOf(from), text: data.text, time: Number(data.time) });
      if (this.panel.shown !== "chat") toast(`${this.#nameOf(from)}: ${data.text.slice(0, 120)}`);
    } else if (label === "state" && data) {
      this.#states.set(from, { mic: !!data.mic, camera: !!data.camera });
      this.#renderSoon();
    }
  }

  #tellState() {
    this.peer.tell("state", { mic: this.media.micOn, camera: this.media.cameraOn });
  }

  // Buttons.

  /** Whether this peer may bring media in, as far as is known yet. */
  get #mayPublish() { return this.guard?.grant?.publish ?? true; }

  #publishCamera() {
    if (!this.#mayPublish) return;
    const { stream } = this.media;
    if (stream.getTracks().length) this.peer.publish({ label: CAMERA, stream, encoding: { maxBitrate: LARGEST }, encodings: layers(this.media.video, this.codec), codec: this.codec });
    else this.peer.unpublish(CAMERA);
    this.#tellState();
    this.#renderSoon();
  }

  /** One change of devices at a time. @param {() => Promise<void>} change */
  async #changing(change) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await change();
      if (this.media.problem) toast(this.media.problem);
    } finally {
      this.#busy = false;
    }
    if (this.#abort.signal.aborted) this.media.close();
    else this.#publishCamera();
  }

  toggleMic() {
    if (!this.#mayPublish) return;
    const track = this.media.audio;
    if (!track) return this.#changing(() => this.media.open({ video: false, audio: true }));
    track.enabled = !track.enabled;
    this.#tellState();
    this.#renderSoon();
  }

  toggleCamera() {
    if (!this.#mayPublish) return;
    return this.#changing(async () => {
      if (this.media.video) this.media.closeVideo();
      else await this.media.open({ video: true, audio: false });
    });
  }

  /** @param {"video" | "audio"} kind @param {string} id */
  choose(kind, id) { return this.#changing(() => this.media.choose(kind, id)); }

  async toggleScreen() {
    if (this.#screen) return this.#endScreen();
    if (!canShareScreen() || !this.#mayPublish) return;
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: true });
      const [video] = stream.getVideoTracks();
      video.contentHint = "detail";
      video.onended = () => this.#endScreen();
      this.#screen = stream;
      this.peer.publish({ label: SCREEN, stream, encoding: { maxBitrate: 3_000_000 } });
    } catch (error) {
      if (/** @type {any} */ (error)?.name !== "NotAllowedError") toast("The screen could not be shared.");
    }
    this.#renderSoon();
  }

  #endScreen() {
    for (const track of this.#screen?.getTracks() ?? []) track.stop();
    this.#screen = null;
    this.peer.unpublish(SCREEN);
    this.#renderSoon();
  }

  /** @param {"chat" | "people"} what */
  #togglePanel(what) { this.panel.show(this.panel.shown === what ? null : what); }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    else this.element.requestFullscreen?.().catch(() => {});
  }

  toggleStats() {
    this.#showStats = !this.#showStats;
    this.element.classList.toggle("with-stats", this.#showStats);
    this.#every();
    this.#renderSoon();
  }

  /** @param {KeyboardEvent} e */
  #onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    if (e.key === "Escape") {
      if (this.panel.shown) this.panel.show(null);
      else if (this.stage.spotted) this.stage.spot(null);
      return;
    }
    if (/** @type {Element} */ (e.target).closest?.("input, textarea, select")) return;
    /** @type {Record<string, () => any>} */
    const keys = {
      m: () => this.toggleMic(), v: () => this.toggleCamera(), s: () => this.toggleScreen(), c: () => this.#togglePanel("chat"),
      p: () => this.#togglePanel("people"), i: () => invite(this.link), t: () => this.toggleStats(), f: () => this.#fullScreen(), "?": shortcuts,
    };
    const action = keys[e.key.toLowerCase()];
    if (action && !e.repeat) { e.preventDefault(); action(); }
  }

  leave() {
    this.#abort.abort();
    for (const timer of this.#timers) clearInterval(timer);
    this.files.close();
    this.peer.leave();
    this.driver.close();
    this.#endScreen();
    this.media.close();
    this.#meter.close();
    this.sound.close();
    this.wishes.close();
    this.stage.close();
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    this.onleave();
  }

  // What is looked at again and again.

  #listenToLevels() {
    const now = performance.now();
    const speaks = (/** @type {string} */ id) => now - (this.#spoke.get(id) ?? -Infinity) < HOLD;
    if (this.#meter.level(this.media.audio) > SPEAKING) this.#spoke.set("own", now);
    for (const [id, level] of this.#remoteLevels()) if (level > SPEAKING) this.#spoke.set(id, now);
    this.stage.mark((key) => !key.endsWith(`/${SCREEN}`) && speaks(key.slice(0, key.indexOf("/"))));
  }

  /** @returns {Map<string, number>} the loudest of each remote peer's tracks */
  #remoteLevels() {
    /** @type {Map<string, number>} */
    const byTrack = new Map();
    for (const link of this.peer.links.values()) {
      for (const receiver of link.pc.getReceivers()) {
        const level = receiver.track.kind === "audio" ? receiver.getSynchronizationSources()[0]?.audioLevel : undefined;
        if (level !== undefined) byTrack.set(receiver.track.id, level);
      }
    }
    /** @type {Map<string, number>} */
    const levels = new Map();
    for (const remote of this.peer.peers.values()) {
      for (const { stream } of remote.streams.values()) {
        for (const track of stream?.getAudioTracks() ?? []) {
          const level = byTrack.get(track.id) ?? this.#numbers.levels.get(track.id) ?? 0;
          levels.set(remote.id, Math.max(level, levels.get(remote.id) ?? 0));
        }
      }
    }
    return levels;
  }

  async #every() {
    this.#notice();
    if (this.guard?.grant && this.guard.stale) this.#admit(this.guard).catch(() => {});
    if (!this.#showStats) return;
    this.#numbers.take(await collect(this.peer));
    this.stage.stats((key) => (this.#showStats ? this.#numbers.of(key) : ""));
  }

  #notice() {
    const links = [...this.peer.links.values()];
    const broken = !this.peer.active ? "Reconnecting to the room…" : links.some((l) => l.state === "disconnected") ? "Connection interrupted…" : "";
    if (!broken) this.#silentSince = 0;
    else this.#silentSince ||= performance.now();
    const text = broken && performance.now() - this.#silentSince > NOTICE_AFTER ? broken : "";
    this.notice.hidden = !text;
    this.notice.lastChild.textContent = text;
  }
}
