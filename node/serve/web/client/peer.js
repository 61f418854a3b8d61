// A member of a room: discovery, one link for each remote peer (or only one, to the hub), events.

import { Codec, Type } from "./codec.js";
import { CandidateQueue, Event, polite } from "./wire.js";
import { ChannelError } from "./channel.js";
import { Link } from "./link.js";
import { differences, readRoster, viewOf } from "./roster.js";

const TIMEOUT = 15000; // ms for a connection to come about, or to come back
const JITTER = 1000; // ms before announcing again after a failure
const LAST_WAIT = 15000; // ms, the longest pause between announcements after failures
const HUB_WAIT = 4000; // ms that an expected hub has before the room becomes a mesh
const ROSTER_WAIT = 1000; // ms from a hub's connection until direct links go even without its roster
const MAX_LINKS = 64;
const MAX_INBOX = 2048; // undecoded packets
const MAX_INBOX_BYTES = 16 << 20; // of these

/**
 * @typedef {object} PeerOptions
 * @property {import("./nats.js").NatsDriver} driver closed by leave() only if `ownsDriver`
 * @property {RTCIceServer[]} [iceServers]
 * @property {RTCIceTransportPolicy} [iceTransportPolicy]
 * @property {number} [connectionTimeout] ms
 * @property {(remote: {id: string, metadata: any}) => boolean | Promise<boolean>} [verify]
 * @property {() => Promise<string | null>} [beforeAnnounce] may name the hub that is about to answer
 * @property {import("./codec.js").CodecOptions} [signaling]
 */

/**
 * Events: `connection` {id, state, metadata} of a link; `peer` {action, peer} and `stream` {action, peer, stream}
 * of what is in the room, wherever it is reached; `message` {from, label, data} that someone told the room;
 * `channel` {action, id, label, channel} of a data channel with peer `id`, action "new", "open" or "close";
 * `data` {from, message} when a message begins on one, which nobody listening to is confirmed and thrown away;
 * `active` {active} of the driver; `error` {error}, which is for information and needs no action.
 */
export class Peer {
  /** @type {string | null} */ room = null;
  /** @type {any} */ metadata = null;
  /** Links by remote id. @type {Map<string, Link>} */ links = new Map();
  /** Everyone else in the room. @type {Map<string, import("./roster.js").RemotePeer>} */ peers = new Map();
  /** What we share, by label. @type {Map<string, import("./link.js").Publication>} */ publications = new Map();
  /** Channels that we want with everyone, by label. @type {Map<string, import("./channels.js").ChannelOptions>} */ channels = new Map();

  /** @type {Codec | null} */ #codec = null;
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  #held = new CandidateQueue();
  /** @type {Promise<any>} */ #inbox = Promise.resolve();
  #undecoded = { packets: 0, bytes: 0 };
  /** @type {string[]} */ #namespaces = [];
  #failures = 0;
  /** @type {any} */ #again = 0;
  #againAt = Infinity; // when the next announcement is due, in ms
  #viewing = false;
  /** A hub that the server told us of. @type {{id: string, until: number} | null} */ #expected = null;
  #generation = 0;
  #reported = "";
  #options;
  #host;

