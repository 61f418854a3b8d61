// Who is in the room, reached directly or through a hub, seen as one list. Pure functions.

/**
 * @typedef {{kind: string, codec?: string, muted?: string}} RosterTrack
 * @typedef {{label: string, id: string, tracks: RosterTrack[]}} RosterStream
 * @typedef {{id: string, metadata: any, streams: RosterStream[]}} RosterPeer
 *
 * One stream of a remote peer. `stream` is null while nothing arrives, for one because this browser
 * lacks the codec: then `tracks` says which. `arriving` changes with the stream's own tracks and whether they flow.
 * @typedef {{label: string, stream: MediaStream | null, tracks: RosterTrack[], arriving: string}} RemoteStream
 *
 * A remote peer. `via` is the hub that it is behind, or null.
 * @typedef {{id: string, metadata: any, hub: boolean, via: string | null, state: string, streams: Map<string, RemoteStream>}} RemotePeer
 *
 * @typedef {object} LinkView
 * @property {string} id
 * @property {any} metadata
 * @property {boolean} hub
 * @property {string} state
 * @property {number} since
 * @property {RosterPeer[] | null} roster
 * @property {Map<string, MediaStream>} streams
 * @property {(id: string) => string} label
 */

const MAX_PEERS = 1000;
const isID = (/** @type {any} */ id) => typeof id === "string" && /^[0-9A-Za-z]{1,64}$/.test(id);
const isObject = (/** @type {any} */ x) => x !== null && typeof x === "object" && !Array.isArray(x);
const array = (/** @type {any} */ x) => (Array.isArray(x) ? x : []);
const text = (/** @type {any} */ x) => (typeof x === "string" ? x.slice(0, 256) : "");

/** @param {any} payload of the roster event, from outside @returns {RosterPeer[]} what of it makes sense */
export function readRoster(payload) {
  return array(payload?.peers).slice(0, MAX_PEERS).filter((p) => isID(p?.id)).map((p) => ({
    id: p.id,
    metadata: isObject(p.metadata) ? p.metadata : null,
    streams: array(p.streams).slice(0, 32).filter(isObject).map((s) => ({
      label: text(s.label),
      id: text(s.id),
      tracks: array(s.tracks).slice(0, 8).filter(isObject).map((t) => ({
        kind: text(t.kind),
        ...(t.codec && { codec: text(t.codec) }),
        ...(t.muted && { muted: text(t.muted) }),
      })),
    })),
  }));
}

/**
 * @param {Iterable<LinkView>} links @param {string} own id, which a hub may name and nobody needs to see
 * @returns {Map<string, RemotePeer>}
 */
export function viewOf(links, own) {
  /** @type {Map<string, RemotePeer>} */
  const peers = new Map();
  const entry = (/** @type {string} */ id, /** @type {Partial<RemotePeer>} */ init) => {
    let peer = peers.get(id);
    if (!peer) peers.set(id, (peer = { id, metadata: null, hub: false, via: null, state: "connected", streams: new Map(), ...init }));
    return peer;
  };
  const live = [...links].filter((l) => l.state === "connected" || l.state === "disconnected");
  for (const link of live.filter((l) => !l.hub)) {
    const peer = entry(link.id, { metadata: link.metadata, state: link.state });
    for (const [id, stream] of link.streams) add(peer, link.label(id), stream);
  }
  const rank = (/** @type {LinkView} */ l) => (l.state === "connected" ? 0 : 1);
  for (const link of live.filter((l) => l.hub).sort((a, b) => rank(a) - rank(b) || b.since - a.since)) {
    addHub(link, own, entry);
  }
  return peers;
}

/**
 * @param {LinkView} link @param {string} own
 * @param {(id: string, init: Partial<RemotePeer>) => RemotePeer} entry
 */
function addHub(link, own, entry) {
  const init = { via: link.id, state: link.state };
  for (const { id, metadata, streams } of link.roster ?? []) {
    if (id === own) continue;
    const peer = entry(id, { ...init, metadata });
    for (const { label, tracks } of streams) {
      const known = peer.streams.get(label);
      if (known) known.tracks = tracks;
      else if (tracks.some((t) => t.muted)) peer.streams.set(label, { label, stream: null, tracks, arriving: "" });
    }
  }
  for (const [id, stream] of link.streams) {
    const label = link.label(id);
    const [origin, rest, more] = label.split("/");
    if (rest === undefined) add(entry(link.id, { hub: true, metadata: link.metadata, state: link.state }), label, stream);
    else if (more === undefined && isID(origin) && origin !== own) {
      const info = link.roster?.find((p) => p.id === origin)?.streams.find((s) => s.label === rest);
      add(entry(origin, init), rest, stream, info?.tracks);
    }
  }
}

/** @param {RemotePeer} peer @param {string} label @param {MediaStream} stream @param {RosterTrack[]} [tracks] */
function add(peer, label, stream, tracks = []) {
  const known = peer.streams.get(label);
  if (known?.stream) return;
  const arriving = stream.getTracks().map((t) => `${t.id} ${t.readyState} ${t.muted}`).sort().join();
  peer.streams.set(label, { label, stream, tracks: tracks.length ? tracks : known?.tracks ?? [], arriving });
}

/**
 * What changed between two views, as events.
 * @param {Map<string, RemotePeer>} before @param {Map<string, RemotePeer>} after
 * @returns {{event: "peer" | "stream", action: "add" | "remove" | "change", peer: RemotePeer, stream?: RemoteStream}[]}
 */
export function differences(before, after) {
  const out = [];
  for (const [id, peer] of before) {
    const now = after.get(id);
    for (const [label, stream] of peer.streams) {
      if (!now?.streams.has(label)) out.push({ event: /** @type {const} */ ("stream"), action: /** @type {const} */ ("remove"), peer, stream });
    }
    if (!now) out.push({ event: /** @type {const} */ ("peer"), action: /** @type {const} */ ("remove"), peer });
  }
  for (const [id, peer] of after) {
    const old = before.get(id);
    if (!old) out.push({ event: /** @type {const} */ ("peer"), action: /** @type {const} */ ("add"), peer });
    else if (old.state !== peer.state || old.via !== peer.via || old.metadata !== peer.metadata) {
      out.push({ event: /** @type {const} */ ("peer"), action: /** @type {const} */ ("change"), peer });
    }
    for (const [label, stream] of peer.streams) {
      const was = old?.streams.get(label);
      if (!was) out.push({ event: /** @type {const} */ ("stream"), action: /** @type {const} */ ("add"), peer, stream });
      else if (was.stream !== stream.stream || was.arriving !== stream.arriving || JSON.stringify(was.tracks) !== JSON.stringify(stream.tracks)) {
        out.push({ event: /** @type {const} */ ("stream"), action: /** @type {const} */ ("change"), peer, stream });
      }
    }
  }
  return out;
}
