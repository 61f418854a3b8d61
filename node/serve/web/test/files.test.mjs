import test from "node:test";
import assert from "node:assert/strict";
import { MAX_FILE, cleanName, listText, sizeText } from "../page/files.js";

test("sizes in words", () => {
  const cases = { 0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0 KB", 9949: "9.9 KB", 9950: "10 KB", 999499: "999 KB", 999500: "1.0 MB", 21e6: "21 MB", 256e6: "256 MB", 1.25e9: "1.3 GB" };
  for (const [n, text] of Object.entries(cases)) assert.equal(sizeText(Number(n)), text);
  assert.equal(sizeText(MAX_FILE), "256 MB");
});

test("names from outside show what they are", () => {
  const cases = [
    ["holiday.png", "holiday.png"], ["../../etc/passwd", "_.._etc_passwd"], ["a\\b:c.txt", "a_b:c.txt"], ["photo\u202egnp.exe", "photo_gnp.exe"],
    ["a\u0000\nb", "a__b"], ["...hidden", "hidden"], ["", "file"], [" . ", "file"], [null, "file"], [{ toString: () => "x" }, "file"], ["Zażółć 🐝.pdf", "Zażółć 🐝.pdf"],
  ];
  for (const [name, clean] of cases) assert.equal(cleanName(name), clean);
  const long = cleanName(`${"x".repeat(5000)}.tar.gz`);
  assert.equal(long.length, 120);
  assert.ok(long.endsWith("….gz"));
});

test("lists of people", () => {
  assert.equal(listText(["Ada"]), "Ada");
  assert.equal(listText(["Ada", "Ben"]), "Ada and Ben");
  assert.equal(listText(["Ada", "Ben", "Cy", "Di"]), "Ada, Ben and 2 more");
});
