import test from "node:test";
import assert from "node:assert/strict";
import {
  CandidateQueue, Event, WireError, fingerprint, firstUfrag, fromBase62, hashedNamespace, pack, packControl,
  plainNamespace, polite, toBase62, unpack, unpackControl,
} from "../client/wire.js";
import { bytes, hex, vectors } from "./vectors.mjs";

test("base62", () => {
  for (const { bytes: b, text } of vectors.base62.encode) assert.equal(toBase62(bytes(b)), text);
  for (const { text, length, bytes: b } of [...vectors.base62.decode, ...vectors.base62.truncating]) {
    assert.equal(hex(fromBase62(text, length)), b, `${text} to ${length}`);
  }
  for (const { text } of vectors.base62.invalid) assert.throws(() => fromBase62(text), WireError);
});

test("packed fields", () => {
  const schema = { 1: ["u", "uint"], 2: ["b", "bool"], 3: ["y", "bytes"] };
  for (const { value, bytes: b } of vectors.protobuf.encode) {
    const given = value.y === undefined ? value : { ...value, y: bytes(value.y) };
    assert.equal(hex(pack(schema, given)), b);
  }
  for (const { value, bytes: b } of vectors.protobuf.decode) {
    if (value === null) assert.throws(() => unpack(schema, bytes(b)), WireError, b);
    else assert.deepEqual(unpack(schema, bytes(b)), value.y === undefined ? value : { ...value, y: bytes(value.y) }, b);
  }
});

test("polite is the greater id", () => {
  for (const { me, other, mePolite } of vectors.polite) assert.equal(polite(me, other), mePolite, `${me} ${other}`);
});

test("namespaces", async () => {
  for (const { name, namespace } of vectors.namespaces.hashed) assert.equal(await hashedNamespace(name), namespace);
  for (const { name, namespace } of vectors.namespaces.plain) assert.equal(plainNamespace(name), namespace);
});

test("control packets", () => {
  for (const { name, event, json, packet } of vectors.control.packets) {
    assert.deepEqual(unpackControl(bytes(packet)), { event, payload: JSON.parse(json) }, name);
    assert.equal(hex(packControl(event, JSON.parse(json))), packet, name);
  }
  for (const { why, packet, delivered, error } of vectors.control.edgeCases) {
    if (error) assert.throws(() => unpackControl(bytes(packet)), why);
    else assert.equal(unpackControl(bytes(packet)) !== null, delivered, why);
  }
  assert.equal(Event.ROSTER, 3);
});

test("candidates wait by ufrag", () => {
  const queue = new CandidateQueue();
  const c = (usernameFragment, candidate = "c") => ({ candidate, usernameFragment });
  queue.hold("p", c("Ab1+"));
  assert.equal(queue.take("p", "Ab1+").length, 1);
  queue.hold("p", c("other"));
  assert.equal(queue.take("p", "Ab1+").length, 0);
  assert.equal(queue.take("p", "other").length, 1);
  queue.hold("p", { candidate: "c" });
  assert.equal(queue.take("p", "Ab1+").length, 0);
  assert.equal(queue.take("p", undefined).length, 0);
  queue.forget("p");
  for (let i = 0; i < 130; i++) queue.hold("p", c("u", String(i)));
  assert.equal(queue.count("p"), 100);
  assert.equal(queue.take("p", "u")[0].candidate, "30");
  for (let i = 0; i < 300; i++) queue.hold(`stranger${i}`, c("u"));
  assert.equal(queue.count("stranger0"), 0);
  assert.equal(queue.count("stranger299"), 1);
  queue.hold("q", c("u", "x".repeat(2000)));
  queue.hold("q", { ...c("u"), sdpMid: "0", sdpMLineIndex: 0, more: "x".repeat(2000) });
  assert.deepEqual(queue.take("q", "u"), [{ candidate: "c", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "u" }]);
});

test("lines of a description", () => {
  const sdp = "v=0\r\na=ice-ufrag:Ab1+\r\na=fingerprint:sha-256 AA:BB\r\na=ice-ufrag:other\r\n";
  assert.equal(firstUfrag(sdp), "Ab1+");
  assert.equal(fingerprint(sdp), "sha-256 aa:bb");
  assert.equal(firstUfrag(undefined), undefined);
  // A pattern that goes back and forth over the spaces would take hours.
  assert.equal(fingerprint(`v=0\r\na=fingerprint:x${" ".repeat(1 << 20)}y\r\n`), undefined);
});
