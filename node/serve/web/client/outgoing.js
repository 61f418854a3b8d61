// A message on its way out: where its content comes from, how it is cut, and what became of it.

import { toJSON } from "./wire.js";
import { CHUNK, ChannelError, Kind } from "./message.js";

/**
 * @typedef {object} SendOptions
 * @property {any} [info] JSON that goes ahead of the content, shorter than 16,320 bytes
 * @property {AbortSignal} [signal] withdraws the message
 * @property {(sent: number, total: number | null) => void} [onprogress] bytes handed to the browser, of all if known
 *
 * @typedef {string | Blob | ArrayBuffer | ArrayBufferView | ReadableStream<Uint8Array> | object | number | boolean | null} Content
 */

export class Outgoing {
  id = 0;
  sent = 0;
  /** Packets from this index on must wait. */ limit = Infinity;
  updates = 0; // of the limit
  complete = false; // all of it is on its way
  acknowledged = false;
  refused = false;
  ended = false;
  /** @type {any} */ error = null;
  /** @type {(ok: any) => void} */ #resolve = () => {};
  /** @type {(error: any) => void} */ #reject = () => {};
  #poke;
  #signal;
  #onabort = () => this.fail(this.#signal?.reason);

  /** @param {Content} content @param {SendOptions} options @param {() => void} poke */
  constructor(content, { info, signal, onprogress = () => {} }, poke) {
    const { kind, stream, size } = readable(content);
    this.kind = kind;
    this.total = size;
    this.reader = stream.getReader();
    this.info = info;
    this.onprogress = onprogress;
    this.#poke = poke;
    this.result = new Promise((resolve, reject) => { this.#resolve = resolve; this.#reject = reject; });
    /** Rejects when it fails. @type {Promise<never>} */
    this.failure = this.result.then(() => new Promise(() => {}));
    this.failure.catch(() => {}); // whoever waits for the result hears of it
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onabort);
    if (signal?.aborted) this.#onabort();
  }

  finish() { if (this.#end()) this.#resolve(undefined); }

  /** @param {any} error */
  fail(error) {
    if (!this.#end()) return;
    this.error = error;
    this.#reject(error);
    this.#poke();
  }

  /** @param {number} index how far the other side lets it go */
  grant(index) {
    this.limit = this.updates++ ? Math.max(this.limit, index) : index;
  }

  refuse() {
    this.refused = true;
    this.fail(new ChannelError("aborted", "the other side refused the message"));
  }

  release() { this.reader.cancel().catch(() => {}); }

  #end() {
    if (this.ended) return false;
    this.#signal?.removeEventListener("abort", this.#onabort);
    return (this.ended = true);
  }
}

/** @param {any} content @returns {{kind: number, stream: ReadableStream<Uint8Array>, size: number | null}} */
function readable(content) {
  if (content instanceof ReadableStream) return { kind: Kind.BYTES, stream: content, size: null };
  if (content instanceof Blob) return { kind: Kind.BLOB, stream: content.stream(), size: content.size };
  /** @type {number} */ let kind = Kind.BYTES;
  let bytes = content;
  if (content instanceof ArrayBuffer) bytes = new Uint8Array(content);
  else if (ArrayBuffer.isView(content)) bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  else if (typeof content === "string") { kind = Kind.TEXT; bytes = new TextEncoder().encode(content); }
  else { kind = Kind.JSON; bytes = toJSON(content ?? null); }
  const stream = new ReadableStream({ start(c) { c.enqueue(bytes); c.close(); } });
  return { kind, stream, size: bytes.length };
}

/**
 * Cuts a stream into chunks that are as long as they may be, each with whether it is the last.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader @param {number} first bytes of the first one
 * @returns {() => Promise<{chunk: Uint8Array, done: boolean}>}
 */
export function cutter(reader, first) {
  let size = first;
  /** @type {Uint8Array} */ let rest = new Uint8Array(0); // never more than one block of the stream and one chunk
  let ended = false;
  return async () => {
    while (!ended && rest.length <= size) { // more than a chunk, to know that it is not the last
      const { done, value } = await reader.read();
      if (done) ended = true;
      else if (rest.length === 0) rest = value;
      else if (value.length) {
        const both = new Uint8Array(rest.length + value.length);
        both.set(rest);
        both.set(value, rest.length);
        rest = both;
      }
    }
    const chunk = rest.subarray(0, size);
    rest = rest.subarray(chunk.length);
    size = CHUNK;
    return { chunk, done: ended && rest.length === 0 };
  };
}
