// A small NATS client over a WebSocket: core publish and subscribe, nothing else. It connects for ever.

const CRLF = "\r\n";
const FIRST_WAIT = 250; // ms before the first retry; doubled up to LAST_WAIT
const LAST_WAIT = 2000;
const PING_EVERY = 5000; // ms; a server that leaves one unanswered until the next is gone
const CONNECT_WITHIN = 5000; // ms from dialling to the first answer
const MAX_BUFFER = 4 << 20; // bytes of one unfinished message

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * A driver carries opaque packets by namespace. `active` says whether it can do so now; `onactive`
 * is called on every change.
 * @typedef {object} NatsOptions
 * @property {string[]} servers ws:// or wss:// addresses, tried in turn
 * @property {string} [prefix] put straight in front of each namespace
 * @property {typeof WebSocket} [WebSocket]
 * @property {string} [token]
 */
export class NatsDriver {
  active = false;
  /** @type {(active: boolean) => void} */
  onactive = () => {};
  /** @type {(error: Error) => void} */
  onerror = () => {};

  /** @type {Map<string, {sid: number, receive: (packet: Uint8Array) => void}>} */
  #subscriptions = new Map();
  #nextSid = 1;
  #attempt = 0;
  #closed = false;
  /** @type {WebSocket | null} */
  #socket = null;
  #buffer = new Uint8Array(0);
  #unanswered = 0;
  /** @type {any} */ #retry = 0;
  /** @type {any} */ #timer = 0;
  #options;
  /** The server knows our subscriptions, so that it has to hear of each change; active follows with its answer. */
  #greeted = false;
  #hurry = () => { if (!this.active) this.#dial(); };

  /** @param {NatsOptions} options */
  constructor(options) {
    this.#options = options;
    globalThis.addEventListener?.("online", this.#hurry);
    this.#dial();
  }

  /** @param {string} namespace @param {(packet: Uint8Array) => void} receive */
  subscribe(namespace, receive) {
    const sid = this.#nextSid++;
    const subject = this.#subject(namespace);
    this.unsubscribe(namespace);
    this.#subscriptions.set(subject, { sid, receive });
    if (this.#greeted) this.#write(`SUB ${subject} ${sid}`);
  }

  /** @param {string} namespace */
  unsubscribe(namespace) {
    const subject = this.#subject(namespace);
    const old = this.#subscriptions.get(subject);
    this.#subscriptions.delete(subject);
    if (old && this.#greeted) this.#write(`UNSUB ${old.sid}`);
  }

  /** Sends if connected, else drops: whoever needs it sends again when active. @param {string} namespace @param {Uint8Array} packet */
  publish(namespace, packet) {
    if (this.active) this.#write(`PUB ${this.#subject(namespace)} ${packet.length}`, packet);
  }

  close() {
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.#hurry);
    this.#drop();
    clearTimeout(this.#retry);
  }

  /** @param {string} namespace */
  #subject(namespace) { return (this.#options.prefix ?? "") + namespace; }

  #dial() {
    if (this.#closed) return;
    this.#drop();
    clearTimeout(this.#retry);
    const { servers, WebSocket: Socket = WebSocket } = this.#options;
    const lost = () => { if (this.#socket === socket) this.#lost(); };
    /** @type {WebSocket} */
    let socket;
    try {
      socket = new Socket(servers[this.#attempt % servers.length]);
    } catch (error) {
      this.onerror(/** @type {Error} */ (error));
      this.#lost();
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onclose = socket.onerror = lost;
    socket.onmessage = ({ data }) => {
      if (this.#socket !== socket) return;
      try {
        this.#read(typeof data === "string" ? encoder.encode(data) : new Uint8Array(data));
      } catch (error) {
        this.onerror(/** @type {Error} */ (error));
        lost();
      }
    };
    this.#timer = setTimeout(lost, CONNECT_WITHIN);
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#greeted = false;
    this.#buffer = new Uint8Array(0);
    socket?.close();
    if (this.active) {
      this.active = false;
      this.onactive(false);
    }
  }

  #lost() {
    this.#drop();
    const wait = Math.min(LAST_WAIT, FIRST_WAIT * 2 ** this.#attempt++);
    clearTimeout(this.#retry);
    // Jitter keeps a whole room from coming back in the same millisecond.
    if (!this.#closed) this.#retry = setTimeout(() => this.#dial(), wait * (0.75 + Math.random() / 4));
  }

  /** @param {string} line @param {Uint8Array} [payload] */
  #write(line, payload) {
    const head = encoder.encode(line + CRLF);
    if (!payload) return void this.#socket?.send(head);
    const frame = new Uint8Array(head.length + payload.length + 2);
    frame.set(head);
    frame.set(payload, head.length);
    frame.set([13, 10], head.length + payload.length);
    this.#socket?.send(frame);
  }

  /** @param {Uint8Array} bytes any piece of the stream */
  #read(bytes) {
    let data = bytes;
    if (this.#buffer.length) {
      data = new Uint8Array(this.#buffer.length + bytes.length);
      data.set(this.#buffer);
      data.set(bytes, this.#buffer.length);
    }
    let at = 0;
    while (at < data.length) {
      const used = this.#operation(data.subarray(at));
      if (used === 0) break;
      at += used;
    }
    if (data.length - at > MAX_BUFFER) throw new Error("the signaling server sent an overlong message");
    this.#buffer = data.slice(at);
  }

  /** @param {Uint8Array} data @returns {number} bytes used; 0 when it is not all there yet */
  #operation(data) {
    const end = data.indexOf(10);
    if (end < 0) return 0;
    const line = decoder.decode(data.subarray(0, end)).trim();
    const [verb, ...words] = line.split(/\s+/);
    switch (verb.toUpperCase()) {
      case "MSG": {
        const size = Number(words[words.length - 1]);
        if (!(size >= 0)) throw new Error(`the signaling server sent ${JSON.stringify(line.slice(0, 80))}`);
        if (data.length < end + 1 + size + 2) return 0;
        const to = this.#subscriptions.get(words[0]);
        if (to && String(to.sid) === words[1]) to.receive(data.slice(end + 1, end + 1 + size));
        return end + 1 + size + 2;
      }
      case "INFO": this.#welcome(); break;
      case "PING": this.#write("PONG"); break;
      case "PONG": this.#alive(); break;
      case "-ERR": this.onerror(new Error(`signaling server: ${line.slice(5)}`)); break;
    }
    return end + 1;
  }

  #welcome() {
    if (this.active) return; // a later INFO only tells of the cluster
    const connect = { verbose: false, pedantic: false, echo: false, lang: "weft", version: "1", protocol: 1, auth_token: this.#options.token };
    this.#write(`CONNECT ${JSON.stringify(connect)}`);
    for (const [subject, { sid }] of this.#subscriptions) this.#write(`SUB ${subject} ${sid}`);
    this.#greeted = true;
    this.#write("PING");
  }

  #alive() {
    this.#unanswered = 0;
    if (this.active) return;
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.active = true;
    this.#beat();
    this.onactive(true);
  }

  #beat() {
    this.#timer = setTimeout(() => {
      if (this.#unanswered++ > 0) return this.#lost();
      this.#write("PING");
      this.#beat();
    }, PING_EVERY);
  }
}
