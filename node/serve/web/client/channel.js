// A data channel of the application: messages of any length, cut into packets, confirmed by the other side.

import { fromJSON, pack, toJSON, unpack } from "./wire.js";
import { CHUNK, ChannelError, Kind, Message, STALL } from "./message.js";
import { Outgoing, cutter } from "./outgoing.js";

export { ChannelError, Kind, Message } from "./message.js";

const MAX_BUFFERED = 256 << 10; // bytes waiting in the browser for which sending pauses
const LOW = 128 << 10; // bytes at which it goes on
const PATIENCE = 10000; // ms in which something must leave the buffer, or an acknowledgement come
const MAX_ID = 65535;
const MAX_RAW = 256 << 10; // bytes of a message on a channel without packets
const MAX_INCOMING = 16; // unfinished messages at once; senders take one after the other
const MAX_UNTOLD = 1 << 20; // bytes waiting from which replies are dropped: nobody takes them

/** @type {import("./wire.js").Schema} */
const PACKET = {
  1: ["id", "uint"], 2: ["ask", "bool"], 3: ["index", "uint"], 4: ["type", "uint"],
  5: ["abort", "bool"], 6: ["done", "bool"], 7: ["info", "bytes"], 8: ["chunk", "bytes"],
};

/**
 * What a channel tells the table that it stands in.
 * @typedef {object} ChannelHost
 * @property {() => void} opened
 * @property {() => void} closed once, and nothing after it
 * @property {(message: Message) => void} message one begins
 * @property {(error: any) => void} error
 *
 * @typedef {import("./outgoing.js").Content} Content
 * @typedef {import("./outgoing.js").SendOptions} SendOptions
 */

export class Channel {
  /** @type {"opening" | "open" | "closed"} */ state = "opening";

  /** All that is to be sent or on its way. @type {Set<Outgoing>} */ #outgoing = new Set();
  /** The one on its way. @type {Outgoing | null} */ #current = null;
  /** @type {Map<number, Message>} */ #incoming = new Map();
  /** @type {Set<number>} */ #refused = new Set();
  #windowed = false; // the other side has granted a window, so it is no Peerix
  /** @type {Promise<any>} */ #queue;
  /** @type {(ok: any) => void} */ #ready = () => {};
  #poke = () => {}; // looks again whether what is waited for has come
  #lastID = 0;
  #dc;
  #host;

