import test from "node:test";
import assert from "node:assert/strict";
import { differences, readRoster, viewOf } from "../client/roster.js";

const link = (id, { hub = false, labels = {}, roster = null, state = "connected", since = 0, metadata = { name: id } } = {}) => ({
  id, hub, state, since, metadata, roster,
  streams: new Map(Object.keys(labels).map((s) => [s, { streamOf: id, id: s, tracks: [], getTracks() { return this.tracks; } }])),
  label: (s) => labels[s] ?? s,
});
const shape = (view) => Object.fromEntries([...view].map(([id, p]) => [id, { via: p.via, streams: [...p.streams.keys()] }]));

test("a mesh is who is connected", () => {
  const view = viewOf([link("a", { labels: { s1: "camera" } }), link("b", { state: "connecting" })], "me");
  assert.deepEqual(shape(view), { a: { via: null, streams: ["camera"] } });
});

test("peers behind a hub show by their own ids", () => {
  const roster = readRoster({ peers: [
    { id: "a", metadata: { name: "Ada" }, streams: [{ label: "camera", id: "s1", tracks: [{ kind: "video", codec: "VP8" }] }] },
    { id: "watcher", metadata: null, streams: [] },
    { id: "me", metadata: {}, streams: [] },
  ] });
  const hub = link("hub", { hub: true, roster, labels: { s1: "a/camera", s2: "me/camera", s3: "x/y/z", s4: "early/screen", s5: "clock" } });
  const view = viewOf([hub], "me");
  assert.deepEqual(shape(view), {
    a: { via: "hub", streams: ["camera"] },
    watcher: { via: "hub", streams: [] },
    early: { via: "hub", streams: ["screen"] },
    hub: { via: null, streams: ["clock"] },
  });
  assert.equal(view.get("a").metadata.name, "Ada");
  assert.equal(view.get("a").streams.get("camera").tracks[0].codec, "VP8");
  assert.equal(view.get("hub").hub, true);
});

test("a track that cannot be decoded here is named, with no stream", () => {
  const roster = readRoster({ peers: [{ id: "a", streams: [{ label: "camera", tracks: [{ kind: "video", codec: "H264", muted: "codec" }] }] }] });
  const { stream, tracks } = viewOf([link("hub", { hub: true, roster })], "me").get("a").streams.get("camera");
  assert.equal(stream, null);
  assert.deepEqual(tracks, [{ kind: "video", codec: "H264", muted: "codec" }]);
});

test("a direct stream wins over the hub's copy, the newer hub over the older", () => {
  const labels = { s1: "a/camera" };
  const view = viewOf([link("old", { hub: true, labels, since: 1 }), link("new", { hub: true, labels, since: 2 })], "me");
  assert.equal(view.get("a").streams.get("camera").stream.streamOf, "new");
  const mixed = viewOf([link("hub", { hub: true, labels }), link("a", { labels: { d: "camera" } })], "me");
  assert.equal(mixed.get("a").streams.get("camera").stream.streamOf, "a");
});

test("rosters from outside may be anything", () => {
  for (const junk of [null, 1, "x", [], {}, { peers: 1 }, { peers: [null, 1, {}, { id: "a/b" }, { id: "" }] }]) {
    assert.deepEqual(readRoster(junk), []);
  }
  const [p] = readRoster({ peers: [{ id: "a", metadata: [1], streams: [null, { label: 5, tracks: [null, { kind: 1 }] }] }] });
  assert.deepEqual(p, { id: "a", metadata: null, streams: [{ label: "", id: "", tracks: [{ kind: "" }] }] });
});

test("differences are events", () => {
  const names = (d) => d.map((e) => `${e.event} ${e.action} ${e.peer.id}${e.stream ? ` ${e.stream.label}` : ""}`);
  const one = viewOf([link("a", { labels: { s: "camera" } })], "me");
  assert.deepEqual(names(differences(new Map(), one)), ["peer add a", "stream add a camera"]);
  assert.deepEqual(names(differences(one, new Map())), ["stream remove a camera", "peer remove a"]);
  assert.deepEqual(differences(one, one), []);
  const two = link("a", { labels: { s: "camera" } });
  const before = viewOf([two], "me");
  two.streams.get("s").tracks.push({ id: "t", readyState: "live", muted: false }); // a camera turned on later
  assert.deepEqual(names(differences(before, viewOf([two], "me"))), ["stream change a camera"]);
});
