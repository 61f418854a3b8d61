// The drawer beside the stage: chat, and who is here.

import { h, hueOf, icon, initials } from "./dom.js";

const MAX_MESSAGES = 500;
const MAX_TEXT = 4000; // characters of a message

export class Panel {
  unread = 0;
  /** @type {"chat" | "people" | null} */ shown = null;
  onchange = () => {};
  /** @type {(text: string) => void} */ onsend = () => {};
  /** @type {(files: File[]) => void} */ onfiles = () => {};
  /** What is to be done when an entry is taken away. @type {WeakMap<Element, () => void>} */ #onremove = new WeakMap();

  #atEnd = true;

  constructor() {
    this.messages = h("ol.messages", { role: "log", "aria-live": "polite", "aria-label": "Messages" });
    this.input = h("textarea", { rows: "1", maxlength: String(MAX_TEXT), placeholder: "Message to everyone", "aria-label": "Message to everyone", enterkeyhint: "send" });
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); this.#send(); }
    });
    this.input.addEventListener("input", () => this.#grow());
    this.input.addEventListener("paste", (/** @type {ClipboardEvent} */ e) => {
      const files = [...(e.clipboardData?.files ?? [])];
      if (!files.length || e.clipboardData?.types.includes("text/plain")) return;
      e.preventDefault();
      this.onfiles(files);
    });
    this.chooser = h("input", { type: "file", multiple: true, hidden: true, onchange: () => {
      this.onfiles([...this.chooser.files]);
      this.chooser.value = "";
    } });
    this.attach = h("button.round.plain.attach", { type: "button", onclick: () => this.chooser.click() }, icon("attach"));
    this.empty = h("p.empty", {}, "Messages go to whoever is in the room now. Nothing is kept.");
    this.chat = h("section.chat", {},
      h("div.scroll", {}, this.empty, this.messages),
      h("form.compose", { onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); this.#send(); } }, this.attach, this.chooser, this.input,
        h("button.round.send", { "aria-label": "Send", title: "Send" }, icon("send"))));
    // Pictures come later than their entry: whoever looks at the end goes on doing so.
    new ResizeObserver(() => { if (this.#atEnd) this.#toEnd(); }).observe(this.messages);
    this.messages.parentElement.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.messages.parentElement;
      this.#atEnd = scrollHeight - scrollTop - clientHeight < 40;
    }, { passive: true });
    this.list = h("ul.people");
    this.people = h("section.list", {}, this.list);
    this.title = h("h2");
    this.element = h("aside.panel", { hidden: true },
      h("header", {}, this.title, h("button.round.plain", { "aria-label": "Close", title: "Close (Esc)", onclick: () => this.show(null) }, icon("close"))),
      this.chat, this.people);
  }

  /** @param {"chat" | "people" | null} what */
  show(what) {
    this.shown = what;
    this.element.hidden = what === null;
    this.chat.hidden = what !== "chat";
    this.people.hidden = what !== "people";
    this.title.textContent = what === "people" ? "People" : "Chat";
    this.element.setAttribute("aria-label", this.title.textContent);
    if (what === "chat") {
      this.unread = 0;
      this.input.focus();
      this.#toEnd();
    }
    this.onchange();
  }

  #send() {
    const text = this.input.value.trim().slice(0, MAX_TEXT);
    if (!text) return;
    this.input.value = "";
    this.#grow();
    this.onsend(text);
  }

  #grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(140, this.input.scrollHeight)}px`;
  }

  #toEnd() {
    const scroll = /** @type {HTMLElement} */ (this.messages.parentElement);
    scroll.scrollTop = scroll.scrollHeight;
    this.#atEnd = true;
  }

  /** @param {string} obstacle why no file can be sent, or "" @param {string} title */
  attachable(obstacle, title) {
    this.attach.disabled = obstacle !== "";
    this.attach.title = obstacle || title;
    this.attach.setAttribute("aria-label", obstacle ? `Send files. ${obstacle}` : title);
  }

  /** @param {{from: string, name: string, text: string, time: number, own?: boolean}} message */
  add({ text, ...head }) { this.#entry(head, h("p", {}, ...linked(text.slice(0, MAX_TEXT)))); }

  /** @param {{from: string, name: string, time: number, own?: boolean}} head @param {HTMLElement} card @param {() => void} [onremove] */
  addFile(head, card, onremove) {
    const item = this.#entry(head, card);
    if (onremove) this.#onremove.set(item, onremove);
  }

  /** @param {{from: string, name: string, time: number, own?: boolean}} head @param {HTMLElement} content */
  #entry({ from, name, time, own = false }, content) {
    this.empty.hidden = true;
    const when = new Date(Number.isFinite(time) ? time : Date.now());
    const follows = this.messages.lastElementChild?.dataset.from === from;
    const item = h(`li${own ? ".own" : ""}${follows ? ".follows" : ""}`, { "data-from": from },
      !follows && h("header", {}, h("b", {}, own ? "You" : name),
        h("time", { datetime: when.toISOString() }, when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))),
      content);
    item.style.setProperty("--hue", String(hueOf(from)));
    this.messages.append(item);
    while (this.messages.childElementCount > MAX_MESSAGES) {
      const first = this.messages.firstElementChild;
      this.#onremove.get(first)?.();
      first.remove();
    }
    if (this.shown === "chat") this.#toEnd();
    else if (!own) { this.unread++; this.onchange(); }
    return item;
  }

  /** @param {{id: string, name: string, own: boolean, detail: string, muted: boolean, camera: boolean}[]} people */
  update(people) {
    this.list.replaceChildren(...people.map((p) => {
      const face = h("span.dot", {}, initials(p.name));
      face.style.setProperty("--hue", String(hueOf(p.id)));
      return h("li", {}, face,
        h("span.who", {}, h("b", {}, p.own ? `${p.name} (you)` : p.name), h("small", {}, p.detail)),
        h("span.signs", {}, icon(p.muted ? "micOff" : "mic"), icon(p.camera ? "camera" : "cameraOff")));
    }));
  }
}

/** Text with its web addresses made into links; every piece is a text node. @param {string} text */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"']+)/).map((piece, i) =>
    (i % 2 ? h("a", { href: piece, target: "_blank", rel: "noopener noreferrer nofollow" }, piece) : piece));
}