  /** @param {RTCDataChannel} dc @param {ChannelHost} host */
  constructor(dc, host) {
    this.#dc = dc;
    this.#host = host;
    this.#queue = new Promise((resolve) => { this.#ready = resolve; });
    dc.binaryType = "arraybuffer";
    dc.bufferedAmountLowThreshold = LOW;
    dc.onbufferedamountlow = () => this.#poke();
    dc.onmessage = ({ data }) => this.#onMessage(data);
    dc.onopen = () => this.#onOpen();
    // A browser may stay in "closing" for ever, so that is taken as the end.
    dc.onclosing = dc.onclose = () => this.close();
    dc.onerror = (event) => { if (this.state !== "closed") host.error(/** @type {any} */ (event).error ?? event); };
    if (dc.readyState === "open") queueMicrotask(() => this.#onOpen());
  }

  get label() { return this.#dc.label; }
  /** Whether messages go in packets: with info, of any length, and confirmed. */
  get framed() { return this.#dc.ordered && !this.#dc.protocol; }

  /**
   * Sends one message after the other. On a channel that is not framed it goes as it is, up to 256 KiB, with no info.
   * @param {Content} content a stream has bytes; what is neither text nor bytes goes as JSON
   * @param {SendOptions} [options]
   * @returns {Promise<void>} once the other side has all of it (not framed: once the browser has); else a ChannelError or the signal's reason
   */
  send(content, options = {}) {
    const out = new Outgoing(content, options, () => this.#poke());
    if (this.state === "closed") out.fail(closed(this.label));
    else this.#outgoing.add(out);
    this.#queue = this.#queue.then(() => this.#run(out));
    return out.result;
  }

  /** Ends what is under way with "closed". */
  close() {
    if (this.state === "closed") return;
    this.state = "closed";
    const dc = this.#dc;
    dc.onopen = dc.onmessage = dc.onclose = dc.onclosing = dc.onbufferedamountlow = null;
    dc.close();
    const error = closed(this.label);
    for (const out of this.#outgoing) out.fail(error);
    for (const message of [...this.#incoming.values()]) message.fail(error);
    this.#ready(null);
    this.#host.closed();
  }

  #onOpen() {
    if (this.state !== "opening") return;
    this.state = "open";
    this.#ready(null);
    this.#host.opened();
  }

  // Sending.

  /** @param {Outgoing} out */
  async #run(out) {
    try {
      if (!out.ended) await (this.framed ? this.#sendPackets(out) : this.#sendRaw(out));
      out.finish();
    } catch (error) {
      out.fail(error);
    }
    // Without ask: with it a receiver could not tell it from the end of a transfer of its own.
    if (out.error && out.id && !out.refused) this.#tell({ id: out.id, abort: true });
    out.release();
    this.#outgoing.delete(out);
    this.#current = null;
  }

  /** @param {Outgoing} out */
  async #sendPackets(out) {
    const info = out.info === undefined ? undefined : toJSON(out.info);
    if (info && info.length >= CHUNK) throw new ChannelError("info", `the info has ${info.length} bytes, at most ${CHUNK - 1} go`);
    const next = cutter(out.reader, CHUNK - (info?.length ?? 0));
    for (let index = 0, done = false; !done; index++) {
      const cut = await Promise.race([next(), out.failure]);
      ({ done } = cut);
      await this.#until(out, () => index < out.limit, 2 * STALL, "the other side does not read on");
      await this.#until(out, () => this.#dc.bufferedAmount <= MAX_BUFFERED - CHUNK, PATIENCE, "nothing leaves this machine");
      if (index === 0) {
        this.#lastID = out.id = (this.#lastID % MAX_ID) + 1;
        this.#current = out;
      }
      out.complete = done;
      // Index 0 and done false must be written, which pack does.
      this.#dc.send(pack(PACKET, { id: out.id, index, ...(index === 0 && { type: out.kind, info }), done, chunk: cut.chunk }));
      out.sent += cut.chunk.length;
      out.onprogress(out.sent, out.total);
    }
    await this.#until(out, () => out.acknowledged, PATIENCE, "the other side does not confirm the message");
  }

  /** @param {Outgoing} out */
  async #sendRaw(out) {
    const next = cutter(out.reader, MAX_RAW);
    const { chunk, done } = await Promise.race([next(), out.failure]);
    if (!done) throw new ChannelError("large", `channel ${this.label} takes messages of up to ${MAX_RAW} bytes`);
    await this.#until(out, () => this.#dc.bufferedAmount <= MAX_BUFFERED, PATIENCE, "nothing leaves this machine");
    this.#dc.send(/** @type {any} */ (out.kind === Kind.TEXT ? new TextDecoder().decode(chunk) : chunk));
    out.onprogress(chunk.length, out.total);
  }

  /** Waits; time counts while the buffer does not shrink and no window comes. @param {Outgoing} out @param {() => boolean} ready @param {number} ms @param {string} text */
  #until(out, ready, ms, text) {
    return new Promise((resolve, reject) => {
      let [before, updates] = [Infinity, 0];
      /** @type {any} */ let timer = 0;
      const look = () => {
        const buffered = this.#dc.bufferedAmount;
        if (buffered >= before && out.updates === updates) return out.fail(new ChannelError("timeout", text));
        [before, updates] = [buffered, out.updates];
        timer = setTimeout(look, ms);
      };
      this.#poke = () => {
        if (!out.ended && !ready()) return;
        clearTimeout(timer);
        this.#poke = () => {};
        if (out.ended) reject(out.error);
        else resolve(undefined);
      };
      this.#poke();
      if (!out.ended && !ready()) look();
    });
  }

  /** A word about a transfer, without content. @param {Record<string, any>} packet */
  #tell(packet) {
    if (this.state !== "open" || this.#dc.bufferedAmount > MAX_UNTOLD) return;
    try { this.#dc.send(pack(PACKET, packet)); } catch (error) { this.#host.error(error); }
  }

  // Receiving.

  /** @param {any} data */
  #onMessage(data) {
    if (this.state === "closed") return;
    try {
      if (typeof data === "string" || !this.framed) return this.#onRaw(data);
      const packet = unpack(PACKET, new Uint8Array(data));
      if (packet.id === undefined) return;
      if (packet.ask) this.#onReply(packet);
      else this.#onPacket(packet);
    } catch (error) {
      this.#host.error(error);
    }
  }

  /** @param {any} data */
  #onRaw(data) {
    const text = typeof data === "string";
    const message = new Message({ label: this.label, kind: text ? Kind.TEXT : Kind.BYTES });
    message.push(text ? new TextEncoder().encode(data) : new Uint8Array(data));
    message.finish();
    this.#host.message(message);
  }

  /** @param {Record<string, any>} packet */
  #onReply({ id, index, abort, done }) {
    const update = !abort && !done && index !== undefined;
    if (update) this.#windowed = true;
    if (abort && !this.#windowed && this.#withdrawn(id)) return;
    const out = this.#current;
    if (!out || out.id !== id) return;
    if (abort) out.refuse();
    else if (done) out.acknowledged = out.complete;
    else if (update) out.grant(index);
    this.#poke();
  }

  /**
   * Peerix's senders withdraw a message with the same packet that refuses one of ours, also one that was refused
   * here long before: they hear of that only at its end. @param {number} id @returns {boolean} whether it can be that
   */
  #withdrawn(id) {
    const message = this.#incoming.get(id);
    message?.fail(new ChannelError("aborted", "the sender withdrew the message"));
    return !!message || this.#refused.delete(id);
  }

