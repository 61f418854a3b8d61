// Numbers of a peer's connections in the few words that the page and the tests need.

/**
 * @typedef {object} TrackStats
 * @property {string} peer the origin @property {string} label @property {"audio" | "video"} kind
 * @property {number} framesDecoded @property {number} packetsReceived @property {number} packetsLost
 * @property {number} bytes @property {number} audioEnergy @property {number} audioLevel @property {string} codec
 * @property {number} width @property {number} height @property {number} fps @property {number} timestamp ms
 * @property {TransportStats | null} transport
 *
 * @typedef {object} TransportStats
 * @property {string} link remote id @property {string} srtpCipher @property {string} dtlsState
 * @property {number} rtt ms @property {string} path such as "host/udp" @property {number} bytesSent @property {number} bytesReceived
 */

/** @param {import("./peer.js").Peer} peer */
export async function collect(peer) {
  /** @type {TrackStats[]} */
  const tracks = [];
  /** @type {Record<string, TransportStats>} */
  const transport = {};
  for (const link of [...peer.links.values()]) {
    const report = await link.pc.getStats().catch(() => null);
    if (!report) continue;
    const all = /** @type {any[]} */ ([...report.values()]);
    transport[link.id] = transportOf(link.id, all, report);
    for (const s of all) {
      if (s.type === "inbound-rtp") tracks.push({ ...inbound(s, report, originOf(peer, link, s)), transport: transport[link.id] });
    }
  }
  return Object.assign(tracks, { transport });
}

/** @param {import("./peer.js").Peer} peer @param {import("./link.js").Link} link @param {any} stats */
function originOf(peer, link, stats) {
  const has = (/** @type {MediaStream | null} */ stream) => stream?.getTracks().some((t) => t.id === stats.trackIdentifier);
  for (const [id, stream] of link.streams) {
    if (!has(stream)) continue;
    const label = link.label(id);
    const slash = link.hub ? label.indexOf("/") : -1;
    return slash < 0 ? { peer: link.id, label } : { peer: label.slice(0, slash), label: label.slice(slash + 1) };
  }
  return { peer: link.id, label: "" };
}

/** @param {any} s @param {RTCStatsReport} report @param {{peer: string, label: string}} origin */
function inbound(s, report, origin) {
  return {
    ...origin,
    kind: s.kind,
    framesDecoded: s.framesDecoded ?? 0,
    packetsReceived: s.packetsReceived ?? 0,
    packetsLost: s.packetsLost ?? 0,
    bytes: s.bytesReceived ?? 0,
    audioEnergy: s.totalAudioEnergy ?? 0,
    audioLevel: s.audioLevel ?? 0,
    codec: report.get(s.codecId)?.mimeType?.split("/")[1] ?? "",
    width: s.frameWidth ?? 0,
    height: s.frameHeight ?? 0,
    fps: s.framesPerSecond ?? 0,
    timestamp: s.timestamp,
  };
}

/** @param {string} link @param {any[]} all @param {RTCStatsReport} report @returns {TransportStats} */
function transportOf(link, all, report) {
  const transport = all.find((s) => s.type === "transport");
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  const local = report.get(pair?.localCandidateId);
  return {
    link,
    srtpCipher: transport?.srtpCipher ?? "",
    dtlsState: transport?.dtlsState ?? "",
    rtt: Math.round((pair?.currentRoundTripTime ?? 0) * 1000),
    path: local ? `${local.candidateType}/${local.protocol}` : "",
    bytesSent: pair?.bytesSent ?? 0,
    bytesReceived: pair?.bytesReceived ?? 0,
  };
}
