import test from "node:test";
import assert from "node:assert/strict";
import { Codec, Type } from "../client/codec.js";
import { ChannelTable, channelInit } from "../client/channels.js";
import { Peer } from "../client/peer.js";
import { Event, packControl, polite, unpackControl } from "../client/wire.js";
import { End, pipe, turns, until } from "./pipe.mjs";

/** A table over a connection that makes ends; what it makes comes to be at `other`, as in a browser. */
function table(polite) {
  const seen = { asked: [], events: [], messages: [], errors: [], made: [] };
  const pc = {
    ondatachannel: null, other: null,
    createDataChannel(label, init) {
      const [mine, theirs] = pipe(label, { ordered: init.ordered, protocol: init.protocol ?? "" });
      seen.made.push({ label, ...init });
      setImmediate(() => { mine.open(); theirs.open(); });
      if (!init.negotiated) setImmediate(() => pc.other?.ondatachannel?.({ channel: theirs }));
      return mine;
    },
  };
  const t = new ChannelTable(pc, {
    polite, ask: (o) => seen.asked.push(o), changed: (action, c) => seen.events.push(`${action} ${c.label}`),
    message: (m) => seen.messages.push(m), error: (e) => seen.errors.push(e),
  });
  return Object.assign(t, { seen, pc });
}

/** Both sides, the asking wired. */
function sides() {
  const [impolite, polite] = [table(false), table(true)];
  impolite.pc.other = polite.pc;
  polite.pc.other = impolite.pc;
  return { impolite, polite };
}

for (const who of ["impolite", "polite", "both"]) test(`one channel comes to be, opened by: ${who}`, async () => {
  const { impolite, polite } = sides();
  if (who !== "impolite") polite.open({ label: "files" }); // too early: it is a wish for the start
  impolite.start(who === "polite" ? [] : [{ label: "files" }]);
  polite.start(who === "impolite" ? [] : [{ label: "files" }]);
  for (const options of polite.seen.asked) impolite.asked(options);
  await turns();
  assert.deepEqual(polite.seen.asked, who === "impolite" ? [] : [{ ordered: true, label: "files" }]);
  assert.deepEqual(impolite.seen.made, [{ label: "files", ordered: true }]);
  assert.deepEqual(polite.seen.made, []);
  for (const side of [impolite, polite]) assert.deepEqual(side.seen.events, ["new files", "open files"]);
  await polite.get("files").send("hello");
  assert.equal(await impolite.seen.messages[0].text(), "hello");
  impolite.get("files").close();
  await turns();
  for (const side of [impolite, polite]) {
    assert.deepEqual(side.seen.events, ["new files", "open files", "close files"]);
    assert.equal(side.get("files"), undefined);
  }
});

test("a newer channel with the same label replaces the older one", () => {
  const t = table(true);
  const [first, second] = [new End("a"), new End("a")];
  t.pc.ondatachannel({ channel: first });
  t.pc.ondatachannel({ channel: second });
  assert.equal(first.readyState, "closed");
  second.open();
  assert.equal(t.get("a").state, "open");
  assert.deepEqual(t.seen.events, ["new a", "close a", "new a", "open a"]);
});

test("agreed beforehand: made at once, polite or not", () => {
  for (const polite of [true, false]) {
    const t = table(polite);
    t.start([{ label: "moves", id: 5, ordered: false, maxRetransmits: 0 }]);
    assert.deepEqual(t.seen.made, [{ label: "moves", negotiated: true, id: 5, ordered: false, maxRetransmits: 0 }]);
    assert.deepEqual(t.seen.asked, []);
  }
});

test("wishes from outside", async () => {
  const t = table(false);
  t.asked({ label: "early" }); // before the control channel is there at all
  t.start([]);
  for (const junk of [{ label: 7 }, { label: "x".repeat(257) }, 5, "x", { label: "ok", ordered: "no", protocol: 7, maxRetransmits: -1, maxPacketLifeTime: 1e9, id: 3, negotiated: true }]) t.asked(junk);
  t.asked(null);
  assert.deepEqual(t.seen.made, [{ label: "default", ordered: true }, { label: "ok", ordered: true }]);
  for (let i = 0; i < 300; i++) t.asked({ label: `n${i}` });
  assert.equal(t.seen.made.length, 256);
  const late = new End("late");
  t.pc.ondatachannel({ channel: late });
  assert.equal(late.readyState, "closed");
  const polite = table(true);
  polite.start([]);
  polite.asked({ label: "x" });
  assert.deepEqual([polite.seen.made, polite.seen.asked], [[], []]);
  assert.deepEqual(channelInit({ maxPacketLifeTime: 10, maxRetransmits: 2 }), { ordered: true, maxPacketLifeTime: 10 }); // both at once is an error
  t.close();
  assert.equal(t.seen.events.filter((e) => e.startsWith("close")).length, 256);
  t.open({ label: "after" });
  assert.equal(t.seen.made.length, 256);
});

// The same through a peer and its links.

