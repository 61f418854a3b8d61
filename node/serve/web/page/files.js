// Files in the chat: straight from one page to another over data channels, with progress and a way to stop.

import { h, icon, toast } from "./dom.js";

const LABEL = "files";
export const MAX_FILE = 256e6; // bytes
const MAX_AT_ONCE = 20;
const MAX_KEPT = 1e9; // bytes of received files at hand; the oldest go first
const MAX_PICTURE = 32e6; // bytes of a file that is shown small
const PICTURES = /^image\/(png|jpeg|gif|webp|avif)$/;

/** @param {number} n bytes @returns {string} */
export function sizeText(n) {
  if (n < 1000) return n === 1 ? "1 byte" : `${n} bytes`;
  const [unit, value] = n < 999500 ? ["KB", n / 1e3] : n < 999.5e6 ? ["MB", n / 1e6] : ["GB", n / 1e9];
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** @param {any} name from outside @returns {string} one that shows what it is and cannot lead out of a folder */
export function cleanName(name) {
  // Control characters, and those that turn the direction of writing, could make an .exe look like a .png.
  const clean = (typeof name === "string" ? name : "").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}/\\]/gu, "_").replace(/^[.\s]+/, "").trim();
  if (clean.length <= 120) return clean || "file";
  const ending = clean.match(/\.\w{1,10}$/)?.[0] ?? "";
  return clean.slice(0, 119 - ending.length) + "…" + ending;
}

/** @param {string[]} names @returns {string} */
export function listText(names) {
  return names.length < 3 ? names.join(" and ") : `${names.slice(0, 2).join(", ")} and ${names.length - 2} more`;
}

/** A long name loses its middle, never its ending. @param {string} name */
function halves(name) {
  const at = Math.max(0, name.length - 8);
  return [h("span", {}, name.slice(0, at)), name.slice(at)];
}

/** What the chat shows of one file. */
class Card {
  #timer = 0;
  #url = "";
  #state = { done: 0, total: /** @type {number | null} */ (null), text: "" };

  /** @param {string} name @param {string} stopText @param {() => void} onstop */
  constructor(name, stopText, onstop) {
    this.title = name;
    this.name = h("span.file-name", { title: name }, ...halves(name));
    this.detail = h("small");
    this.bar = h("progress", { "aria-label": name });
    this.stop = h("button.round.plain", { type: "button", title: stopText, "aria-label": `${stopText}: ${name}`, onclick: onstop }, icon("close"));
    this.row = h("div.file-row", {}, h("span.file-icon", {}, icon("file")), h("span.file-what", {}, this.name, this.detail), this.stop);
    this.element = h("div.file", {}, this.row, this.bar);
  }

