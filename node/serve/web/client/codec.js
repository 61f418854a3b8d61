// Signaling packets: who we are, and how a message becomes bytes for one receiver and back.

import {
  WireError, pack, unpack, toBase62, toBigInt, fromBigInt, toJSON, fromJSON,
  hashedNamespace, plainNamespace,
} from "./wire.js";

/** Types of signaling packets. */
export const Type = Object.freeze({ ANNOUNCE: 1, INVOKE: 2, OFFER: 3, ANSWER: 4, CANDIDATES: 5 });

const COMPRESSED = 1;
const ENCRYPTED = 2;
const KEY_BYTES = 33;
const MAX_EXPANDED = 1 << 20; // bytes: a description of 60 media sections is 200 KB
const MAX_KEYS = 1024; // remembered shared keys; the least recently heard goes first

/** @type {import("./wire.js").Schema} */
const PACKET = { 1: ["type", "uint"], 2: ["flags", "uint"], 3: ["sender", "bytes"], 4: ["payload", "bytes"] };

/**
 * @typedef {object} CodecOptions
 * @property {boolean} [hashing] default true; all peers of a room must agree
 * @property {boolean} [encryption] default true; all peers of a room must agree
 * @property {boolean} [compression] default true
 * @property {CryptoKeyPair} [keys] ECDH P-256; default: fresh ones
 * @property {Uint8Array} [sender] without encryption: the id's bytes; default random
 * @property {"low" | "high"} [order] which of some fresh keys to take, by the id's order
 * @property {() => Uint8Array} [iv] 12 bytes for one message; only tests set it
 *
 * @typedef {{type: number, from: string, items: any[]}} Message
 */

export class Codec {
  /** @type {Map<string, CryptoKey>} */
  #shared = new Map();
  #options;
  #keys;
  #sender;

  /**
   * @param {CodecOptions} options @param {CryptoKeyPair | null} keys @param {Uint8Array} sender
   * Use Codec.create.
   */
  constructor(options, keys, sender) {
    this.#options = options;
    this.#keys = keys;
    this.#sender = sender;
    /** This peer's id. */
    this.id = toBase62(sender);
  }