  /** @param {Record<string, any>} packet */
  #onPacket({ id, index, type, abort, done, info, chunk }) {
    let message = this.#incoming.get(id);
    if (abort) return void message?.fail(new ChannelError("aborted", "the sender withdrew the message"));
    if (type && index === 0) {
      message?.fail(new ChannelError("gap", "the end of the message never came"));
      message = this.#begin(id, type, info);
    }
    if (!message) return; // refused, or its beginning was never seen
    if (chunk && index !== message.next) {
      message.fail(new ChannelError("gap", "a part of the message is missing"));
      return this.#refuse(id);
    }
    if (chunk) message.push(chunk);
    if (message.ended) return;
    if (!done) return message.grant();
    message.finish();
    this.#tell({ id, ask: true, done: true });
  }

  /** @param {number} id @param {number} type @param {Uint8Array} [info] */
  #begin(id, type, info) {
    const reply = (/** @type {any} */ fields) => {
      if (fields.abort) this.#refuse(id);
      this.#tell({ id, ask: true, ...fields });
    };
    if (this.#incoming.size >= MAX_INCOMING) return void reply({ abort: true });
    this.#refused.delete(id);
    const onend = () => { if (this.#incoming.get(id) === message) this.#incoming.delete(id); };
    const message = new Message({ label: this.label, kind: type > Kind.BYTES ? Kind.BYTES : type, info: parsed(info), reply, onend });
    this.#incoming.set(id, message);
    this.#host.message(message);
    return message.ended ? undefined : message;
  }

  /** Remembers a message that was given up here. @param {number} id */
  #refuse(id) {
    this.#refused.add(id);
    if (this.#refused.size > MAX_INCOMING) this.#refused.delete(/** @type {number} */ (this.#refused.values().next().value));
  }
}

/** @param {string} label */
const closed = (label) => new ChannelError("closed", `channel ${label} is closed`);

/** @param {Uint8Array} [info] */
function parsed(info) {
  try { return info ? fromJSON(info) : null; } catch { return null; }
}
