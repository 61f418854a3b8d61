// Opens the page named by the first argument in Chromium, until standard input
// ends. The second argument is a node_modules folder with playwright-core.
import { createRequire } from "node:module";
import path from "node:path";
const [url, tools] = process.argv.slice(2);
const { chromium } = createRequire(path.join(path.resolve(tools), "x.js"))("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
  ],
});
const page = await browser.newPage();
page.on("console", m => console.log("[page]", m.text()));
page.on("pageerror", e => console.log("[page]", e.message));
await page.goto(url);
process.stdin.resume();
process.stdin.on("end", async () => { await browser.close(); process.exit(0); });