  /** @param {CodecOptions} [options] */
  static async create(options = {}) {
    const { encryption = true, hashing = true, compression = true, keys, order } = options;
    const full = { ...options, encryption, hashing, compression };
    if (!encryption) {
      return new Codec(full, null, options.sender ?? crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
    }
    /** @type {Codec | undefined} */
    let best;
    for (let i = 0; i < (keys || !order ? 1 : 8); i++) {
      const pair = keys ?? await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"]);
      const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
      const codec = new Codec(full, pair, compressKey(raw));
      if (!best || (order === "high" ? codec.id > best.id : codec.id < best.id)) best = codec;
    }
    return /** @type {Codec} */ (best);
  }

  /** @param {string} name of a room, or a peer's id */
  namespace(name) {
    return this.#options.hashing ? hashedNamespace(name) : plainNamespace(name);
  }

  /** @param {string} id whether a packet from this peer was decoded, so that we can encrypt to it */
  knows(id) { return !this.#options.encryption || this.#shared.has(id); }

  /**
   * @param {number} type @param {string | null} to null: the whole room
   * @param {any[]} [items] nothing: an empty payload, which is neither compressed nor encrypted
   */
  async encode(type, to, items) {
    let flags = 0;
    let payload = new Uint8Array(0);
    if (items?.length) {
      payload = toJSON(items);
      if (this.#options.compression) {
        const small = await deflate(payload);
        if (small.length < payload.length) { payload = small; flags |= COMPRESSED; }
      }
      if (this.#options.encryption) {
        const key = this.#shared.get(to ?? "");
        if (!key) throw new Error(`no key yet of peer ${to}`);
        const iv = this.#options.iv?.() ?? crypto.getRandomValues(new Uint8Array(12));
        const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, payload);
        payload = new Uint8Array(12 + sealed.byteLength);
        payload.set(iv);
        payload.set(new Uint8Array(sealed), 12);
        flags |= ENCRYPTED;
      }
    }
    return pack(PACKET, { type, flags, sender: this.#sender, payload });
  }

  /** @param {Uint8Array} packet @returns {Promise<Message | null>} null: our own, come back */
  async decode(packet) {
    const { type, flags = 0, sender, payload } = unpack(PACKET, packet);
    if (!sender || !payload) throw new WireError("a signaling packet lacks its sender or payload");
    if (!(type >= 1 && type <= 5)) throw new WireError(`unknown signaling type ${type}`);
    // Before it becomes a number: that of a megabyte would take minutes.
    if (sender.length === 0 || sender.length > KEY_BYTES) throw new WireError(`a sender of ${sender.length} bytes`);
    const from = toBase62(sender);
    if (from === this.id) return null;
    const { encryption } = this.#options;
    const key = encryption ? await this.#keyOf(from, sender) : null;
    if (payload.length === 0) return { type, from, items: [] };
    let plain = payload;
    if (key) {
      if (!(flags & ENCRYPTED)) throw new WireError(`an unencrypted packet from ${from}`);
      if (plain.length < 28) throw new WireError(`an encrypted packet of ${plain.length} bytes from ${from}`);
      const opened = await crypto.subtle.decrypt({ name: "AES-GCM", iv: plain.subarray(0, 12) }, key, plain.subarray(12))
        .catch(() => { throw new WireError(`a packet from ${from} does not decrypt`); });
      plain = new Uint8Array(opened);
    }
    if (flags & COMPRESSED) plain = await inflate(plain, MAX_EXPANDED).catch(() => plain);
    const items = fromJSON(plain);
    if (!Array.isArray(items)) throw new WireError(`a payload from ${from} is no array`);
    return { type, from, items };
  }

  /** @param {string} id */
  forget(id) { this.#shared.delete(id); }

  /** @param {string} id @param {Uint8Array} sender */
  async #keyOf(id, sender) {
    const known = this.#shared.get(id);
    if (known) {
      this.#shared.delete(id); // to the end of the order
      this.#shared.set(id, known);
      return known;
    }
    const key = await deriveKey(/** @type {CryptoKeyPair} */ (this.#keys).privateKey, sender);
    if (this.#shared.size >= MAX_KEYS) this.#shared.delete(this.#shared.keys().next().value ?? "");
    this.#shared.set(id, key);
    return key;
  }
}

/** @param {CryptoKey} own @param {Uint8Array} other compressed @param {boolean} [extractable] */
export async function deriveKey(own, other, extractable = false) {
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const theirs = await crypto.subtle.importKey("raw", expandKey(other), curve, false, []);
  // The plain x coordinate is the key: no hash, no salt.
  const x = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, own, 256);
  return crypto.subtle.importKey("raw", x, "AES-GCM", extractable, ["encrypt", "decrypt"]);
}

/** @param {Uint8Array} raw 65 bytes: 4, x, y @returns {Uint8Array} 33 bytes: 2 or 3 by y's parity, x (SEC1 2.3.3) */
export function compressKey(raw) {
  const out = raw.slice(0, KEY_BYTES);
  out[0] = 2 + (raw[64] & 1);
  return out;
}

const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

/** WebCrypto reads only uncompressed points in most browsers. @param {Uint8Array} key */
export function expandKey(key) {
  if (key.length !== KEY_BYTES) throw new WireError(`a public key of ${key.length} bytes`);
  if (key[0] !== 2 && key[0] !== 3) throw new WireError(`a public key with prefix ${key[0]}`);
  const x = toBigInt(key.subarray(1));
  const square = (((x * x - 3n) * x + B) % P + P) % P;
  let y = power(square, (P + 1n) / 4n); // a root, as P is 3 modulo 4
  if (x >= P || (y * y) % P !== square) throw new WireError("a public key that is not on the curve");
  if (Number(y & 1n) !== (key[0] & 1)) y = P - y;
  const out = new Uint8Array(65);
  out[0] = 4;
  out.set(key.subarray(1), 1);
  out.set(fromBigInt(y, 32), 33);
  return out;
}

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % P) {
    if (exponent & 1n) result = (result * base) % P;
  }
  return result;
}

/** @param {Uint8Array} bytes zlib (RFC 1950), which browsers call "deflate" */
export const deflate = (bytes) => through(new CompressionStream("deflate"), bytes, Infinity);

/** @param {Uint8Array} bytes @param {number} limit of expanded bytes, beyond which it fails */
export const inflate = (bytes, limit) => through(new DecompressionStream("deflate"), bytes, limit);

/** @param {GenericTransformStream} stream @param {Uint8Array} bytes @param {number} limit */
async function through(stream, bytes, limit) {
  const writer = stream.writable.getWriter();
  // Errors show on the readable side too; here they would only be unhandled.
  writer.write(bytes).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      reader.cancel().catch(() => {});
      throw new WireError(`a payload expands beyond ${limit} bytes`);
    }
    parts.push(value);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

