// What the page wants of the streams that it shows: each at the size of its tile, none that nobody sees.

const SETTLE = 300; // ms after the last change, because layouts come in bursts
const STEP = 32; // pixels: smaller changes of size are none

/** @typedef {{paused?: boolean, width?: number, height?: number}} Wish */

/**
 * @param {{w: number, h: number, seen: boolean} | undefined} box the tile, in device pixels; undefined: none
 * @param {boolean} hidden nobody looks at the page
 * @returns {Wish}
 */
export function wishFor(box, hidden) {
  if (hidden || !box?.seen) return { paused: true };
  const up = (/** @type {number} */ n) => Math.ceil(n / STEP) * STEP;
  return { width: up(box.w), height: up(box.h) };
}

/** Tells a peer what is wanted, when it has changed. */
export class Wishes {
  /** @type {Map<string, string>} */ #told = new Map();
  #timer = 0;

  /**
   * @param {{want: (id: string, label: string, wish: Wish) => boolean}} peer
   * @param {() => {peer: string, label: string, box: {w: number, h: number, seen: boolean} | undefined}[]} look at what is shown now
   */
  constructor(peer, look) {
    this.peer = peer;
    this.look = look;
  }

  /** Something may have changed. */
  update() {
    clearTimeout(this.#timer);
    this.#timer = /** @type {any} */ (setTimeout(() => this.#tell(), SETTLE));
  }

  /** There is another connection, which knows of no wish. */
  forget() {
    this.#told.clear();
    this.update();
  }

  #tell() {
    const shown = new Set();
    for (const { peer, label, box } of this.look()) {
      const key = `${peer}/${label}`;
      shown.add(key);
      const wish = wishFor(box, document.hidden);
      const text = JSON.stringify(wish);
      if (this.#told.get(key) === text) continue;
      if (this.peer.want(peer, label, wish)) this.#told.set(key, text);
    }
    for (const key of this.#told.keys()) if (!shown.has(key)) this.#told.delete(key);
  }

  close() { clearTimeout(this.#timer); }
}
