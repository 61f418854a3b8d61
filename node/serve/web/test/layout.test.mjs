import test from "node:test";
import assert from "node:assert/strict";
import { grid, spotlight } from "../page/layout.js";

const areas = { desktop: { x: 0, y: 0, w: 1264, h: 600 }, phone: { x: 0, y: 0, w: 360, h: 560 }, sideways: { x: 0, y: 0, w: 760, h: 260 } };
const apart = (a, b) => a.x + a.w <= b.x + 1 || b.x + b.w <= a.x + 1 || a.y + a.h <= b.y + 1 || b.y + b.h <= a.y + 1;

for (const [name, area] of Object.entries(areas)) {
  for (const [kind, place] of Object.entries({ grid, spotlight })) {
    test(`${kind} on ${name}: inside, apart, not distorted`, () => {
      for (let n = 1; n <= 24; n++) {
        const { boxes, height } = place(n, area);
        assert.equal(boxes.length, n);
        boxes.forEach((box, i) => {
          assert.ok(box.x >= -1 && box.x + box.w <= area.w + 1, `${n}: ${i} is too wide`);
          assert.ok(box.y >= -1 && box.y + box.h <= Math.max(area.h, height) + 1, `${n}: ${i} is too low`);
          if (kind === "grid") assert.ok(box.w / box.h > 0.95 && box.w / box.h < 1.8, `${n}: ${i} is ${box.w}x${box.h}`);
          for (const other of boxes.slice(i + 1)) assert.ok(apart(box, other), `${n}: ${i} overlaps`);
        });
      }
    });
  }
}

test("a grid uses its area", () => {
  for (const area of [areas.desktop, areas.phone]) {
    for (let n = 1; n <= 12; n++) {
      const used = grid(n, area).boxes.reduce((sum, b) => sum + b.w * b.h, 0) / (area.w * area.h);
      assert.ok(used > 0.5, `${n} of ${area.w}x${area.h} use ${used}`);
    }
  }
});
