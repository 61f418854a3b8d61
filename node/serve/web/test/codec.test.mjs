import test from "node:test";
import assert from "node:assert/strict";
import { Codec, Type, compressKey, deflate, deriveKey, expandKey, inflate } from "../client/codec.js";
import { WireError, pack } from "../client/wire.js";
import { bytes, hex, keyPair, vectors } from "./vectors.mjs";

const { signaling } = vectors;
const announce = signaling.packets.find((p) => p.name === "announce" && p.flags === 0 && p.senderId === vectors.keys.alice.id);

test("keys and ids", async () => {
  for (const [name, key] of Object.entries(vectors.keys)) {
    assert.equal(hex(compressKey(bytes(key.uncompressed))), key.compressed, name);
    assert.equal(hex(expandKey(bytes(key.compressed))), key.uncompressed, name);
    const codec = await Codec.create({ keys: await keyPair(name) });
    assert.equal(codec.id, key.id);
    assert.equal(await codec.namespace(codec.id), key.idHash);
  }
  for (const { key, why } of vectors.invalidPublicKeys) assert.throws(() => expandKey(bytes(key)), WireError, why);
});

test("shared keys", async () => {
  for (const { a, b, aes256 } of vectors.sharedKeys) {
    const own = (await keyPair(a)).privateKey;
    const key = await deriveKey(own, bytes(vectors.keys[b].compressed), true);
    assert.equal(hex(new Uint8Array(await crypto.subtle.exportKey("raw", key))), aes256, `${a} ${b}`);
  }
});

const optionsOf = (p) => ({
  encryption: p.options.signalingEncryption ?? true,
  compression: p.options.signalingCompression ?? true,
  hashing: p.options.signalingHashing ?? true,
});

test("signaling packets are read", async () => {
  for (const p of signaling.packets) {
    const options = optionsOf(p);
    const bob = await Codec.create(options.encryption ? { ...options, keys: await keyPair("bob") } : { ...options, sender: new Uint8Array(33).fill(7) });
    const message = await bob.decode(bytes(p.packet));
    assert.deepEqual(message, { type: p.type, from: p.senderId, items: p.received }, `${p.mode}: ${p.name}`);
  }
});

test("signaling packets are written", async () => {
  for (const p of signaling.packets) {
    const options = optionsOf(p);
    const own = options.encryption ? { keys: await keyPair("alice") } : { sender: bytes(p.sender) };
    const alice = await Codec.create({ ...options, ...own, iv: () => bytes(p.iv) });
    let to = signaling.packets[0].senderId;
    if (options.encryption) {
      const bob = await Codec.create({ keys: await keyPair("bob") });
      to = bob.id;
      await alice.decode(await bob.encode(Type.ANNOUNCE, null)); // to learn bob's key
      assert.ok(alice.knows(to));
    }
    const packet = await alice.encode(p.type, to, p.json === "" ? undefined : JSON.parse(p.json));
    // zlib is the same one in Node and in whatever made the golden data, but need not be.
    if (!(p.flags & 1)) assert.equal(hex(packet), p.packet, `${p.mode}: ${p.name}`);
    else assert.equal(hex(packet.subarray(0, 39)), p.packet.slice(0, 78), `${p.mode}: ${p.name}`);
  }
});

test("odd packets", async () => {
  for (const e of signaling.edgeCases) {
    const plain = e.receiver.startsWith("plain");
    const codec = await Codec.create(plain ? { encryption: false } : { keys: await keyPair("bob") });
    if (e.accepted) {
      const { type, from, items } = await codec.decode(bytes(e.packet));
      assert.deepEqual({ type, id: from, message: items }, e.message, e.why);
    } else if (e.error) {
      await assert.rejects(codec.decode(bytes(e.packet)), e.why);
    } else {
      assert.equal(await codec.decode(bytes(e.packet)), null, e.why); // our own, come back
    }
  }
});

test("own packets, unknown receivers, forgetting", async () => {
  const alice = await Codec.create();
  const bob = await Codec.create();
  assert.equal(await alice.decode(await alice.encode(Type.ANNOUNCE, null)), null);
  await assert.rejects(alice.encode(Type.INVOKE, bob.id, [{}]), /no key/);
  await alice.decode(await bob.encode(Type.ANNOUNCE, null));
  await bob.decode(await alice.encode(Type.INVOKE, bob.id, [{ name: "Alice" }]));
  alice.forget(bob.id);
  await assert.rejects(alice.encode(Type.INVOKE, bob.id, [{}]), /no key/);
});

test("ids in a wanted order", async () => {
  const of = async (order) => (await Promise.all(Array.from({ length: 12 }, () => Codec.create({ order })))).map((c) => c.id).sort();
  const [low, high] = [await of("low"), await of("high")];
  assert.ok(low[6] < high[6]);
});

test("compression", async () => {
  for (const { plain, deflated } of vectors.compression) {
    assert.equal(hex(await inflate(bytes(deflated), 1 << 20)), plain);
    assert.equal(hex(await inflate(await deflate(bytes(plain)), 1 << 20)), plain);
  }
  const bomb = await deflate(new Uint8Array(1 << 21));
  await assert.rejects(inflate(bomb, 1 << 20), /expands beyond/);
  await assert.rejects(inflate(bytes("789cffff"), 100));
});

test("garbage never decodes", async () => {
  const codec = await Codec.create();
  const packet = bytes(announce.packet);
  for (let cut = 0; cut < packet.length; cut++) await assert.rejects(codec.decode(packet.subarray(0, cut)), `cut at ${cut}`);
  for (let i = 0; i < 500; i++) {
    const junk = crypto.getRandomValues(new Uint8Array(1 + (i % 80)));
    await assert.rejects(codec.decode(junk));
  }
});

test("a sender is no longer than a key", async () => {
  const schema = { 1: ["type", "uint"], 3: ["sender", "bytes"], 4: ["payload", "bytes"] };
  for (const encryption of [true, false]) {
    const codec = await Codec.create({ encryption });
    for (const length of [0, 34, 1 << 20]) { // as a number the last one would take minutes
      const packet = pack(schema, { type: Type.ANNOUNCE, sender: new Uint8Array(length).fill(255), payload: new Uint8Array(0) });
      await assert.rejects(codec.decode(packet), WireError, `${length} bytes`);
    }
  }
});
