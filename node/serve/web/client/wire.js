// The plain encodings of the Peerix 0.7 wire protocol: base62, packed fields, ids, and the packets of
// the control channel. Everything here is a pure function of its arguments.

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const utf8 = new TextEncoder();
const fromUTF8 = new TextDecoder("utf-8", { fatal: true });

/** What went wrong with bytes that came from outside. */
export class WireError extends Error {}

/** @param {Uint8Array} bytes one big-endian number @returns {string} without leading zeros */
export function toBase62(bytes) {
  if (bytes.length === 0) return "";
  let n = toBigInt(bytes);
  let text = "";
  do {
    text = DIGITS[Number(n % 62n)] + text;
    n /= 62n;
  } while (n > 0n);
  return text;
}

/**
 * @param {string} text
 * @param {number} [length] pads with zero bytes in front, keeps the low bytes of a longer number
 */
export function fromBase62(text, length) {
  if (text === "") return new Uint8Array(0);
  let n = 0n;
  for (const c of text) {
    const digit = DIGITS.indexOf(c);
    if (digit < 0) throw new WireError(`not a base62 digit: ${JSON.stringify(c)}`);
    n = n * 62n + BigInt(digit);
  }
  return fromBigInt(n, length ?? Math.max(1, Math.ceil(n.toString(16).length / 2)));
}

/** @param {Uint8Array} bytes */
export function toBigInt(bytes) {
  let hex = "0x0";
  for (const b of bytes) hex += b.toString(16).padStart(2, "0");
  return BigInt(hex);
}

/** @param {bigint} n @param {number} length */
export function fromBigInt(n, length) {
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0 && n > 0n; i--, n >>= 8n) bytes[i] = Number(n & 255n);
  return bytes;
}

/**
 * A schema maps field numbers, in rising order, to a name and a kind: "uint", "bool" or "bytes".
 * @typedef {Record<number, [name: string, kind: "uint" | "bool" | "bytes"]>} Schema
 */

/**
 * Writes every field that has a value, also 0, false and empty ones: receivers depend on it.
 * @param {Schema} schema @param {Record<string, any>} values
 */
export function pack(schema, values) {
  /** @type {number[]} */
  const head = [];
  const parts = [];
  let size = 0;
  const flush = (/** @type {Uint8Array} */ part) => { parts.push(part); size += part.length; };
  for (const [number, [name, kind]] of Object.entries(schema)) {
    const value = values[name];
    if (value === undefined) continue;
    head.length = 0;
    varint(head, Number(number) * 8 + (kind === "bytes" ? 2 : 0));
    varint(head, kind === "bytes" ? value.length : Number(value));
    flush(Uint8Array.from(head));
    if (kind === "bytes") flush(value);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

/** @param {number[]} out @param {number} value */
function varint(out, value) {
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  out.push(value);
}

/** @param {Schema} schema @param {Uint8Array} bytes @returns {Record<string, any>} */
export function unpack(schema, bytes) {
  /** @type {Record<string, any>} */
  const values = {};
  let at = 0;
  const skip = (/** @type {number} */ n) => {
    if (n > bytes.length - at) throw new WireError("a packed field reaches beyond the end");
    at += n;
    return bytes.subarray(at - n, at);
  };
  const read = () => {
    let value = 0;
    for (let i = 0; i < 5; i++) {
      const b = skip(1)[0];
      value += (b & 127) * 2 ** (7 * i);
      if (b < 128) {
        if (value > 0xffffffff) break;
        return value;
      }
    }
    throw new WireError("a varint has more than 32 bits");
  };
  while (at < bytes.length) {
    const tag = read();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    const field = schema[number];
    if (number === 0) throw new WireError("field number 0");
    if (field && wire !== (field[1] === "bytes" ? 2 : 0)) throw new WireError(`field ${number} has wire type ${wire}`);
    let value;
    if (wire === 0) value = read();
    else if (wire === 1) skip(8);
    else if (wire === 2) value = skip(read());
    else if (wire === 5) skip(4);
    else throw new WireError(`wire type ${wire}`);
    if (field?.[1] === "bool") {
      if (value > 1) throw new WireError(`field ${number} is neither false nor true`);
      value = value === 1;
    }
    if (field) values[field[0]] = value;
  }
  return values;
}

/** @param {any} value */
export const toJSON = (value) => utf8.encode(JSON.stringify(value));

/** @param {Uint8Array} bytes */
export const fromJSON = (bytes) => JSON.parse(fromUTF8.decode(bytes));

/**
 * The greater id is polite. JavaScript compares code units, which for base62 is plain byte order.
 * @param {string} own @param {string} other
 */
export const polite = (own, other) => own > other;

/** @param {string} name namespace of a room or id when hashing is off */
export const plainNamespace = (name) => name.replace(/[^a-zA-Z0-9_-]/gu, "_");

/** @param {string} name namespace of a room or id */
export async function hashedNamespace(name) {
  return toBase62(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(name))));
}