  /** @param {PeerOptions} options */
  constructor(options) {
    this.#options = options;
    this.#host = /** @type {import("./link.js").LinkHost} */ ({
      signal: async (link, type, items) => {
        const to = link.id;
        const codec = this.#codec;
        if (!codec) return;
        const packet = await codec.encode(type, to, items);
        if (!link.closed) this.#options.driver.publish(await codec.namespace(to), packet);
      },
      publications: () => this.publications.values(),
      channels: () => this.channels.values(),
      metadata: () => this.metadata,
      changed: (link) => this.#onChanged(link),
      control: (link, event, payload) => this.#onControl(link, event, payload),
      channel: (link, action, channel) => this.#emit("channel", { action, id: link.id, label: channel.label, channel }),
      message: (link, message) => this.#onData(link, message),
      gone: (link, failed) => this.#onGone(link, failed),
      held: (link) => this.#held.take(link.id, link.pc.remoteDescription?.sdp.match(/^a=ice-ufrag:(\S+)/m)?.[1]),
      error: (error) => this.#error(error),
    });
  }

  /** This peer's id, from join on. */
  get id() { return this.#codec?.id ?? null; }
  get active() { return this.#options.driver.active; }

  /** The connected hub's link, if any. */
  get hub() { return [...this.links.values()].find((l) => l.hub && l.state === "connected") ?? null; }

  /** @param {{room?: string, metadata?: any}} [options] */
  async join({ room = "default", metadata = null } = {}) {
    if (this.room !== null) throw new Error(`already in room ${this.room}`);
    this.room = room;
    this.metadata = metadata;
    const generation = ++this.#generation;
    // A Chromium that is polite cannot answer some offers of others after a collision, so it takes an id
    // that makes it impolite; every other browser takes one that makes it polite.
    const chromium = "chrome" in globalThis || /Chrom(e|ium)\//.test(globalThis.navigator?.userAgent ?? "");
    let codec, namespaces;
    try {
      codec = await Codec.create({ order: chromium ? "low" : "high", ...this.#options.signaling });
      namespaces = [await codec.namespace(room), await codec.namespace(codec.id)];
    } catch (error) {
      if (generation === this.#generation) this.room = null; // so that it can be tried again
      throw error;
    }
    if (generation !== this.#generation) throw new Error("left while joining");
    this.#codec = codec;
    this.#namespaces = namespaces;
    const { driver } = this.#options;
    for (const namespace of namespaces) driver.subscribe(namespace, (packet) => this.#onPacket(packet));
    driver.onerror = (error) => this.#error(error);
    driver.onactive = (active) => {
      this.#emit("active", { active });
      if (active) this.#announceIn(0);
    };
    this.#announceIn(0);
    return { room, id: codec.id, metadata };
  }

  leave() {
    this.#generation++;
    clearTimeout(this.#again);
    this.#againAt = Infinity;
    for (const namespace of this.#namespaces) this.#options.driver.unsubscribe(namespace);
    this.#namespaces = [];
    this.#options.driver.onactive = () => {};
    this.#codec = null; // from here on nothing is announced, sent or accepted
    for (const link of [...this.links.values()]) link.close();
    this.room = null;
    this.#expected = null;
    this.#view();
  }

  /**
   * Shares a stream under a label; under a label in use its tracks take the place of the former ones.
   * `encodings` are the layers of its pictures, which only a hub gets; others get one picture as `encoding` says.
   * `codec` is the one for its pictures, such as "AV1", if the other side takes it.
   * @param {MediaStream | {label?: string, stream: MediaStream, encoding?: RTCRtpEncodingParameters, encodings?: RTCRtpEncodingParameters[], codec?: string}} what
   */
  publish(what) {
    const { stream, label = stream.id, encoding, encodings, codec } = what instanceof MediaStream ? { stream: what } : what;
    const wire = this.publications.get(label)?.wire ?? new MediaStream();
    this.publications.set(label, { label, wire, stream, encoding, encodings, codec });
    for (const link of this.links.values()) link.sync();
  }

  /** @param {string} label */
  unpublish(label) {
    if (!this.publications.delete(label)) return;
    for (const link of this.links.values()) link.sync();
  }

  /**
   * Says what is wanted of the pictures of a peer's stream from now on: the size at which they are shown, or none.
   * @param {string} id @param {string} label @param {{paused?: boolean, width?: number, height?: number, frameRate?: number, layer?: number, temporal?: number}} wish
   * @returns {boolean} whether it was told
   */
  want(id, label, wish) {
    const direct = this.links.get(id);
    const link = direct ?? [...this.links.values()].find((l) => l.hub);
    return !!link?.send(Event.SUBSCRIBE, { streams: [{ label: direct ? label : `${id}/${label}`, ...wish }] });
  }

  /**
   * Wants a data channel with everyone who is connected directly, now and later. Under a label in use it only
   * counts for later connections. The other side need not open it too.
   * @param {string | import("./channels.js").ChannelOptions} what
   */
  open(what) {
    const options = typeof what === "string" ? { label: what } : what;
    this.channels.set(options.label, { ...options });
    for (const link of this.links.values()) link.channels.open(options);
  }

  /** @param {string} label */
  close(label) {
    this.channels.delete(label);
    for (const link of this.links.values()) link.channels.get(label)?.close();
  }

  /** @param {string} label @returns {string[]} ids of those with whom that channel is open */
  reached(label) {
    return [...this.links.values()].filter((l) => l.channels.get(label)?.state === "open").map((l) => l.id);
  }

  /**
   * Sends over a data channel, to everyone who is reached or only to some. `onprogress` says whom it is about.
   * A stream can be read only once, so it goes to one.
   * @param {string} label @param {import("./channel.js").Content} content
   * @param {{to?: string | string[], info?: any, signal?: AbortSignal, onprogress?: (id: string, sent: number, total: number | null) => void}} [options]
   * @returns {Promise<{id: string, error: any}[]>} how it went for each, in the end; error null: all of it has arrived
   */
  async send(label, content, { to = this.reached(label), info, signal, onprogress } = {}) {
    const ids = [to].flat();
    if (content instanceof ReadableStream && ids.length > 1) throw new TypeError("a stream can only be sent to one peer");
    return Promise.all(ids.map(async (id) => {
      try {
        const channel = this.links.get(id)?.channels.get(label);
        if (!channel) throw new ChannelError("closed", `there is no channel ${label} with ${id}`);
        await channel.send(content, { info, signal, onprogress: onprogress && ((sent, total) => onprogress(id, sent, total)) });
        return { id, error: null };
      } catch (error) {
        return { id, error };
      }
    }));
  }

  /** Says something short to everyone in the room, also through a hub. @param {string} label @param {any} data JSON @returns {number} links that took it */
  tell(label, data) {
    let sent = 0;
    for (const link of this.links.values()) if (link.send(Event.MESSAGE, { label, data })) sent++;
    return sent;
  }

  /** @param {string} name @param {(event: any) => void} listener @returns {() => void} takes it off again */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name)?.add(listener);
    return () => this.off(name, listener);
  }

  /** @param {string} name @param {(event: any) => void} listener */
  off(name, listener) { this.#listeners.get(name)?.delete(listener); }

  /** @param {string} name @param {any} event */
  #emit(name, event) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try { listener(event); } catch (error) { console.error(error); }
    }
  }

  /** @param {any} error */
  #error(error) { this.#emit("error", { error }); }

  // Discovery.

  /** @param {number} wait ms; an announcement that is due earlier stays */
  #announceIn(wait) {
    const at = Date.now() + wait;
    if (at >= this.#againAt) return;
    clearTimeout(this.#again);
    this.#againAt = at;
    this.#again = setTimeout(() => {
      this.#againAt = Infinity;
      this.#announce().catch((e) => this.#error(e));
    }, wait);
  }

  async #announce() {
    const codec = this.#codec;
    if (!codec || !this.active) return; // nothing is kept: becoming active announces
    const hub = await this.#options.beforeAnnounce?.().catch(() => null);
    if (codec !== this.#codec) return;
    if (hub && hub !== this.id) {
      if (!this.links.get(hub)) {
        this.#expected = { id: hub, until: Date.now() + HUB_WAIT };
        this.#announceIn(HUB_WAIT + 1); // should it not come: then the others count
      }
      for (const link of this.links.values()) if (link.hub && link.id !== hub) link.close();
    }
    this.#options.driver.publish(await codec.namespace(this.room ?? ""), await codec.encode(Type.ANNOUNCE, null));
  }

  /** @param {Uint8Array} packet */
  #onPacket(packet) {
    const waiting = this.#undecoded;
    if (waiting.packets >= MAX_INBOX || waiting.bytes + packet.length > MAX_INBOX_BYTES) return;
    waiting.packets++;
    waiting.bytes += packet.length;
    // One after the other, so that candidates do not overtake their description.
    this.#inbox = this.#inbox.then(async () => {
      const codec = this.#codec;
      const message = await codec?.decode(packet);
      if (message && codec === this.#codec) await this.#onMessage(message);
    }).catch((error) => this.#error(error)).finally(() => { waiting.packets--; waiting.bytes -= packet.length; });
  }

  /** @param {import("./codec.js").Message} message */
  async #onMessage({ type, from, items }) {
    const codec = this.#codec;
    if (!codec) return;
    const link = this.links.get(from);
    switch (type) {
      case Type.ANNOUNCE: {
        const packet = await codec.encode(Type.INVOKE, from, this.metadata === null ? undefined : [this.metadata]);
        this.#options.driver.publish(await codec.namespace(from), packet);
        return;
      }
      case Type.INVOKE:
        if (!link && await this.#accepts(from, items[0])) this.#connect(from, items[0]);
        return;
      case Type.OFFER: {
        const [description, metadata] = items;
        if (typeof description?.sdp !== "string") return;
        if (link && !link.stranger(description)) return link.description(description);
        link?.close(); // the peer started anew under its old id
        if (await this.#accepts(from, metadata)) this.#connect(from, metadata)?.description(description);
        return;
      }
      case Type.ANSWER:
        if (typeof items[0]?.sdp === "string") link?.description(items[0]);
        return;
      case Type.CANDIDATES:
        for (const candidate of items) {
          if (typeof candidate?.candidate !== "string") continue;
          if (!link?.candidate(candidate)) this.#held.hold(from, candidate);
        }
    }
  }

  /** @param {string} id @param {any} metadata */
  async #accepts(id, metadata) {
    if (metadata?.hub !== true && this.#hubKnown()) return false;
    if (this.links.size >= MAX_LINKS) return false;
    return (await this.#options.verify?.({ id, metadata: metadata ?? null })) ?? true;
  }

  /** Whether there is a hub, so that others are reached through it. A hub itself reaches everyone directly. */
  #hubKnown() {
    if (this.metadata?.hub === true) return false;
    if (this.#expected && Date.now() < this.#expected.until) return true;
    return [...this.links.values()].some((l) => l.hub);
  }

  /** @param {string} id @param {any} metadata */
  #connect(id, metadata) {
    if (!this.#codec || this.links.has(id)) return this.links.get(id);
    const { iceServers = [], iceTransportPolicy = "all", connectionTimeout = TIMEOUT } = this.#options;
    const link = new Link({
      id, metadata, polite: polite(this.#codec.id, id), timeout: connectionTimeout,
      configuration: { iceServers, iceTransportPolicy }, host: this.#host,
    });
    this.links.set(id, link);
    this.#emit("connection", { id, state: link.state, metadata: link.metadata });
    return link;
  }

  // Links.

  /** @type {WeakMap<Link, string>} */ #lastState = new WeakMap();

  /** @param {Link} link */
  #onChanged(link) {
    if (this.#lastState.get(link) !== link.state) {
      this.#lastState.set(link, link.state);
      if (link.state === "connected") this.#onConnected(link);
      this.#emit("connection", { id: link.id, state: link.state, metadata: link.metadata });
    }
    this.#viewSoon();
  }

  /** @param {Link} link */
  #onConnected(link) {
    this.#failures = 0;
    if (link.hub) {
      for (const other of this.links.values()) if (other.hub && other.state === "disconnected") other.close();
      setTimeout(() => this.#dropDirect(link), ROSTER_WAIT);
      this.#reported = "";
    }
    this.#report();
  }

  /** The hub has us: direct links would only carry everything twice. @param {Link} hub */
  #dropDirect(hub) {
    if (hub.state !== "connected" || this.metadata?.hub === true) return;
    this.#expected = null;
    for (const link of [...this.links.values()]) if (!link.hub) link.close();
  }

  /** Tells hubs whom we reach without them, so that they do not forward between us. */
  #report() {
    const direct = [...this.links.values()].filter((l) => !l.hub && l.state === "connected").map((l) => l.id).sort();
    const text = JSON.stringify(direct);
    if (text === this.#reported || this.metadata?.hub === true) return;
    for (const link of this.links.values()) if (link.hub && link.send(Event.ROSTER, { direct })) this.#reported = text;
  }

  /** @param {Link} link @param {boolean} failed */
  #onGone(link, failed) {
    if (this.links.get(link.id) === link) this.links.delete(link.id);
    this.#held.forget(link.id);
    this.#emit("connection", { id: link.id, state: link.state, metadata: link.metadata });
    if (this.#codec) {
      this.#report();
      if (failed) this.#announceIn(Math.random() * JITTER + Math.min(LAST_WAIT, 500 * 2 ** this.#failures++));
      else if (link.hub && !this.#hubKnown()) this.#announceIn(Math.random() * JITTER / 2);
    }
    this.#viewSoon();
  }

  /** @param {Link} link @param {number} event @param {any} payload */
  #onControl(link, event, payload) {
    if (event === Event.ROSTER) {
      // The role may change while the connection stays.
      // Who was let in as no hub does not become one.
      const may = !this.#options.verify || link.metadata?.hub === true;
      if (typeof payload?.hub === "boolean") link.role = payload.hub && may;
      link.roster = link.hub ? readRoster(payload) : null;
      if (link.hub) this.#dropDirect(link);
      this.#viewSoon();
    } else if (event === Event.SUBSCRIBE && Array.isArray(payload?.streams)) {
      for (const { label, rids } of payload.streams) if (Array.isArray(rids)) link.limit(label, rids);
    } else if (event === Event.MESSAGE && payload && typeof payload.label === "string") {
      const from = link.hub && typeof payload.from === "string" ? payload.from : link.id;
      if (from !== this.id) this.#emit("message", { from, label: payload.label, data: payload.data });
    }
  }

  /** @param {Link} link @param {import("./message.js").Message} message */
  #onData(link, message) {
    if (this.#listeners.get("data")?.size) this.#emit("data", { from: link.id, message });
    else message.body.pipeTo(new WritableStream()).catch(() => {});
  }

  /** Many changes of one moment are one change of what is seen. */
  #viewSoon() {
    if (this.#viewing) return;
    this.#viewing = true;
    queueMicrotask(() => { this.#viewing = false; this.#view(); });
  }

  #view() {
    const before = this.peers;
    this.peers = viewOf(this.links.values(), this.id ?? "");
    for (const { event, ...detail } of differences(before, this.peers)) this.#emit(event, detail);
  }
}
