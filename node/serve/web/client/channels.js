// The data channels with one remote peer, by label: who makes them, and which of two stays.

import { Channel } from "./channel.js";

const MAX_CHANNELS = 256;
const MAX_LABEL = 256; // characters, of a protocol too

/**
 * A channel of the application. With `id`, 1 to 1023, it is agreed beforehand: both sides open it under that number.
 * Ordered unless `ordered` is false; reliable unless one of the limits is there: ms, or times.
 * @typedef {{label: string, ordered?: boolean, protocol?: string, maxPacketLifeTime?: number, maxRetransmits?: number, id?: number}} ChannelOptions
 *
 * @typedef {object} TableHost
 * @property {boolean} polite
 * @property {(options: ChannelOptions) => void} ask the other side, which is impolite, to make one
 * @property {(action: "new" | "open" | "close", channel: Channel) => void} changed
 * @property {(message: import("./message.js").Message) => void} message
 * @property {(error: any) => void} error
 */

/** @param {Partial<ChannelOptions>} from perhaps from outside @returns {RTCDataChannelInit} what of it makes sense */
export function channelInit({ ordered, protocol, maxPacketLifeTime, maxRetransmits, id }) {
  const limit = (/** @type {any} */ n) => (Number.isInteger(n) && n >= 0 && n <= 65535 ? n : undefined);
  const [life, tries] = [limit(maxPacketLifeTime), limit(maxRetransmits)];
  return {
    ordered: ordered !== false,
    ...(typeof protocol === "string" && protocol && { protocol: protocol.slice(0, MAX_LABEL) }),
    ...(life !== undefined ? { maxPacketLifeTime: life } : tries !== undefined && { maxRetransmits: tries }),
    ...(limit(id) !== undefined && { negotiated: true, id }),
  };
}

export class ChannelTable {
  /** @type {Map<string, Channel>} */ #channels = new Map();
  #open = false; // whether the control channel is
  #pc;
  #host;

  /** @param {RTCPeerConnection} pc @param {TableHost} host */
  constructor(pc, host) {
    this.#pc = pc;
    this.#host = host;
    pc.ondatachannel = ({ channel }) => this.#adopt(channel);
  }

  /** @param {string} label @returns {Channel | undefined} */
  get(label) { return this.#channels.get(label); }

  /** The control channel has opened. @param {Iterable<ChannelOptions>} wanted */
  start(wanted) {
    this.#open = true;
    for (const options of wanted) this.open(options);
  }

  /** Makes a channel, or asks for it, unless there is one with that label. @param {ChannelOptions} options */
  open(options) {
    const { label } = options;
    if (!this.#open || this.#channels.has(label)) return;
    const init = channelInit(options);
    // Only the impolite side makes them, so that there are never two.
    if (this.#host.polite && !init.negotiated) return this.#host.ask({ ...init, label });
    if (this.#channels.size >= MAX_CHANNELS) return this.#host.error(new Error("too many channels with a peer"));
    try {
      this.#adopt(this.#pc.createDataChannel(label, init));
    } catch (error) {
      this.#host.error(error);
    }
  }

  /** The other side asks for one. @param {any} options from outside */
  asked(options) {
    const { label = "default" } = options ?? {};
    if (this.#host.polite || typeof label !== "string" || label.length > MAX_LABEL) return;
    this.open({ ...options, label, id: undefined });
  }

  /** All of them, for good. */
  close() {
    this.#open = false;
    this.#pc.ondatachannel = null;
    for (const channel of [...this.#channels.values()]) channel.close();
  }

  /** @param {RTCDataChannel} dc made here or there; it takes the place of an older one with its label */
  #adopt(dc) {
    const { label } = dc;
    const old = this.#channels.get(label);
    if (label.length > MAX_LABEL || (!old && this.#channels.size >= MAX_CHANNELS)) return dc.close();
    old?.close();
    const channel = new Channel(dc, {
      opened: () => this.#host.changed("open", channel),
      closed: () => {
        if (this.#channels.get(label) === channel) this.#channels.delete(label);
        this.#host.changed("close", channel);
      },
      message: (message) => this.#host.message(message),
      error: this.#host.error,
    });
    this.#channels.set(label, channel);
    this.#host.changed("new", channel);
  }
}