/** Events of the control channel. Plain Peerix knows the first two and ignores the others. */
export const Event = Object.freeze({ SIGNAL: 1, CHANNEL: 2, ROSTER: 3, SUBSCRIBE: 4, MESSAGE: 5 });

/** @type {Schema} */
const CONTROL = { 1: ["event", "uint"], 2: ["payload", "bytes"] };

/** @param {number} event @param {any} payload */
export const packControl = (event, payload) => pack(CONTROL, { event, payload: toJSON(payload) });

/** @param {Uint8Array} bytes @returns {{event: number, payload: any} | null} null: to be dropped in silence */
export function unpackControl(bytes) {
  const { event, payload } = unpack(CONTROL, bytes);
  if (event === undefined || payload === undefined) return null;
  return { event, payload: fromJSON(payload) };
}

/** @param {string | undefined} sdp the first ice-ufrag of a description */
export const firstUfrag = (sdp) => sdp?.match(/^a=ice-ufrag:(\S+)/m)?.[1];

/** @param {string | undefined} sdp the first certificate fingerprint of a description */
export const fingerprint = (sdp) => sdp?.match(/^a=fingerprint:(\S+ \S+)/m)?.[1].toLowerCase();

const MAX_CANDIDATE = 1024; // characters of one candidate's texts; real ones have about 200

/**
 * Candidates that came before the description that they belong to: 100 for each peer, oldest dropped.
 */
export class CandidateQueue {
  /** @type {Map<string, RTCIceCandidateInit[]>} */
  #held = new Map();

  /** @param {string} id @param {any} from a candidate from outside; without a ufrag it would fit nothing */
  hold(id, from) {
    const { candidate, usernameFragment } = from;
    if (typeof candidate !== "string" || typeof usernameFragment !== "string") return;
    const sdpMid = typeof from.sdpMid === "string" ? from.sdpMid : null;
    const sdpMLineIndex = Number.isInteger(from.sdpMLineIndex) ? from.sdpMLineIndex : null;
    if (candidate.length + usernameFragment.length + (sdpMid?.length ?? 0) > MAX_CANDIDATE) return;
    let list = this.#held.get(id);
    if (!list) {
      // 256 strangers: enough for any room, and a bound for whoever makes ids up.
      if (this.#held.size >= 256) this.#held.delete(this.#held.keys().next().value ?? "");
      this.#held.set(id, (list = []));
    }
    list.push({ candidate, sdpMid, sdpMLineIndex, usernameFragment });
    if (list.length > 100) list.shift();
  }

  /** @param {string} id @param {string | undefined} ufrag @returns {RTCIceCandidateInit[]} those that fit; the others stay */
  take(id, ufrag) {
    const list = this.#held.get(id) ?? [];
    const fits = (/** @type {RTCIceCandidateInit} */ c) => ufrag !== undefined && c.usernameFragment === ufrag;
    const rest = list.filter((c) => !fits(c));
    if (rest.length) this.#held.set(id, rest);
    else this.#held.delete(id);
    return list.filter(fits);
  }

  /** @param {string} id */
  forget(id) { this.#held.delete(id); }

  /** @param {string} id */
  count(id) { return this.#held.get(id)?.length ?? 0; }
}