  /** Many steps are shown as a few. @param {number} done bytes @param {number | null} total @param {string} text */
  progress(done, total, text) {
    this.#state = { done, total, text };
    this.#timer ||= window.setTimeout(() => {
      this.#timer = 0;
      const now = this.#state;
      if (now.total) { this.bar.max = now.total; this.bar.value = Math.min(now.done, now.total); }
      this.detail.textContent = now.text;
    }, 80);
  }

  /** @param {string} text @param {boolean} [bad] */
  end(text, bad = false) {
    clearTimeout(this.#timer);
    this.#timer = -1;
    this.bar.remove();
    this.stop.remove();
    this.detail.textContent = text;
    this.element.classList.toggle("bad", bad);
  }

  /** @param {Blob} blob @param {string} type as its sender calls it */
  picture(blob, type) {
    if (!PICTURES.test(type) || blob.size > MAX_PICTURE) return;
    const url = URL.createObjectURL(new Blob([blob], { type }));
    const image = h("img", { alt: "", src: url, onload: () => URL.revokeObjectURL(url), onerror: () => { URL.revokeObjectURL(url); image.remove(); } });
    this.element.prepend(image);
  }

  /** Offers it. @param {Blob} blob never of a type that a browser would show as a page of ours */
  offer(blob) {
    this.#url = URL.createObjectURL(blob);
    const link = { href: this.#url, download: this.title };
    this.name.replaceWith((this.name = h("a.file-name", { ...link, title: this.title }, ...halves(this.title))));
    this.row.append(h("a.round.plain", { ...link, role: "button", title: "Save", "aria-label": `Save ${this.title}` }, icon("save")));
  }

  /** It is no longer at hand. @param {string} [text] */
  release(text = "") {
    if (!this.#url) return;
    URL.revokeObjectURL(this.#url);
    this.#url = "";
    for (const link of this.row.querySelectorAll("a")) link.removeAttribute("href");
    this.row.lastElementChild?.remove();
    if (text) this.detail.textContent = text;
  }
}

export class Files {
  /** Those that can be saved, the oldest first. @type {Map<Card, number>} */ #kept = new Map();
  #abort = new AbortController();
  #off;

  /**
   * @param {{peer: import("../client/peer.js").Peer, panel: import("./panel.js").Panel, name: string,
   *   nameOf: (id: string) => string, onchange: () => void}} options
   */
  constructor({ peer, panel, name, nameOf, onchange }) {
    this.peer = peer;
    this.panel = panel;
    this.name = name;
    this.nameOf = nameOf;
    peer.open(LABEL);
    this.#off = [peer.on("channel", onchange), peer.on("data", ({ from, message }) => { if (message.label === LABEL) this.#receive(from, message); })];
    panel.onfiles = (files) => this.send(files);
  }

  /** Whom files reach: a hub forwards none. */
  get #reached() { return this.peer.reached(LABEL).filter((id) => !this.peer.links.get(id)?.hub); }

  /** Why nothing can be sent, else "". */
  get obstacle() {
    if (this.#reached.length) return "";
    if (this.peer.hub) return "Files go straight from one browser to another. Here everything goes through the hub, which does not carry them.";
    return this.peer.peers.size ? "The connection for files is not open yet." : "Nobody is here to send files to.";
  }

  /** Brings the button in line with who is here. */
  update() {
    const behind = [...this.peer.peers.values()].some((p) => p.via);
    const some = behind ? `, only to ${listText(this.#reached.map(this.nameOf))}: others are behind the hub` : "";
    this.panel.attachable(this.obstacle, `Send files of up to ${sizeText(MAX_FILE)}${some}`);
  }

  /** @param {File[]} files */
  send(files) {
    const obstacle = this.obstacle;
    if (obstacle) return toast(obstacle);
    if (files.length > MAX_AT_ONCE) toast(`Only the first ${MAX_AT_ONCE} of ${files.length} files are sent.`);
    for (const file of files.slice(0, MAX_AT_ONCE)) {
      if (file.size > MAX_FILE) toast(`${cleanName(file.name)} has ${sizeText(file.size)}. Files of up to ${sizeText(MAX_FILE)} can be sent.`, 8000);
      else this.#send(file);
    }
  }

  /** @param {File} file */
  async #send(file) {
    const to = this.#reached;
    const stop = new AbortController();
    const card = new Card(cleanName(file.name), "Stop sending", () => stop.abort());
    this.panel.addFile({ from: this.peer.id ?? "", name: this.name, time: Date.now(), own: true }, card.element);
    card.picture(file, file.type);
    card.progress(0, file.size * to.length, `${sizeText(file.size)}, waiting`);
    /** @type {Map<string, number>} */
    const sent = new Map();
    const results = await this.peer.send(LABEL, file, {
      to, info: { name: file.name, type: file.type, size: file.size }, signal: AbortSignal.any?.([stop.signal, this.#abort.signal]) ?? stop.signal,
      onprogress: (id, n) => {
        sent.set(id, n);
        const all = [...sent.values()].reduce((a, b) => a + b);
        card.progress(all, file.size * to.length, `${sizeText(all / to.length)} of ${sizeText(file.size)}`);
      },
    });
    const good = results.filter((r) => !r.error).map((r) => this.nameOf(r.id));
    const bad = results.filter((r) => r.error);
    const text = [good.length && `sent to ${listText(good)}`, ...(stop.signal.aborted ? [good.length ? "then stopped" : "stopped"] : bad.map((r) => `${this.nameOf(r.id)} ${reason(r.error)}`).slice(0, 3))];
    card.end(`${sizeText(file.size)}, ${text.filter(Boolean).join("; ")}`, bad.length > 0 && !stop.signal.aborted);
  }

  /** @param {string} from @param {import("../client/message.js").Message} message */
  async #receive(from, message) {
    const info = message.info ?? {};
    const total = Number.isFinite(info.size) && info.size >= 0 ? info.size : null;
    const type = typeof info.type === "string" ? info.type : "";
    const card = new Card(cleanName(info.name), "Refuse", () => message.cancel());
    const sender = this.nameOf(from);
    this.panel.addFile({ from, name: sender, time: Date.now() }, card.element, () => { message.cancel(); this.#release(card); });
    if (this.panel.shown !== "chat") toast(`${sender} sends ${card.title}`);
    const show = () => card.progress(message.received, total, total === null ? sizeText(message.received) : `${sizeText(message.received)} of ${sizeText(total)}`);
    message.onprogress = show;
    show();
    if (total !== null && total > MAX_FILE) message.cancel();
    try {
      // As plain bytes: a page or a drawing among them must never open as one of ours.
      const blob = await message.blob({ type: "application/octet-stream", max: MAX_FILE });
      card.end(sizeText(blob.size));
      card.picture(blob, type);
      this.#keep(card, blob);
    } catch (error) {
      const tooLarge = (total ?? message.received) > MAX_FILE;
      card.end(tooLarge ? `refused: more than ${sizeText(MAX_FILE)}` : received(error), true);
    }
  }

  /** @param {Card} card @param {Blob} blob */
  #keep(card, blob) {
    if (this.#abort.signal.aborted || !card.element.isConnected) return;
    this.#kept.set(card, blob.size);
    card.offer(blob);
    let all = [...this.#kept.values()].reduce((a, b) => a + b);
    for (const [old, size] of this.#kept) {
      if (all <= MAX_KEPT || old === card) break;
      this.#release(old, `${sizeText(size)}, no longer here`);
      all -= size;
    }
  }

  /** @param {Card} card @param {string} [text] */
  #release(card, text) {
    card.release(text);
    this.#kept.delete(card);
  }

  close() {
    this.#abort.abort();
    for (const off of this.#off) off();
    this.peer.close(LABEL);
    for (const card of [...this.#kept.keys()]) this.#release(card);
  }
}

/** @param {any} error @returns {string} what to say of one who did not get it */
function reason(error) {
  if (error?.code === "aborted") return "refused it";
  if (error?.code === "closed") return "is gone";
  if (error?.code === "timeout" || error?.code === "stalled") return "did not answer";
  return "did not get it, it cannot be read";
}

/** @param {any} error @returns {string} what to say of one that did not come whole */
function received(error) {
  if (error?.code === "aborted") return /here/.test(error.message) ? "refused" : "stopped by the sender";
  return error?.code === "closed" ? "broken off: the connection is gone" : "broken off";
}

/**
 * Takes files that are dropped anywhere on an element, so that none opens in place of the page.
 * @param {HTMLElement} element @param {() => string} obstacle @param {(files: File[]) => void} onfiles
 */
export function dropZone(element, obstacle, onfiles) {
  const text = h("p");
  const veil = h("div.drop", { hidden: true }, icon("file"), text);
  element.append(veil);
  const carries = (/** @type {DragEvent} */ e) => !!e.dataTransfer?.types.includes("Files");
  element.addEventListener("dragover", (e) => {
    if (!carries(e)) return;
    e.preventDefault();
    text.textContent = obstacle() || "Drop files to send them to everyone here";
    veil.hidden = false;
  });
  element.addEventListener("dragleave", (e) => {
    if (!element.contains(/** @type {Node | null} */ (e.relatedTarget))) veil.hidden = true;
  });
  element.addEventListener("drop", (e) => {
    veil.hidden = true;
    if (!carries(e)) return;
    e.preventDefault();
    const files = [...(e.dataTransfer?.files ?? [])];
    if (files.length) onfiles(files);
  });
}
