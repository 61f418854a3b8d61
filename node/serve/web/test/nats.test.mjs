import test, { mock } from "node:test";
import assert from "node:assert/strict";
import { NatsDriver } from "../client/nats.js";

/** A server end that tests speak through. */
class FakeSocket {
  static all = [];
  sent = "";
  closed = false;
  constructor(url) { this.url = url; FakeSocket.all.push(this); }
  send(bytes) { this.sent += Buffer.from(bytes).toString("latin1"); }
  close() { this.closed = true; }
  say(text) { this.onmessage({ data: Uint8Array.from(Buffer.from(text, "latin1")).buffer }); }
  welcome() { this.say('INFO {"max_payload":1048576}\r\n'); this.say("PONG\r\n"); }
  static get last() { return FakeSocket.all.at(-1); }
}

function driver(t, servers = ["ws://one"]) {
  FakeSocket.all = [];
  mock.timers.enable({ apis: ["setTimeout"] });
  const d = new NatsDriver({ servers, prefix: "px.", WebSocket: FakeSocket });
  const states = [];
  d.onactive = (a) => states.push(a);
  t.after(() => { d.close(); mock.timers.reset(); });
  return { d, states };
}

test("subscribes, publishes, receives in pieces", (t) => {
  const { d, states } = driver(t);
  const got = [];
  d.subscribe("room", (packet) => got.push(Buffer.from(packet).toString("latin1")));
  d.publish("room", new Uint8Array([1])); // not connected: dropped
  FakeSocket.last.welcome();
  assert.deepEqual(states, [true]);
  assert.match(FakeSocket.last.sent, /^CONNECT \{.*"echo":false.*\}\r\nSUB px\.room 1\r\nPING\r\n$/);
  FakeSocket.last.sent = "";
  d.publish("room", new Uint8Array([104, 105]));
  assert.equal(FakeSocket.last.sent, "PUB px.room 2\r\nhi\r\n");
  const stream = "MSG px.room 1 7\r\na\r\nMSG \r\nPING\r\nMSG px.room 1 0\r\n\r\nMSG px.room 9 1\r\nx\r\n";
  for (const c of stream) FakeSocket.last.say(c);
  assert.deepEqual(got, ["a\r\nMSG ", ""]);
  assert.match(FakeSocket.last.sent, /PONG\r\n$/);
  d.unsubscribe("room");
  assert.match(FakeSocket.last.sent, /UNSUB 1\r\n$/);
});

test("what is subscribed between the greeting and its answer is not forgotten", (t) => {
  const { d } = driver(t);
  d.subscribe("early", () => {});
  FakeSocket.last.say('INFO {"max_payload":1048576}\r\n');
  d.subscribe("between", () => {});
  d.unsubscribe("early");
  FakeSocket.last.say("PONG\r\n");
  assert.match(FakeSocket.last.sent, /SUB px\.early 1\r\nPING\r\nSUB px\.between 2\r\nUNSUB 1\r\n$/);
});

test("comes back for ever, within 2 s, with its subscriptions, at the next server", (t) => {
  const { d, states } = driver(t, ["ws://one", "ws://two"]);
  d.subscribe("a", () => {});
  FakeSocket.last.welcome();
  for (let i = 0; i < 20; i++) {
    FakeSocket.last.onclose();
    mock.timers.tick(2000);
    assert.equal(FakeSocket.all.length, i + 2, `attempt ${i}`);
  }
  assert.deepEqual(new Set(FakeSocket.all.map((s) => s.url)), new Set(["ws://one", "ws://two"]));
  FakeSocket.last.welcome();
  assert.deepEqual(states, [true, false, true]);
  assert.match(FakeSocket.last.sent, /SUB px\.a 1\r\n/);
});

test("first retry after no more than 250 ms", (t) => {
  driver(t);
  FakeSocket.last.onclose();
  mock.timers.tick(250);
  assert.equal(FakeSocket.all.length, 2);
});

test("a server that answers no ping is lost", (t) => {
  const { states } = driver(t);
  FakeSocket.last.welcome();
  mock.timers.tick(5000);
  FakeSocket.last.say("PONG\r\n");
  mock.timers.tick(5000);
  assert.deepEqual(states, [true]);
  mock.timers.tick(5000);
  assert.deepEqual(states, [true, false]);
});

test("a server that never greets is given up", (t) => {
  driver(t);
  mock.timers.tick(5000);
  mock.timers.tick(250);
  assert.equal(FakeSocket.all.length, 2);
  assert.ok(FakeSocket.all[0].closed);
});

test("an overlong or senseless message ends the connection, not the page", (t) => {
  const { d } = driver(t);
  const errors = [];
  d.onerror = (e) => errors.push(e);
  FakeSocket.last.welcome();
  FakeSocket.last.say("MSG px.room 1 nonsense\r\n");
  assert.equal(errors.length, 1);
  assert.equal(d.active, false);
  mock.timers.tick(250);
  FakeSocket.last.welcome();
  FakeSocket.last.say("x".repeat((4 << 20) + 1));
  assert.equal(errors.length, 2);
});

test("closed means closed", (t) => {
  const { d } = driver(t);
  d.close();
  mock.timers.tick(60000);
  assert.equal(FakeSocket.all.length, 1);
});
