// The page's beginning: which view, which room, which signaling server.

import { collect } from "../client/stats.js";
import { Call } from "./call.js";
import { h, mark, toast } from "./dom.js";
import { insecure, landing, prejoin, remember, roomProblem } from "./lobby.js";

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const query = new URLSearchParams(location.search);

/** What the query may ask for as the camera's codec; without it the browser chooses. */
const CODECS = ["VP8", "VP9", "H264", "AV1"];

/** For tests and for the curious. @type {{peer: import("../client/peer.js").Peer | null, stats: () => Promise<any>}} */
const weft = { peer: null, stats: async () => (weft.peer ? collect(weft.peer) : []) };
/** @type {any} */ (window).weft = weft;

/** @returns {string | null} */
function roomOfPath() {
  const match = location.pathname.match(/^\/r\/([^/]+)\/?$/);
  if (!match) return null;
  try { return decodeURIComponent(match[1]); } catch { return null; }
}

/** Null: browsers have no way to this server's signaling. @returns {Promise<import("./call.js").Config | null>} */
async function loadConfig() {
  const here = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/nats`;
  const response = await fetch("/config.json").catch(() => null);
  const config = response?.ok ? await response.json().catch(() => null) : null;
  if (config?.signaling === null) return null;
  const options = config?.signaling?.options ?? {};
  const servers = [options.servers ?? here].flat().filter((s) => typeof s === "string" && /^wss?:/.test(s));
  return {
    signaling: { driver: "nats", options: { ...options, servers: servers.length ? servers : [here] } },
    iceServers: Array.isArray(config?.iceServers) ? config.iceServers : [],
  };
}

/** @param {Node} view */
function show(view) { app.replaceChildren(view); }

/** @param {string} room @param {string | null} join */
function lobby(room, join) {
  document.title = `${room} · Weft`;
  show(prejoin(room, { name: query.get("name") ?? "", join }, ({ name, media }) => enter(room, name, media)));
}

/** @param {string} room @param {string} name @param {import("./media.js").LocalMedia} media */
async function enter(room, name, media) {
  const config = await loadConfig();
  if (!config) { unreachable(); return; }
  const codec = CODECS.find((c) => c === query.get("codec")?.toUpperCase());
  const call = new Call({ room, name, media, config, codec, onleave: () => { weft.peer = null; left(room); } });
  weft.peer = call.peer;
  remember(room);
  show(call.element);
  try {
    await call.start();
  } catch (error) {
    console.error(error);
    call.leave();
    toast(`Could not join: ${/** @type {any} */ (error)?.message ?? error}`, 10000);
  }
}

function unreachable() {
  document.title = "Weft";
  show(h("div.landing", {}, h("div.cloth", { "aria-hidden": "true" }), h("main", {},
    h("h1", {}, mark(), "Weft"),
    h("p.lead", {}, "This server has no signaling for browsers: it uses a broker that pages cannot reach."))));
}

/** @param {string} room */
function left(room) {
  document.title = "Weft";
  show(h("div.landing", {}, h("div.cloth", { "aria-hidden": "true" }), h("main", {},
    h("h1", {}, mark(), "Weft"),
    h("p.lead", {}, "You left ", h("b", {}, room), "."),
    h("button.primary.wide", { onclick: () => lobby(room, null) }, "Back to the room"),
    h("a.button.wide", { href: "/" }, "Other rooms"))));
}

const room = roomOfPath();
if (room === null) show(landing());
else if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) show(insecure(room));
else if (roomProblem(room)) { show(landing()); toast(roomProblem(room)); }
else if (!await loadConfig()) unreachable();
else lobby(room, query.get("join"));