class Connection {
  static all = [];
  iceConnectionState = "connected";
  connectionState = "connected";
  signalingState = "stable";
  made = [];
  constructor() { Connection.all.push(this); }
  createDataChannel(label, init) {
    const end = new End(label, init);
    if (init.negotiated && init.id === 0) this.control = end;
    else this.made.push(end);
    return end;
  }
  async setRemoteDescription() {}
  async setLocalDescription() {}
  close() {}
}

/** A peer in a room with some others, that are all connected. */
async function joined(t, ids) {
  globalThis.RTCPeerConnection = Connection;
  Connection.all = [];
  const driver = { active: false, subscribe() {}, unsubscribe() {}, publish() {} };
  const packets = [];
  driver.subscribe = (_, receive) => packets.push(receive);
  const peer = new Peer({ driver, signaling: { encryption: false, hashing: false, compression: false, sender: new Uint8Array(33).fill(77) } });
  const events = [];
  peer.on("channel", (e) => events.push(`${e.action} ${e.label} ${ids.indexOf(e.id)}`));
  await peer.join();
  t.after(() => peer.leave());
  /** Another one comes. @param {boolean} weArePolite */
  const connect = async (weArePolite) => {
    let codec;
    do codec = await Codec.create({ encryption: false, hashing: false, compression: false, sender: crypto.getRandomValues(new Uint8Array(33)) });
    while (polite(peer.id, codec.id) !== weArePolite);
    ids.push(codec.id);
    const before = Connection.all.length;
    packets[1](await codec.encode(Type.INVOKE, peer.id, [{}]));
    await until(() => Connection.all.length > before);
    const pc = Connection.all.at(-1);
    pc.control.open();
    return pc;
  };
  return { peer, events, connect };
}

test("a peer opens on every connection, now and later, sends to all or some, closes", async (t) => {
  const ids = [];
  const { peer, events, connect } = await joined(t, ids);
  const first = await connect(false);
  peer.open("files");
  peer.open({ label: "files" });
  const second = await connect(true); // here we ask
  assert.deepEqual(first.made.map((e) => e.label), ["files"]);
  assert.deepEqual(second.made, []);
  assert.deepEqual(second.control.sent.map((p) => unpackControl(p)).filter((m) => m.event === Event.CHANNEL).map((m) => m.payload), [{ ordered: true, label: "files" }]);
  assert.equal(second.control.sent.findIndex((p) => unpackControl(p).event === Event.CHANNEL), 0, "ahead of the media");
  assert.deepEqual(peer.reached("files"), []);

  const [mine, theirs] = pipe("files");
  second.ondatachannel({ channel: mine });
  first.made[0].open();
  mine.open();
  assert.deepEqual(events, ["new files 0", "new files 1", "open files 0", "open files 1"].sort((a, b) => events.indexOf(a) - events.indexOf(b)));
  assert.deepEqual(peer.reached("files").sort(), [...ids].sort());

  // One confirms, the other does not: here the connection breaks.
  const progress = [];
  const sent = peer.send("files", new Blob(["hello"]), { info: { name: "a" }, onprogress: (id, n) => progress.push([id, n]) });
  await until(() => progress.length === 2);
  theirs.readyState = "open";
  theirs.send(Uint8Array.from([8, 1, 16, 1, 48, 1]));
  await turns();
  first.control.onclose();
  const results = Object.fromEntries((await sent).map((r) => [r.id, r.error?.code ?? null]));
  assert.deepEqual(results, { [ids[0]]: "closed", [ids[1]]: null });
  assert.deepEqual(progress.map(([, n]) => n), [5, 5]);

  assert.deepEqual((await peer.send("files", "x", { to: "nobody" })).map((r) => r.error.code), ["closed"]);
  await assert.rejects(peer.send("files", new ReadableStream(), { to: ["a", "b"] }), TypeError);
  peer.close("files");
  assert.equal(mine.readyState, "closed");
  assert.deepEqual([...peer.channels.keys()], []);
  const third = await connect(false);
  assert.deepEqual(third.made, []);
});

test("messages are events; without a listener they are confirmed and thrown away", async (t) => {
  const ids = [];
  const { peer, connect } = await joined(t, ids);
  const pc = await connect(true);
  const [mine, theirs] = pipe("files");
  pc.ondatachannel({ channel: mine });
  mine.open();
  theirs.open();
  const hi = Uint8Array.from([8, 1, 24, 0, 32, 1, 48, 1, 66, 2, 104, 105]);
  theirs.send(hi);
  await until(() => mine.sent.length);
  assert.deepEqual(mine.sent.map((p) => [...p]), [[8, 1, 16, 1, 48, 1]]);
  const got = [];
  peer.on("data", (e) => got.push(e));
  theirs.send(hi);
  await until(() => got.length);
  assert.equal(got[0].from, ids[0]);
  assert.equal(await got[0].message.text(), "hi");
});

test("the other side's wish comes over the control channel", async (t) => {
  const { connect } = await joined(t, []);
  const pc = await connect(false);
  pc.control.onmessage({ data: packControl(Event.CHANNEL, { label: "theirs", ordered: false }).buffer });
  assert.deepEqual(pc.made.map((e) => [e.label, e.ordered]), [["theirs", false]]);
});
