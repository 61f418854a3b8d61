// The page's beginning: which view, which room, which signaling server.

import { collect } from "../client/stats.js";
import { Call } from "./call.js";
import { h, mark, toast } from "./dom.js";
import { takeToken } from "./token.js";
import { insecure, landing, prejoin, remember, roomProblem } from "./lobby.js";

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const room = roomOfPath();
const token = room === null ? "" : takeToken(room, window);
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
  const ask = token && room !== null ? { query: `?room=${encodeURIComponent(room)}`, headers: { Authorization: `Bearer ${token}` } } : { query: "" };
  const response = await fetch(`/config.json${ask.query}`, { headers: ask.headers }).catch(() => null);
  const config = response?.ok ? await response.json().catch(() => null) : null;
  if (config?.signaling === null) return null;
  const options = config?.signaling?.options ?? {};
  const servers = [options.servers ?? here].flat().filter((s) => typeof s === "string" && /^wss?:/.test(s));
  return {
    signaling: { driver: "nats", options: { ...options, servers: servers.length ? servers : [here] } },
    iceServers: Array.isArray(config?.iceServers) ? config.iceServers : [],
    guarded: config?.access === "token",
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
  const guard = config.guarded ? { token } : null;
  const onrefused = (/** @type {string} */ why) => { weft.peer = null; denied(room, why); };
  const call = new Call({ room, name, media, config, codec, guard, onrefused, onleave: () => { weft.peer = null; left(room); } });
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

/** @param {string} room @param {string} why */
function denied(room, why) {
  document.title = "Weft";
  show(h("div.landing", {}, h("div.cloth", { "aria-hidden": "true" }), h("main", {},
    h("h1", {}, mark(), "Weft"),
    h("p.lead", {}, "You need an invitation to ", h("b", {}, room), "."),
    h("p.problem", { role: "alert" }, why),
    h("p.hint", {}, "Ask somebody who is there for a link."))));
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

if (room === null) show(landing());
else if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) show(insecure(room));
else if (roomProblem(room)) { show(landing()); toast(roomProblem(room)); }
else await begin(room);

/** @param {string} room */
async function begin(room) {
  const config = await loadConfig();
  if (!config) unreachable();
  else if (config.guarded && !token) denied(room, "");
  else lobby(room, query.get("join"));
}
