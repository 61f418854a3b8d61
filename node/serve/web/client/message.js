// A message that arrives over a data channel: what it is, and a body whose unread part stays small.

/** Kinds of messages, as they are on the wire. */
export const Kind = Object.freeze({ TEXT: 1, JSON: 2, BLOB: 3, BYTES: 4 });

export const CHUNK = 16320; // bytes of content in one packet
export const STALL = 30000; // ms that a reader with a full window may read nothing

const HEAD = 64; // bytes that a piece counts beyond its content, so that tiny ones are bounded too
const WINDOW = 1 << 20; // bytes not read yet that a sender is allowed
const STEP = 32; // pieces by which the allowance grows at once: half a window
const MAX_UNREAD = 16 << 20; // bytes, for senders that know of no window: a browser cannot slow them down
const PART = 4 << 20; // bytes collected before they become a Blob, which a browser may keep on disk

/**
 * Why a transfer ended. `code`: "closed" (the channel is gone), "aborted" (by either side), "timeout"
 * (nothing moves), "stalled" (the reader stopped), "gap" (a part is missing), "large", "info" (too long).
 */
export class ChannelError extends Error {
  /** @param {"closed" | "aborted" | "timeout" | "stalled" | "gap" | "large" | "info"} code @param {string} text */
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

/**
 * @typedef {object} MessageInit
 * @property {string} label of the channel
 * @property {number} kind
 * @property {any} [info] what the sender said about it, any JSON
 * @property {(fields: {index?: number, abort?: boolean}) => void} [reply] to the sender
 * @property {() => void} [onend] it takes no more
 */

/**
 * The message exists from its first packet on; its end may be far. Whoever gets it reads `body`, collects it with
 * blob(), bytes(), text() or json(), or refuses it with cancel(). A body ends well only if all of it has come.
 */
export class Message {
  /** Bytes that have come. */
  received = 0;
  /** Number of the next piece. */
  next = 0;
  /** Whether no more comes: complete, failed or cancelled. */
  ended = false;
  /** Why it failed. @type {any} */
  error = null;
  /** Called with each piece. @type {(received: number) => void} */
  onprogress = () => {};

  #counted = 0; // bytes that came, as the window counts them
  #granted = -STEP;
  #grantedAt = 0;
  /** @type {any} */ #timer = 0;
  /** @type {ReadableStreamDefaultController<Uint8Array>} */ #controller = /** @type {any} */ (null);
  #reply;
  #onend;

  /** @param {MessageInit} init */
  constructor({ label, kind, info = null, reply = () => {}, onend = () => {} }) {
    this.label = label;
    this.kind = kind;
    this.info = info;
    this.#reply = reply;
    this.#onend = onend;
    /** @type {ReadableStream<Uint8Array>} */
    this.body = new ReadableStream({
      start: (controller) => { this.#controller = controller; },
      pull: () => this.grant(), // something was read
      cancel: () => { if (this.#end()) reply({ abort: true }); },
    }, { highWaterMark: WINDOW, size: (piece) => piece.length + HEAD });
  }

  /** Refuses the rest. */
  cancel() {
    if (this.fail(new ChannelError("aborted", "the message was refused here"))) this.#reply({ abort: true });
  }

  /** @param {{type?: string, max?: number}} [options] media type; most bytes that are taken @returns {Promise<Blob>} all of it */
  async blob({ type = "", max = Infinity } = {}) {
    /** @type {Blob[]} */
    const parts = [];
    let pieces = [];
    let size = 0;
    const reader = this.body.getReader();
    for (;;) {
      if (this.received > max) {
        this.cancel();
        throw new ChannelError("large", `the message has more than ${max} bytes`);
      }
      const { done, value } = await reader.read();
      if (value) { pieces.push(/** @type {BlobPart} */ (value)); size += value.length; }
      if (done || size >= PART) { parts.push(new Blob(pieces)); pieces = []; size = 0; }
      if (done) return new Blob(parts, { type });
    }
  }

  /** @param {number} [max] bytes */
  async bytes(max) { return new Uint8Array(await (await this.blob({ max })).arrayBuffer()); }

  /** @param {number} [max] bytes */
  async text(max) { return (await this.blob({ max })).text(); }

  /** @param {number} [max] bytes @returns {Promise<any>} */
  async json(max) { return JSON.parse(await this.text(max)); }

  // The channel's side.

  /** @param {Uint8Array} piece the next one */
  push(piece) {
    if (this.ended) return;
    this.next++;
    this.received += piece.length;
    this.#counted += piece.length + HEAD;
    this.#controller.enqueue(piece);
    if (this.#unread > MAX_UNREAD) return this.#stalled();
    if (this.#full) this.#watch();
    this.onprogress(this.received);
  }

  finish() {
    if (this.#end()) this.#controller.close();
  }

  /** @param {any} error @returns {boolean} whether it had not ended yet */
  fail(error) {
    if (!this.#end()) return false;
    this.error = error;
    this.#controller.error(error);
    return true;
  }

  /** Tells the sender how far it may go, if that is news worth a packet. */
  grant() {
    const index = this.next + Math.floor((WINDOW - this.#unread) / (CHUNK + HEAD));
    if (this.ended || this.next === 0) return;
    // Half a window is news; less of it too, now and then, lest a sender gives up on a slow reader.
    if (index < this.#granted + STEP && !(index > this.#granted && Date.now() - this.#grantedAt > STALL / 2)) return;
    this.#granted = index;
    this.#grantedAt = Date.now();
    this.#reply({ index });
  }

  /** Whether the sender has used up what it was allowed. */
  get #full() { return this.next >= this.#granted && this.#granted > 0 || this.#unread >= WINDOW; }
  get #unread() { return WINDOW - (this.#controller.desiredSize ?? WINDOW); }

  /** Gives up on a reader that lets a full window lie: one that reads some is only slow. */
  #watch() {
    const read = this.#counted - this.#unread;
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      if (!this.#full) return;
      if (this.#counted - this.#unread > read) this.#watch();
      else this.#stalled();
    }, STALL);
  }

  #stalled() {
    if (this.fail(new ChannelError("stalled", "the message is not being read"))) this.#reply({ abort: true });
  }

  #end() {
    if (this.ended) return false;
    this.ended = true;
    clearTimeout(this.#timer);
    this.#onend();
    return true;
  }
}
