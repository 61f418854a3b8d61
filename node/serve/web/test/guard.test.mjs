import test from "node:test";
import assert from "node:assert/strict";
import { Guard, Refused } from "../client/guard.js";
import { takeToken } from "../page/token.js";

/** A server of answers by path, which remembers what it was asked. */
function server(answers) {
  const asked = [];
  const fetch = async (path, { headers, body }) => {
    asked.push({ path, token: headers.Authorization, body: JSON.parse(body) });
    const [status, answer] = answers[path] ?? [404, {}];
    return { ok: status === 200, status, json: async () => answer };
  };
  return { asked, fetch };
}

const path = "/api/v1/rooms/a%2Fb";
const member = { admission: "adm", publish: true, watch: true, hub: false };

test("exchanges the token, and trusts the server's hub", async () => {
  const { asked, fetch } = server({ [path]: [200, { hub: true, id: "hub" }], [`${path}/admission`]: [200, member] });
  const guard = new Guard({ room: "a/b", token: "tok", fetch });
  assert.equal(await guard.verify({ id: "hub", metadata: { hub: true } }), false, "before it is admitted");
  assert.ok(guard.stale);
  assert.equal(await guard.admit("me"), "adm");
  assert.ok(!guard.stale);
  assert.deepEqual(guard.grant, { publish: true, watch: true, hub: false });
  assert.deepEqual(asked.map((a) => [a.path, a.token]), [[path, "Bearer tok"], [`${path}/admission`, "Bearer tok"]]);
  assert.deepEqual(asked[1].body, { peer: "me" });
  assert.equal(await guard.verify({ id: "hub", metadata: { hub: true } }), true);
  assert.equal(await guard.verify({ id: "eve", metadata: { admission: "x" } }), false, "no hub");
  assert.equal(await guard.verify({ id: "eve", metadata: { hub: true } }), false, "no admission");
  assert.equal(asked.length, 2);
  assert.equal(await guard.verify({ id: "eve", metadata: { hub: true, admission: "x" } }), false, "the server does not know it");
  assert.deepEqual(asked[2].body, { peer: "eve", admission: "x" });
});

test("asks the server about others", async () => {
  for (const [theirs, hub, expected] of [
    [{ publish: true, watch: true, hub: false }, false, true],
    [{ publish: true, watch: true, hub: false }, true, false],
    [{ publish: true, watch: true, hub: true }, true, true],
    [{ publish: false, watch: true, hub: false }, false, false],
    [{ publish: true, watch: false, hub: false }, false, false],
    [{}, false, false],
    [null, false, false],
  ]) {
    const { fetch } = server({ [path]: [200, { hub: false }], [`${path}/admission`]: [200, member], [`${path}/verify`]: [200, theirs] });
    const guard = new Guard({ room: "a/b", token: "tok", fetch });
    await guard.admit("me");
    assert.equal(await guard.verify({ id: "bob", metadata: { admission: "x", hub } }), expected, JSON.stringify([theirs, hub]));
  }
});

test("tells a refusal from a failure", async () => {
  for (const [status, kind] of [[401, Refused], [403, Refused], [503, Error], [429, Error]]) {
    const { fetch } = server({ [path]: [status, { detail: "no such luck" }] });
    const error = await new Guard({ room: "a/b", token: "", fetch }).admit("me").catch((e) => e);
    assert.equal(error.constructor, kind);
    assert.equal(error.message, "no such luck");
  }
});

test("the token leaves the address", () => {
  const page = (href) => {
    const map = new Map();
    const p = {
      location: { href }, shown: href,
      history: { state: null, replaceState: (_s, _t, url) => { p.shown = String(url); } },
      sessionStorage: { getItem: (k) => map.get(k) ?? null, setItem: (k, v) => map.set(k, v) },
    };
    return p;
  };
  for (const [href, token, shown] of [
    ["https://x/r/a#token=abc", "abc", "https://x/r/a"],
    ["https://x/r/a?name=A&token=abc", "abc", "https://x/r/a?name=A"],
    ["https://x/r/a?token=old#token=new&y=1", "new", "https://x/r/a#y=1"],
    ["https://x/r/a?name=A#y", "", "https://x/r/a?name=A#y"],
  ]) {
    const p = page(href);
    assert.equal(takeToken("a", p), token, href);
    assert.equal(p.shown, shown);
    p.location.href = p.shown;
    assert.equal(takeToken("a", p), token, "after a reload");
    assert.equal(takeToken("b", p), "", "another room");
  }
});
