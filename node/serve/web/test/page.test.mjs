// House rules of the page that a content security policy and the absence of a build step rest on.
import test from "node:test";
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const root = new URL("../", import.meta.url);
const read = (path) => readFileSync(new URL(path, root), "utf8");
const list = (folder) => readdirSync(new URL(folder, root)).filter((f) => f.endsWith(".js")).map((f) => folder + f);
const scripts = [...list("client/"), ...list("page/")];

test("no inline script or style, nothing from elsewhere", () => {
  const html = read("index.html");
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)/);
  assert.doesNotMatch(html, /\sstyle=|<style|\son\w+=/);
  for (const path of ["index.html", "weft.css", ...scripts]) {
    const outside = read(path).replaceAll("http://www.w3.org/2000/svg", "").match(/(src|href|url\(|import|from)\W{1,4}https?:\/\/[a-z]/);
    assert.equal(outside, null, `${path}: ${outside?.[0]}`);
  }
});

test("text from outside never becomes markup", () => {
  for (const path of scripts) {
    assert.doesNotMatch(read(path), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, path);
    assert.doesNotMatch(read(path), /style:|setAttribute\("style"/, path);
  }
});

test("imports exist", () => {
  for (const path of scripts) {
    for (const [, target] of read(path).matchAll(/^(?:import|export)[^"]*"(\.[^"]+)"/gm)) {
      assert.ok(existsSync(new URL(target, new URL(path, root))), `${path} imports ${target}`);
    }
  }
});

test("the client fits into one sitting", () => {
  const all = list("client/").map(read).join("\n");
  assert.ok(gzipSync(all).length < 30_000, `${gzipSync(all).length} bytes gzipped`);
});
