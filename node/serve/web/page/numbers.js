// Statistics as short text, with rates from one sample to the next.

/** @typedef {Awaited<ReturnType<typeof import("../client/stats.js").collect>>} Sample */

export class StatsText {
  /** @type {Sample | null} */ #now = null;
  /** @type {Map<string, {bytes: number, lost: number, packets: number, timestamp: number}>} */ #before = new Map();
  /** @type {Map<string, {kbps: number, loss: number}>} */ #rates = new Map();
  /** @type {Map<string, number>} audio levels by track id, where nothing better is known */ levels = new Map();
  #sent = { bytes: 0, at: 0, kbps: 0 };

  /** @param {Sample} sample */
  take(sample) {
    this.#now = sample;
    this.#rates.clear();
    const seen = new Map();
    for (const t of sample) {
      const key = keyOf(t);
      const last = this.#before.get(key);
      const now = { bytes: t.bytes, lost: t.packetsLost, packets: t.packetsReceived, timestamp: t.timestamp };
      seen.set(key, now);
      const seconds = last ? (now.timestamp - last.timestamp) / 1000 : 0;
      if (!last || seconds <= 0) continue;
      const lost = Math.max(0, now.lost - last.lost);
      const arrived = Math.max(0, now.packets - last.packets);
      this.#rates.set(key, { kbps: ((now.bytes - last.bytes) * 8) / 1000 / seconds, loss: lost + arrived ? (100 * lost) / (lost + arrived) : 0 });
    }
    this.#before = seen;
    const bytes = Object.values(sample.transport).reduce((sum, t) => sum + t.bytesSent, 0);
    const at = performance.now();
    if (this.#sent.at) this.#sent.kbps = Math.max(0, ((bytes - this.#sent.bytes) * 8) / (at - this.#sent.at));
    this.#sent = { ...this.#sent, bytes, at };
  }

  /** @param {string} tile "<peer>/<label>" @returns {string} */
  of(tile) {
    if (!this.#now) return "";
    if (tile.startsWith("own/")) return this.#own(tile);
    const slash = tile.indexOf("/");
    const peer = tile.slice(0, slash);
    const label = tile.slice(slash + 1);
    const tracks = this.#now.filter((t) => t.peer === peer && (label === "" || t.label === label));
    const lines = tracks.map((t) => this.#line(t));
    const transport = tracks[0]?.transport;
    if (transport) lines.push(pathLine(transport));
    return lines.join("\n");
  }

  /** @param {import("../client/stats.js").TrackStats} t */
  #line(t) {
    const rate = this.#rates.get(keyOf(t));
    const size = t.kind === "video" && t.width ? `${t.width}×${t.height} ${Math.round(t.fps)} fps ` : "";
    return `${size}${t.codec} ${speed(rate?.kbps ?? 0)} ${(rate?.loss ?? 0).toFixed(1)} % lost`;
  }

  /** @param {string} tile */
  #own(tile) {
    if (tile !== "own/") return "";
    const links = Object.values(this.#now?.transport ?? {});
    return [`sending ${speed(this.#sent.kbps)} over ${links.length} connection${links.length === 1 ? "" : "s"}`, ...links.slice(0, 4).map(pathLine)].join("\n");
  }
}

/** @param {import("../client/stats.js").TrackStats} t */
const keyOf = (t) => `${t.transport?.link}|${t.peer}|${t.label}|${t.kind}`;

/** @param {number} kbps */
const speed = (kbps) => (kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`);

/** @param {import("../client/stats.js").TransportStats} t */
const pathLine = (t) => `${t.rtt} ms ${t.path} ${t.srtpCipher.replace("SRTP_AEAD_", "").replace("SRTP_", "")}`.trim();
