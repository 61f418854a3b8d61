// What opens over a call: the invitation, the devices, the keys.

import { h, icon, stored, toast } from "./dom.js";
import { devices } from "./media.js";
import { fill } from "./lobby.js";

/** @param {string} title @param {...any} content */
function dialog(title, ...content) {
  document.querySelector("dialog[open]")?.remove();
  /** @type {HTMLDialogElement} */
  const box = h("dialog", { "aria-label": title, onclose: () => box.remove(), onclick: (/** @type {Event} */ e) => { if (e.target === box) box.close(); } },
    h("div.dialog", {}, h("header", {}, h("h2", {}, title),
      h("button.round.plain", { "aria-label": "Close", title: "Close (Esc)", onclick: () => box.close() }, icon("close"))), ...content));
  document.body.append(box);
  box.showModal();
  return box;
}

/** @param {string} link */
export function invite(link) {
  const field = h("input", { readonly: true, value: link, "aria-label": "Link to this room", onfocus: () => field.select() });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link);
      toast("Link copied.");
    } catch {
      field.select();
      toast("Press Ctrl+C to copy the link.");
    }
  };
  const code = h("img.qr", { alt: "QR code of the link", onerror: () => code.remove(), onload: () => URL.revokeObjectURL(code.src) });
  // Not in a query: the link may have a token, and queries stay in logs.
  fetch("/api/v1/qr", { method: "POST", body: link }).then(async (r) => {
    if (!r.ok) throw new Error("too long");
    code.src = URL.createObjectURL(await r.blob());
  }).catch(() => code.remove());
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const box = dialog("Invite", h("p", {}, "Whoever opens this link comes to this room."),
    h("div.copy", {}, field, h("button.primary", { autofocus: true, onclick: copy }, icon("copy"), "Copy")), code,
    local && h("p.hint", {}, "This address works only on this machine."));
  if ("share" in navigator && matchMedia("(pointer: coarse)").matches) {
    box.firstElementChild?.append(h("button.wide", { onclick: () => navigator.share({ title: "Weft", url: link }).catch(() => {}) }, "Share…"));
  }
}

/** @param {import("./call.js").Call} call */
export async function settings(call) {
  const camera = h("select", { onchange: () => call.choose("video", camera.value) });
  const mic = h("select", { onchange: () => call.choose("audio", mic.value) });
  const speaker = h("select", { onchange: () => { stored.set("speaker", speaker.value); call.sound.route(speaker.value); } });
  const field = (/** @type {string} */ text, /** @type {any} */ select) => h("label.field", {}, h("span", {}, text), select);
  const speakers = field("Speaker", speaker);
  dialog("Devices", field("Camera", camera), field("Microphone", mic), speakers,
    h("button.wide.shortcuts", { onclick: shortcuts }, "Keyboard shortcuts"));
  const found = await devices();
  fill(camera, found.videoinput, call.media.video, "Camera");
  fill(mic, found.audioinput, call.media.audio, "Microphone");
  fill(speaker, found.audiooutput, null, "Speaker");
  if (call.sound.sink) speaker.value = call.sound.sink;
  speakers.hidden = found.audiooutput.length === 0 || !("setSinkId" in HTMLMediaElement.prototype);
}

export function shortcuts() {
  const keys = [["M", "Microphone"], ["V", "Camera"], ["S", "Share screen"], ["C", "Chat"], ["P", "People"], ["I", "Invite"], ["T", "Statistics"], ["F", "Full screen"], ["Esc", "Close, back to the grid"]];
  dialog("Keyboard", h("dl.keys", {}, ...keys.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));
}
