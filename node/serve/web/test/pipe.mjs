// Two ends of a data channel without a network: what a Channel needs of the browser's.

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Lets everything happen that needs no time. */
export const turns = async (n = 20) => { for (let i = 0; i < n; i++) await turn(); };

/** Lets everything happen until something is so. @param {() => any} f */
export const until = async (f) => { while (!f()) await turn(); };

/** One end. `sent` keeps what went out; it arrives at `other`, if there is one, a turn later and in order. */
export class End {
  readyState = "connecting";
  bufferedAmount = 0;
  protocol = "";
  ordered = true;
  sent = [];
  other = null;
  /** Whether what is sent stays in the buffer. */
  stuck = false;

  constructor(label = "files", init = {}) { Object.assign(this, { label, ...init }); }

  send(data) {
    if (this.readyState !== "open") throw new Error("InvalidStateError");
    const copy = typeof data === "string" ? data : Uint8Array.from(data);
    this.sent.push(copy);
    const size = copy.length;
    this.bufferedAmount += size;
    if (!this.stuck) setImmediate(() => this.drain(size));
    const { other } = this;
    if (other) setImmediate(() => other.readyState === "open" && other.onmessage?.({ data: typeof copy === "string" ? copy : copy.buffer }));
  }

  drain(size = this.bufferedAmount) {
    const before = this.bufferedAmount;
    this.bufferedAmount -= size;
    if (before > this.bufferedAmountLowThreshold && this.bufferedAmount <= this.bufferedAmountLowThreshold) this.onbufferedamountlow?.();
  }

  open() {
    if (this.readyState !== "connecting") return;
    this.readyState = "open";
    this.onopen?.();
  }

  close() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    const { other } = this;
    setImmediate(() => { if (other && other.readyState !== "closed") { other.readyState = "closing"; other.onclosing?.(); } });
  }
}

/** @returns {[End, End]} connected, not open yet */
export function pipe(label, init) {
  const [a, b] = [new End(label, init), new End(label, init)];
  a.other = b;
  b.other = a;
  return [a, b];
}
