// Drives Chromium and Firefox for e2e_test.go: one JSON command a line on standard input,
// one JSON answer a line on standard output. Every command has an id, which the
// answer repeats, with either "value" or "error". Commands run concurrently.
//
//   open {browser, page, url, script}   a page in a context of its own; browser is "media", "plain" or "firefox"
//   flow {page, peers, frames, audio}   wait until so many peers brought so many new frames, and sound
//   absent {page, peer}                 wait until a peer has left the statistics
//   text {page, text}                   wait until the page shows a text
//   wait {page, expression}             wait until it is true
//   eval {page, expression}             its value
//   shot {page, path}                   a picture
//   view {page, width, height}          resize
//   close {page}                        close it, as a user closes a tab
//   quit {}
//
// Waits poll every 100 ms and end by "timeout", in milliseconds.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [tools, executablePath, firefoxPath] = process.argv.slice(2);
const load = createRequire(join(tools, 'package.json'));
const { chromium } = load('playwright-core');

// What any headless Chromium in a container needs, and what keeps it from
// calling home.
const quiet = [
  '--headless', '--no-sandbox', '--disable-quic', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-first-run',
];
const kinds = {
  // A camera and a microphone, allowed without asking, and real addresses.
  media: [
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream=fps=10', // five participants share two cores
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required',
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
    '--disable-backgrounding-occluded-windows', '--disable-dev-shm-usage',
  ],
  // A browser as people have it: nothing about media, nothing about addresses.
  plain: [],
};

// The same for Firefox: a camera and a microphone, allowed without asking, real
// addresses, sound without a click, and nothing that calls home.
const firefoxPrefs = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'media.gmp-manager.url': '',
  'app.update.enabled': false,
  'extensions.update.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
};

const browsers = new Map(); // kind -> promise of a browser
const pages = new Map(); // name -> { page, context, console }
const folders = [];

function launch(kind) {
  if (!browsers.has(kind)) {
    const profile = mkdtempSync(join(tmpdir(), 'weft-browser-'));
    folders.push(profile);
    browsers.set(kind, chromium.launch({
      executablePath,
      ignoreDefaultArgs: true,
      args: [...quiet, ...kinds[kind], `--user-data-dir=${profile}`, '--remote-debugging-pipe', 'about:blank'],
    }));
  }
  return browsers.get(kind);
}

