import test from "node:test";
import assert from "node:assert/strict";
import { Link, labelIn } from "../client/link.js";
import { Peer } from "../client/peer.js";

// What a link needs of a browser's connection; each call takes a turn of the event loop.
class Connection {
  signalingState = "stable";
  iceConnectionState = "new";
  connectionState = "new";
  localDescription = null;
  remoteDescription = null;
  added = [];
  control = { readyState: "connecting", bufferedAmount: 0, send() {}, close() {} };
  createDataChannel() { return this.control; }
  async setLocalDescription() {
    await turn();
    this.localDescription = this.signalingState === "stable" ? offer("mine") : answer("mine");
    this.signalingState = this.localDescription.type === "offer" ? "have-local-offer" : "stable";
  }
  async setRemoteDescription(description) {
    await turn();
    this.remoteDescription = description;
    this.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
  }
  async addIceCandidate(candidate) { this.added.push(candidate.usernameFragment); }
  close() { this.signalingState = "closed"; }
}
globalThis.RTCPeerConnection = Connection;

const turn = () => new Promise((resolve) => setImmediate(resolve));
const turns = async () => { for (let i = 0; i < 10; i++) await turn(); };
const offer = (ufrag) => ({ type: "offer", sdp: `v=0\r\na=ice-ufrag:${ufrag}\r\n` });
const answer = (ufrag) => ({ ...offer(ufrag), type: "answer" });
const candidate = (usernameFragment) => ({ candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host", usernameFragment });

function scene(polite) {
  const held = [];
  const gone = [];
  const errors = [];
  const host = {
    signal: async () => {}, publications: () => [], channels: () => [], metadata: () => null, changed() {}, control() {},
    gone: (_, failed) => gone.push(failed), held: ({ pc }) => {
      const fits = (c) => pc.remoteDescription.sdp.includes(`:${c.usernameFragment}\r`);
      const taken = held.filter(fits);
      held.splice(0, held.length, ...held.filter((c) => !fits(c)));
      return taken;
    }, error: (e) => errors.push(e),
  };
  const link = new Link({ id: "them", metadata: null, polite, configuration: {}, timeout: 60_000, host });
  return { link, held, gone, errors, pc: link.pc };
}

for (const apart of [true, false]) test(`candidates of an answer survive the collision before it, apart: ${apart}`, async () => {
  const { link, held, errors, pc } = scene(false);
  pc.onnegotiationneeded();
  await turns();
  link.description(offer("withdrawn"));
  if (apart) await turns();
  link.description(answer("agreed")); // and in the same moment, before it is applied:
  for (const ufrag of ["withdrawn", "agreed"]) if (!link.candidate(candidate(ufrag))) held.push(candidate(ufrag));
  await turns();
  assert.deepEqual(pc.added, ["agreed"]);
  assert.equal(link.candidate(candidate("agreed")), true);
  await turns();
  assert.deepEqual(pc.added, ["agreed", "agreed"]);
  assert.deepEqual(errors, []);
  link.close();
});

test("an offer that the control channel does not take ends the link", async () => {
  const { link, gone, pc } = scene(true);
  pc.control.onopen();
  pc.control.bufferedAmount = 2 << 20;
  pc.onnegotiationneeded();
  await turns();
  assert.deepEqual(gone, [true]);
  assert.equal(link.state, "failed");
});

test("labels from outside are text or nothing", () => {
  const labels = JSON.parse('{"a": "camera", "b": {"x": 1}, "c": 7, "__proto__": "odd"}');
  assert.equal(labelIn(labels, "a"), "camera");
  assert.equal(labelIn({ ...labels }, "b"), "b");
  assert.equal(labelIn({ ...labels }, "c"), "c");
  assert.equal(labelIn({}, "constructor"), "constructor");
  assert.equal(labelIn({ a: "x".repeat(9999) }, "a").length, 256);
});

test("a join that failed can be tried again", async () => {
  const driver = { active: false, subscribe() {}, unsubscribe() {}, publish() {} };
  const signaling = { keys: {} };
  const peer = new Peer({ driver, signaling });
  await assert.rejects(peer.join({ room: "r" }), (error) => !/already/.test(error.message));
  delete signaling.keys;
  assert.equal((await peer.join({ room: "r" })).room, "r");
  peer.leave();
});
