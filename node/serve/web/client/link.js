// The one connection to one remote peer: negotiation, the control channel, what we send, what arrives.

import { Event, firstUfrag, fingerprint, packControl, unpackControl } from "./wire.js";
import { Type } from "./codec.js";
import { ChannelTable } from "./channels.js";

const BATCH = 50; // ms without a new candidate before those collected are sent
const MAX_QUEUE = 512; // waiting pieces of signaling; a peer that sends more is cut off
const HUB_LOST = 4000; // ms that a silent hub has before the room does without it: with ICE's own 5 s below 10 s
const LATE = 1000; // ms after which a first offer without an answer is sent again, should the other side offer
const MAX_BUFFERED = 1 << 20; // bytes waiting in the control channel

/** @typedef {"new" | "connecting" | "connected" | "disconnected" | "failed" | "closed"} LinkState */
/** @typedef {{label: string, wire: MediaStream, stream: MediaStream, encoding?: RTCRtpEncodingParameters, encodings?: RTCRtpEncodingParameters[], codec?: string}} Publication */

/**
 * What a link needs from its peer.
 * @typedef {object} LinkHost
 * @property {(link: Link, type: number, items: any[]) => Promise<void>} signal sends through the driver
 * @property {() => Iterable<Publication>} publications everything that is to be sent
 * @property {() => Iterable<import("./channels.js").ChannelOptions>} channels that are wanted on every link
 * @property {() => any} metadata
 * @property {(link: Link) => void} changed state, streams or labels are not what they were
 * @property {(link: Link, event: number, payload: any) => void} control an event other than signaling
 * @property {(link: Link, action: "new" | "open" | "close", channel: import("./channel.js").Channel) => void} channel of the application
 * @property {(link: Link, message: import("./message.js").Message) => void} message one begins on such a channel
 * @property {(link: Link, failed: boolean) => void} gone
 * @property {(link: Link) => RTCIceCandidateInit[]} held candidates that waited for the description
 * @property {(error: any) => void} error
 */

/**
 * @param {Record<string, any>} labels as the other side sent them @param {string} id
 * @returns {string} the label of a stream, else its id: what is no text, or not its own property, is none
 */
export function labelIn(labels, id) {
  const label = Object.hasOwn(labels, id) ? labels[id] : null;
  return typeof label === "string" ? label.slice(0, 256) : id;
}

const DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/** Has a section negotiate the dependency descriptor, by which a hub tells layers apart: browsers know it, but do not offer it by themselves. @param {RTCRtpTransceiver} transceiver */
function describe(transceiver) {
  const t = /** @type {any} */ (transceiver);
  const all = t.getHeaderExtensionsToNegotiate?.() ?? [];
  const own = all.find((/** @type {any} */ e) => e.uri === DESCRIPTOR);
  if (!own || own.direction === "sendrecv") return;
  own.direction = "sendrecv";
  t.setHeaderExtensionsToNegotiate(all);
}