/** Fails after so many milliseconds. */
function within(ms, promise) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`nothing for ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The Firefox of a distribution speaks WebDriver BiDi only: playwright wants a
// build of its own. On a busy machine it may die while it starts, of which
// nobody hears; then it is started again.
async function firefoxPage(viewport) {
  for (let tries = 3; ; tries--) {
    let browser;
    try {
      browser = browsers.get('firefox') ?? await load('puppeteer-core').launch({
        browser: 'firefox', executablePath: firefoxPath, headless: true, extraPrefsFirefox: firefoxPrefs,
      });
      browsers.set('firefox', browser);
      const context = await within(30_000, browser.createBrowserContext());
      const page = await within(30_000, context.newPage());
      await within(30_000, page.setViewport(viewport));
      page.addInitScript = (code) => page.evaluateOnNewDocument(code); // playwright's words
      page.setViewportSize = (size) => page.setViewport(size);
      return { context, page };
    } catch (err) {
      browsers.delete('firefox');
      browser?.process()?.kill('SIGKILL');
      if (tries === 1) throw err;
    }
  }
}

async function newPage(kind) {
  const viewport = { width: 1024, height: 640 };
  if (kind === 'firefox') return firefoxPage(viewport);
  const context = await (await launch(kind)).newContext({ viewport, ignoreHTTPSErrors: true });
  return { context, page: await context.newPage() };
}

const get = (name) => {
  const entry = pages.get(name);
  if (!entry) throw new Error(`no page ${name}`);
  return entry;
};

/** Polls until check returns something true; the last state explains a timeout. */
async function poll(timeout, check, describe) {
  const end = Date.now() + timeout;
  for (;;) {
    let state;
    try {
      state = await check();
    } catch (err) {
      if (Date.now() > end) throw err;
    }
    if (state?.done) return state.value;
    if (Date.now() > end) throw new Error(`timed out after ${timeout} ms: ${describe(state)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const brief = (s) => `${s.peer} ${s.label} ${s.kind} ${s.codec} packets ${s.packetsReceived} lost ${s.packetsLost} ` +
  `frames ${s.framesDecoded} energy ${s.audioEnergy}`;

const stats = ({ page }) => page.evaluate(() => window.weft.stats());

/** New frames and sound of each peer since the first look, also when counters begin anew. */
function flowCounter() {
  const last = new Map();
  const sums = new Map();
  return (list) => {
    for (const s of list) {
      const value = s.kind === 'video' ? s.framesDecoded : s.audioEnergy;
      if (!s.label || !Number.isFinite(value)) continue; // a track whose stream is not known yet
      const key = `${s.peer} ${s.label} ${s.kind}`;
      const before = last.get(key);
      last.set(key, value);
      const sum = sums.get(s.peer) ?? { video: 0, audio: 0 };
      sums.set(s.peer, sum);
      if (before !== undefined) sum[s.kind] += value >= before ? value - before : value;
    }
    return sums;
  };
}

const commands = {
  async open({ browser, page: name, url, script }) {
    const { context, page } = await newPage(browser);
    const lines = [];
    page.on('console', (m) => lines.push(`${m.type()}: ${m.text()}`));
    page.on('pageerror', (err) => lines.push(`uncaught: ${err.message}`));
    if (script) await page.addInitScript(script);
    pages.set(name, { page, context, lines });
    await page.goto(url, { waitUntil: 'load' });
  },
  async flow({ page, peers, frames, audio, timeout }) {
    const entry = get(page);
    const count = flowCounter();
    const began = Date.now();
    let list, sums;
    return poll(timeout, async () => {
      list = await stats(entry);
      sums = count(list);
      const good = [...sums].filter(([, s]) => s.video >= frames && (!audio || s.audio > 0)).map(([peer]) => peer);
      return { done: good.length >= peers, value: { ms: Date.now() - began, peers: good } };
    }, () => `page ${page} wants ${frames} frames${audio ? ' and sound' : ''} of ${peers} peers, has ` +
      `${JSON.stringify([...(sums ?? [])])}; statistics:\n${(list ?? []).map(brief).join('\n')}\nconsole:\n${entry.lines.slice(-20).join('\n')}`);
  },
  async absent({ page, peer, timeout }) {
    const entry = get(page);
    let list;
    return poll(timeout, async () => {
      list = await stats(entry);
      return { done: !list.some((s) => s.peer === peer), value: true };
    }, () => `page ${page} still has ${peer}: ${JSON.stringify(list)}`);
  },
  async text({ page, text, timeout }) {
    const entry = get(page);
    let body;
    return poll(timeout, async () => {
      body = await entry.page.evaluate(() => document.body.innerText);
      return { done: body.toLowerCase().includes(text.toLowerCase()), value: body };
    }, () => `page ${page} does not show ${text}: ${body}`);
  },
  async wait({ page, expression, timeout }) {
    const entry = get(page);
    return poll(timeout, async () => ({ done: await within(10_000, entry.page.evaluate(expression)), value: true }),
      () => `page ${page}: not ${expression}\nconsole:\n${entry.lines.slice(-20).join('\n')}`);
  },
  async eval({ page, expression }) {
    return get(page).page.evaluate(expression);
  },
  async shot({ page, path }) {
    await get(page).page.screenshot({ path });
  },
  async view({ page, width, height }) {
    await get(page).page.setViewportSize({ width, height });
  },
  async close({ page: name }) {
    const { page, context } = get(name);
    pages.delete(name);
    await page.close({ runBeforeUnload: false });
    await context.close();
  },
  async quit() {
    for (const b of browsers.values()) await (await b).close().catch(() => {});
    for (const f of folders) rmSync(f, { recursive: true, force: true, maxRetries: 5 });
  },
};

async function answer(line) {
  const { id, op, ...rest } = JSON.parse(line);
  const reply = { id };
  try {
    reply.value = (await commands[op](rest)) ?? null;
  } catch (err) {
    reply.error = String(err?.message ?? err);
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
  if (op === 'quit') process.exit(0);
}

const input = createInterface({ input: process.stdin });
input.on('line', answer);
input.on('close', () => commands.quit().then(() => process.exit(0)));
