// Where tiles go. Pure arithmetic on boxes in CSS pixels, tested without a browser.

/** @typedef {{x: number, y: number, w: number, h: number}} Box */

const GAP = 8;
const WIDEST = 16 / 9;
const LEAST = 96; // px of height below which a tile says nothing; then the grid scrolls

/**
 * @param {number} n @param {Box} area @param {number} [gap]
 * @returns {{boxes: Box[], height: number}} height: what they need, perhaps more than the area has
 */
export function grid(n, area, gap = GAP) {
  if (n === 0) return { boxes: [], height: 0 };
  const narrowest = area.h > area.w ? 1 : 4 / 3;
  let best = { w: 0, h: 0, columns: 1 };
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    let w = (area.w - gap * (columns - 1)) / columns;
    let h = (area.h - gap * (rows - 1)) / rows;
    w = Math.min(w, h * WIDEST);
    h = Math.min(h, w / narrowest);
    if (w * h > best.w * best.h + 1) best = { w, h, columns };
  }
  if (best.h < LEAST) {
    const columns = Math.max(1, Math.floor((area.w + gap) / (160 + gap)));
    const w = (area.w - gap * (columns - 1)) / columns;
    best = { w, h: Math.max(LEAST, w / WIDEST), columns };
  }
  const { w, h, columns } = best;
  const rows = Math.ceil(n / columns);
  const height = rows * h + gap * (rows - 1);
  const top = area.y + Math.max(0, (area.h - height) / 2);
  const boxes = [];
  for (let i = 0; i < n; i++) {
    const row = Math.floor(i / columns);
    const inRow = row === rows - 1 ? n - row * columns : columns; // the last row stands in the middle
    const left = area.x + (area.w - (inRow * w + gap * (inRow - 1))) / 2;
    boxes.push({ x: left + (i % columns) * (w + gap), y: top + row * (h + gap), w, h });
  }
  return { boxes, height };
}

/**
 * One large tile and the others in a strip beside or below it.
 * @param {number} n with the large one, which is the first box @param {Box} area
 * @returns {{boxes: Box[], height: number}}
 */
export function spotlight(n, area) {
  if (n <= 1) return grid(n, area);
  const others = n - 1;
  if (area.w > area.h) {
    const strip = Math.min(area.w * 0.3, others > 6 ? 340 : 216);
    const w = area.w - strip - GAP;
    const beside = grid(others, { x: area.x + w + GAP, y: area.y, w: strip, h: area.h });
    return { boxes: [{ ...area, w }, ...beside.boxes], height: Math.max(area.h, beside.height) };
  }
  const strip = Math.min(area.h * 0.35, others > 3 ? 220 : 120);
  const h = area.h - strip - GAP;
  const below = grid(others, { x: area.x, y: area.y + h + GAP, w: area.w, h: strip });
  return { boxes: [{ ...area, h }, ...below.boxes], height: Math.max(area.h, h + GAP + below.height) };
}