/** Puts a codec before the others. @param {RTCRtpTransceiver} transceiver @param {string} name such as "VP9" */
function prefer(transceiver, name) {
  const all = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const first = all.filter((c) => c.mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
  if (first.length) transceiver.setCodecPreferences?.([...first, ...all.filter((c) => !first.includes(c))]);
}

export class Link {
  /** @type {LinkState} */
  state = "new";
  /** Whether the control channel is open. */
  open = false;
  /** What a hub said last about the peers behind it. @type {import("./roster.js").RosterPeer[] | null} */
  roster = null;
  /** Streams that arrive here by their id. @type {Map<string, MediaStream>} */
  streams = new Map();
  /** When it was made, in ms; the newer of two hubs is believed. */
  since = Date.now();

  /** @type {Promise<any>} */ #queue = Promise.resolve();
  #waiting = 0;
  /** An offer of theirs collided with ours and is being ignored, with its candidates: its ufrag. @type {string | null} */
  #ignoring = null;
  #offered = 0; // when our last offer went out, in ms
  /** @type {Record<string, string>} */ #labels = {};
  /** @type {Map<string, RTCRtpTransceiver[]>} */ #sending = new Map();
  /** @type {RTCIceCandidateInit[]} */ #batch = [];
  /** @type {any} */ #batchTimer = 0;
  /** @type {any} */ #deadline = 0;
  #control;
  #host;
  #timeout;

  /**
   * @param {{id: string, metadata: any, polite: boolean, configuration: RTCConfiguration, timeout: number, host: LinkHost}} options
   */
  constructor({ id, metadata, polite, configuration, timeout, host }) {
    this.id = id;
    this.metadata = metadata ?? null;
    this.polite = polite;
    this.#host = host;
    this.#timeout = timeout;
    const pc = (this.pc = new RTCPeerConnection(configuration));
    pc.onnegotiationneeded = () => this.#enqueue(() => this.#negotiate());
    pc.onicecandidate = ({ candidate }) => candidate?.candidate && this.#localCandidate(candidate);
    pc.oniceconnectionstatechange = pc.onconnectionstatechange = () => this.#onState();
    pc.ontrack = (event) => this.#onTrack(event);
    /** The application's data channels. */
    this.channels = new ChannelTable(pc, {
      polite,
      ask: (options) => void this.send(Event.CHANNEL, options),
      changed: (action, channel) => host.channel(this, action, channel),
      message: (message) => host.message(this, message),
      error: host.error,
    });
    // Made before any description, so that the first offer and answer hold the control channel and nothing else.
    const control = (this.#control = pc.createDataChannel("", { negotiated: true, id: 0, ordered: true }));
    control.binaryType = "arraybuffer";
    control.onopen = () => this.#onOpen();
    control.onclose = () => this.close();
    control.onmessage = ({ data }) => this.#onControl(data);
    this.#watch();
  }

  /** Whether it is a hub: by its metadata, until its roster says what it is now. */
  get hub() { return this.role ?? this.metadata?.hub === true; }
  /** @type {boolean | null} */ role = null;
  get closed() { return this.state === "closed" || this.state === "failed"; }

  /** @param {string} id of a stream that arrives here @returns {string} */
  label(id) { return labelIn(this.#labels, id); }

  /** @param {RTCSessionDescriptionInit} description whether it comes from another incarnation of the peer */
  stranger(description) {
    const known = fingerprint(this.pc.remoteDescription?.sdp);
    return known !== undefined && known !== fingerprint(description.sdp);
  }

  /** @param {RTCSessionDescriptionInit} description @param {any} [labels] */
  description(description, labels) {
    if (labels && typeof labels === "object") {
      // At once, even if the offer is ignored in a collision.
      this.#labels = { ...labels };
      this.#host.changed(this);
    }
    if (description.type === "offer") this.#enqueue(() => this.#onOffer(description));
    else if (description.type === "answer") this.#enqueue(() => this.#onAnswer(description));
  }

  /** A candidate through the driver. @param {RTCIceCandidateInit} candidate @returns {boolean} false: it must wait for its description */
  candidate(candidate) {
    const ufrag = firstUfrag(this.pc.remoteDescription?.sdp);
    // Another one may belong to an answer that is in the queue, even while an offer is being ignored.
    if (ufrag === undefined || candidate.usernameFragment !== ufrag) return false;
    this.#addCandidate(candidate);
    return true;
  }

  /** Brings what is sent here in line with what is published. */
  sync() {
    if (this.open) this.#enqueue(() => this.#sync());
  }

  /** @param {number} event @param {any} payload @returns {boolean} whether it was handed over */
  send(event, payload) {
    if (!this.open || this.#control.bufferedAmount > MAX_BUFFERED) return false;
    try {
      this.#control.send(packControl(event, payload));
      return true;
    } catch (error) {
      this.#host.error(error);
      return false;
    }
  }

  /** @param {boolean} [failed] */
  close(failed = false) {
    if (this.closed) return;
    this.state = failed ? "failed" : "closed";
    this.open = false;
    clearTimeout(this.#deadline);
    clearTimeout(this.#batchTimer);
    this.#control.onclose = null;
    this.channels.close();
    this.#control.close();
    this.pc.onnegotiationneeded = this.pc.onicecandidate = this.pc.ontrack = null;
    this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = null;
    this.pc.close();
    this.streams.clear();
    this.#host.gone(this, failed);
  }

  // Negotiation. Everything below runs in the queue, one piece strictly after the other.

  /** @param {() => any} task */
  #enqueue(task) {
    if (++this.#waiting > MAX_QUEUE) {
      this.#host.error(new Error(`peer ${this.id} sends more signaling than can be handled`));
      return this.close(true);
    }
    this.#queue = this.#queue
      .then(() => (this.closed ? undefined : task()))
      .catch((error) => { if (!this.closed) this.#host.error(error); })
      .finally(() => { this.#waiting--; });
  }

  async #negotiate() {
    if (this.pc.signalingState !== "stable") return; // the browser asks again once it is
    await this.pc.setLocalDescription();
    await this.#sendDescription();
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #onOffer(description) {
    const collided = this.pc.signalingState !== "stable";
    this.#ignoring = collided && !this.polite ? firstUfrag(description.sdp) ?? "" : null;
    if (this.#ignoring !== null) {
      // They offer though ours is long out: they were not ready for it then, and now it is ours that counts.
      if (!this.pc.remoteDescription && Date.now() - this.#offered > LATE) await this.#sendDescription();
      return;
    }
    try {
      await this.pc.setRemoteDescription(description); // rolls an offer of ours back
      if (this.hub) for (const t of this.pc.getTransceivers()) if (t.receiver.track.kind === "video" && !t.sender.track) describe(t);
      await this.pc.setLocalDescription();
    } catch (error) {
      // No answer would ever follow and the pair could never negotiate again: better a new connection.
      this.#host.error(error);
      return this.close(true);
    }
    await this.#sendDescription();
    this.#takeHeld();
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #onAnswer(description) {
    await this.pc.setRemoteDescription(description);
    this.#ignoring = null;
    this.#takeHeld();
  }

  #takeHeld() {
    for (const candidate of this.#host.held(this)) this.#addCandidate(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    if (!candidate.candidate) return; // Firefox's end of candidates
    this.#enqueue(() => (this.#ignored(candidate) ? undefined : this.pc.addIceCandidate(candidate)));
  }

  /** Whether it belongs to the ignored offer and to nothing that was agreed. @param {RTCIceCandidateInit} candidate */
  #ignored(candidate) {
    return this.#ignoring !== null && (candidate.usernameFragment ?? "") === this.#ignoring
      && candidate.usernameFragment !== firstUfrag(this.pc.remoteDescription?.sdp);
  }

  async #sendDescription() {
    const local = this.pc.localDescription;
    if (!local || this.closed) return;
    const description = { type: local.type, sdp: local.sdp };
    const offer = local.type === "offer";
    if (offer) this.#offered = Date.now();
    if (this.open) {
      // One that is lost would never be answered, and the pair could not negotiate again.
      if (!this.send(Event.SIGNAL, offer ? [description, this.#ownLabels()] : [description])) this.close(true);
      return;
    }
    const items = offer ? [description, this.#host.metadata() ?? null] : [description];
    await this.#host.signal(this, offer ? Type.OFFER : Type.ANSWER, items);
  }

  #ownLabels() {
    /** @type {Record<string, string>} */
    const labels = {};
    for (const { label, wire } of this.#host.publications()) labels[wire.id] = label;
    return labels;
  }

  /** @param {RTCIceCandidate} found */
  #localCandidate(found) {
    const candidate = found.toJSON();
    // A candidate without it is never used by Peerix.
    candidate.usernameFragment ??= firstUfrag(this.pc.localDescription?.sdp);
    if (this.open) return void this.send(Event.SIGNAL, [candidate]);
    this.#batch.push(candidate);
    clearTimeout(this.#batchTimer);
    this.#batchTimer = setTimeout(() => {
      const items = this.#batch.splice(0);
      if (items.length) this.#host.signal(this, Type.CANDIDATES, items).catch(this.#host.error);
    }, BATCH);
  }

  // The control channel.

  #onOpen() {
    this.open = true;
    this.channels.start(this.#host.channels()); // ahead of the media
    this.#onState();
    this.sync();
    this.#host.changed(this);
  }

  /** @param {any} data */
  #onControl(data) {
    if (!(data instanceof ArrayBuffer)) return;
    try {
      const message = unpackControl(new Uint8Array(data));
      if (!message) return;
      if (message.event === Event.CHANNEL) return this.channels.asked(message.payload);
      if (message.event !== Event.SIGNAL) return this.#host.control(this, message.event, message.payload);
      const [first, labels] = Array.isArray(message.payload) ? message.payload : [];
      if (typeof first?.sdp === "string") this.description(first, labels);
      else if (typeof first?.candidate === "string") this.#addCandidate(first);
    } catch (error) {
      this.#host.error(error);
    }
  }

  // States.

  #onState() {
    if (this.closed) return;
    const ice = this.pc.iceConnectionState;
    if (ice === "failed" || this.pc.connectionState === "failed") return this.close(true);
    const before = this.state;
    if (ice === "checking") this.state = "connecting";
    else if ((ice === "connected" || ice === "completed") && this.open) this.state = "connected";
    else if (ice === "disconnected") this.state = "disconnected";
    if (this.state === before) return;
    if (this.state === "connected") clearTimeout(this.#deadline);
    if (this.state === "disconnected") this.#watch(this.hub ? Math.min(HUB_LOST, this.#timeout) : this.#timeout);
    this.#host.changed(this);
  }

  /** @param {number} [wait] ms until the connection counts as failed */
  #watch(wait = this.#timeout) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.close(true), wait);
  }

  // Media.

  #sync() {
    const wanted = new Map([...this.#host.publications()].map((p) => [p.label, p]));
    for (const [label, transceivers] of this.#sending) {
      if (wanted.has(label)) continue;
      for (const t of transceivers) t.stop(); // rejects the section: the only thing that counts as removal
      this.#sending.delete(label);
    }
    for (const publication of wanted.values()) {
      this.#sending.set(publication.label, this.#syncOne(publication, this.#sending.get(publication.label) ?? []));
    }
  }

  /** @param {Publication} publication @param {RTCRtpTransceiver[]} have */
  #syncOne({ wire, stream, encoding, encodings, codec }, have) {
    const missing = stream.getTracks().filter((track) => !have.some((t) => t.sender.track === track));
    const kept = [];
    for (const t of have) {
      const track = t.sender.track;
      if (track && stream.getTracks().includes(track)) { kept.push(t); continue; }
      const i = missing.findIndex((m) => m.kind === t.receiver.track.kind);
      if (i < 0 || t.currentDirection === "stopped") { t.stop(); continue; }
      t.sender.replaceTrack(missing.splice(i, 1)[0]).catch(this.#host.error); // no signaling at all
      kept.push(t);
    }
    for (const track of missing) {
      const one = encoding && [encoding];
      const sendEncodings = track.kind === "video" ? (this.hub && encodings) || one : undefined;
      const t = this.pc.addTransceiver(track, { direction: "sendonly", streams: [wire], ...(sendEncodings && { sendEncodings }) });
      if (track.kind === "video" && codec) prefer(t, codec);
      if (this.hub && codec === "AV1") describe(t);
      kept.push(t);
    }
    return kept;
  }

  /** Sends only these layers of a stream's pictures: nobody wants the others. @param {string} label @param {string[]} rids */
  limit(label, rids) {
    for (const { sender } of this.#sending.get(label) ?? []) {
      const parameters = sender.getParameters();
      if ((parameters.encodings?.length ?? 0) < 2) continue;
      for (const e of parameters.encodings) e.active = rids.includes(e.rid ?? "");
      sender.setParameters(parameters).catch(this.#host.error);
    }
  }

  /** @param {RTCTrackEvent} event */
  #onTrack({ track, streams }) {
    const stream = streams[0] ?? new MediaStream([track]);
    const ended = () => {
      track.onended = null;
      if (stream.getTracks().some((t) => t !== track && t.readyState === "live")) return this.#host.changed(this);
      if (this.streams.get(stream.id) === stream) this.streams.delete(stream.id);
      this.#host.changed(this);
    };
    track.onended = ended;
    track.onmute = track.onunmute = () => this.#host.changed(this);
    stream.onremovetrack = (e) => { if (e.track === track || !stream.getTracks().length) ended(); else this.#host.changed(this); };
    this.streams.set(stream.id, stream);
    this.#host.changed(this);
  }
}
