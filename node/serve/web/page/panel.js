// The drawer beside the stage: chat, and who is here.

import { h, hueOf, icon, initials } from "./dom.js";

const MAX_MESSAGES = 500;
const MAX_TEXT = 4000; // characters of a message

export class Panel {
  unread = 0;
  /** @type {"chat" | "people" | null} */ shown = null;
  onchange = () => {};
  /** @type {(text: string) => void} */ onsend = () => {};

  constructor() {
    this.messages = h("ol.messages", { role: "log", "aria-live": "polite", "aria-label": "Messages" });
    this.input = h("textarea", { rows: "1", maxlength: String(MAX_TEXT), placeholder: "Message to everyone", "aria-label": "Message to everyone", enterkeyhint: "send" });
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); this.#send(); }
    });
    this.input.addEventListener("input", () => this.#grow());
    this.empty = h("p.empty", {}, "Messages go to whoever is in the room now. Nothing is kept.");
    this.chat = h("section.chat", {},
      h("div.scroll", {}, this.empty, this.messages),
      h("form.compose", { onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); this.#send(); } }, this.input,
        h("button.round.send", { "aria-label": "Send", title: "Send" }, icon("send"))));
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
  }

  /** @param {{from: string, name: string, text: string, time: number, own?: boolean}} message */
  add({ from, name, text, time, own = false }) {
    this.empty.hidden = true;
    const when = new Date(Number.isFinite(time) ? time : Date.now());
    const follows = this.messages.lastElementChild?.dataset.from === from;
    const item = h(`li${own ? ".own" : ""}${follows ? ".follows" : ""}`, { "data-from": from },
      !follows && h("header", {}, h("b", {}, own ? "You" : name),
        h("time", { datetime: when.toISOString() }, when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))),
      h("p", {}, ...linked(text.slice(0, MAX_TEXT))));
    item.style.setProperty("--hue", String(hueOf(from)));
    this.messages.append(item);
    while (this.messages.childElementCount > MAX_MESSAGES) this.messages.firstElementChild.remove();
    if (this.shown === "chat") this.#toEnd();
    else if (!own) { this.unread++; this.onchange(); }
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
