// The page in real Chromium, opened from its file: node verifier/web/test/chromium.js [FOLDER FOR PICTURES]
//
// Files are given to the page's own inputs, and once dropped on it. Chromium is spoken to over a pipe; nothing else is needed.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { spawn, spawnSync } = require("node:child_process");
const { pathToFileURL } = require("node:url");
const { iso, WEB } = require("./load.js");
const { readCase, VECTORS } = require("./vectors.js");

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--remote-debugging-pipe", "--hide-scrollbars"];
const DEADLINE = 60000;

// ---- Chromium -------------------------------------------------------------------------------------------------------

function find() {
  return NAMES.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}

class Browser {
  constructor(program, profile) {
    this.child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.next = 1;
    this.waiting = new Map();
    this.heard = [];
    this.session = undefined;
    let rest = "";
    this.child.stdio[4].on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      for (const message of messages) this.hear(JSON.parse(message));
    });
    this.child.on("exit", () => this.waiting.forEach(({ reject }) => reject(new Error("Chromium ended"))));
  }

  hear(message) {
    if (message.id === undefined) return void this.heard.push(message);
    const { resolve, reject } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  send(method, params = {}) {
    const id = this.next++;
    this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  async open(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    this.session = (await this.send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    for (const domain of ["Page", "Runtime", "Network", "DOM", "Log"]) await this.send(`${domain}.enable`);
    await this.send("Page.navigate", { url });
    await this.until("document.documentElement.dataset.ready === 'yes'");
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  // While one page gives way to the next there is none to evaluate anything in.
  async until(expression) {
    const end = Date.now() + DEADLINE;
    while (!(await this.evaluate(expression).catch(() => false))) {
      if (Date.now() > end) throw new Error(`never true: ${expression}`);
      await new Promise((resume) => setTimeout(resume, 20));
    }
  }

  async choose(id, file) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector: `#${id}` });
    await this.send("DOM.setFileInputFiles", { nodeId, files: [file] });
  }

  async drop(files) {
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) await this.send("Input.dispatchDragEvent", { type, x: 100, y: 100, data });
  }

  async picture(file, width, dark) {
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
    await this.send("Emulation.setDeviceMetricsOverride", { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
    const { cssContentSize } = await this.send("Page.getLayoutMetrics");
    const clip = { x: 0, y: 0, width, height: cssContentSize.height, scale: 1 };
    const { data } = await this.send("Page.captureScreenshot", { clip, captureBeyondViewport: true });
    fs.writeFileSync(file, Buffer.from(data, "base64"));
  }

  async close() {
    const ended = new Promise((resume) => this.child.once("exit", resume));
    await this.send("Browser.close").catch(() => {});
    await ended;
  }
}

// ---- the tests ------------------------------------------------------------------------------------------------------

let passed = 0, failed = 0;

async function test(name, run) {
  try {
    await run();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
}

function mustBe(got, wanted, what) {
  if (got !== wanted) throw new Error(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

// The three files of a vector, as files.
function unpack(scratch, name) {
  const one = readCase(path.join(VECTORS, "evidence", name));
  const dir = path.join(scratch, name);
  fs.mkdirSync(dir, { recursive: true });
  const file = (kind, ending) => path.join(dir, `red-net.${ending}`);
  const files = { policy: file("policy", "policy"), attestation: file("attestation", "attestation.json"), evidence: file("evidence", "evidence.json") };
  for (const [kind, target] of Object.entries(files)) fs.writeFileSync(target, one[kind]);
  return { files, said: one.said };
}

function startAgain(browser) {
  return browser.evaluate("document.getElementById('again').click(); 0");
}

async function fill(browser, { from = "", to = "", nonce = "" }) {
  const set = (id, value) => browser.evaluate(`document.getElementById(${JSON.stringify(id)}).value = ${JSON.stringify(value)}; 0`);
  await set("asked-from", from);
  await set("asked-to", to);
  await set("asked-nonce", nonce);
}

async function report(browser) {
  await browser.until("!document.getElementById('report').hidden && document.getElementById('progress').hidden");
  return browser.evaluate("({ ...document.getElementById('report').dataset, text: document.getElementById('report').innerText })");
}

async function checkVector(browser, scratch, name) {
  const { files, said } = unpack(scratch, name);
  await startAgain(browser);
  await fill(browser, said);
  for (const [kind, file] of Object.entries(files)) await browser.choose(`file-${kind}`, file);
  const { outcome, check } = await report(browser);
  mustBe(`${outcome} by ${check}`, `${said.expect} by ${said.check}`, name);
}

// Everything the page asked for is one of its own files.
function checkNetwork(browser) {
  const own = pathToFileURL(WEB).href;
  const asked = browser.heard.filter((m) => m.method === "Network.requestWillBeSent").map((m) => m.params.request.url);
  mustBe(asked.filter((url) => !url.startsWith(own)).join(), "", "what else was asked for");
  if (asked.length < 17) throw new Error(`only ${asked.length} files were loaded`);
}

function checkConsole(browser) {
  const complaints = browser.heard.filter((m) => m.method === "Runtime.exceptionThrown" || (m.method === "Log.entryAdded" && m.params.entry.level === "error"));
  mustBe(JSON.stringify(complaints.map((m) => m.params)), "[]", "the console");
}

// A script on the page that tries to reach somebody is stopped by the page's own policy.
async function checkPolicy(browser) {
  const said = await browser.evaluate("fetch('https://example.org/').then(() => 'reached', (e) => e.constructor.name)");
  mustBe(said, "TypeError", "a request to somebody");
}

// Every input, the details and nothing else is reached by the keyboard, and whatever has the focus shows it.
async function checkKeyboard(browser) {
  const reached = [];
  await browser.evaluate("document.activeElement.blur(); 0");
  for (let i = 0; i < 4; i++) {
    await browser.send("Input.dispatchKeyEvent", { type: "keyDown", key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
    await browser.send("Input.dispatchKeyEvent", { type: "keyUp", key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
    reached.push(await browser.evaluate("document.activeElement.id || document.activeElement.localName"));
    mustBe(await browser.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "solid", "the outline");
  }
  mustBe(reached.join(" "), "file-policy file-attestation file-evidence summary", "what Tab reaches");
}

// No line is wider than a phone.
async function checkPhone(browser) {
  await browser.send("Emulation.setDeviceMetricsOverride", { width: 360, height: 740, deviceScaleFactor: 1, mobile: true });
  mustBe(await browser.evaluate("document.documentElement.scrollWidth"), 360, "the width on a phone");
  await browser.send("Emulation.clearDeviceMetricsOverride");
}

// Contrast of every text with what is behind it, by WCAG 2.1: 4.5 at least.
const CONTRAST = `(() => {
  const channels = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (c) => { const x = c / 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== "") || e.getClientRects().length === 0) continue;
    const svg = e instanceof SVGElement;
    if (svg && e.localName !== "text") continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(channels(svg ? style.fill : style.color)), luminance(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(e.localName + "." + e.className + " " + ratio.toFixed(2) + " " + e.textContent.trim().slice(0, 30));
  }
  return low.join("; ");
})()`;

async function checkContrast(browser) {
  for (const value of ["light", "dark"]) {
    await browser.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
    mustBe(await browser.evaluate(CONTRAST), "", `low contrast, ${value}`);
  }
}

const SHOWN = ["isolated", "violated", "silent_beyond_the_gap", "witnessed_in_part", "text_changed"];

async function all(browser, scratch, pictures) {
  await browser.open(pathToFileURL(path.join(WEB, "index.html")).href);
  await test("keyboard", () => checkKeyboard(browser));
  for (const name of fs.readdirSync(path.join(VECTORS, "evidence")).sort()) {
    // These are about a moment that is not now.
    if (readCase(path.join(VECTORS, "evidence", name)).asked.now !== null) continue;
    await test(name, () => checkVector(browser, scratch, name));
    if (pictures !== undefined && SHOWN.includes(name)) {
      await browser.picture(path.join(pictures, `${name}.png`), 1000, false);
      await browser.picture(path.join(pictures, `${name}-dark-phone.png`), 375, true);
    }
    if (SHOWN.includes(name)) {
      await test(`${name}, contrast`, () => checkContrast(browser));
      await test(`${name}, phone`, () => checkPhone(browser));
    }
  }
  await test("dropped", async () => {
    const { files } = unpack(scratch, "violated");
    await startAgain(browser);
    await browser.drop(Object.values(files));
    mustBe((await report(browser)).outcome, "violation", "the outcome");
  });
  await test("a policy that cannot be read", async () => {
    const file = path.join(scratch, "bad.policy");
    fs.writeFileSync(file, "quorum none\nsomething\n");
    await browser.choose("file-policy", file);
    await browser.until("document.getElementById('outcome').innerText.includes('NOT CHECKED')");
    if (!(await report(browser)).text.includes("line 2")) throw new Error("the line is not named");
  });
  await test("markup in names stays text", async () => {
    const { files } = unpack(scratch, "isolated");
    await browser.choose("file-policy", files.policy);
    mustBe(await browser.evaluate("document.querySelectorAll('#report script, #report img, #report iframe').length"), 0, "foreign elements");
  });
  await test("console", () => checkConsole(browser));
  await test("network", () => checkNetwork(browser));
  await test("content security policy", () => checkPolicy(browser));
}

async function main() {
  const program = find();
  if (program === undefined) {
    console.log("skip: the page in Chromium: chromium is not installed\n0 passed, 0 failed, 1 skipped");
    process.exitCode = process.env.CI ? 1 : 0;
    return;
  }
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "isoledger-chromium-"));
  const browser = new Browser(program, path.join(scratch, "profile"));
  try {
    await all(browser, scratch, process.argv[2]);
  } finally {
    await browser.close();
    fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
  console.log(`${passed} passed, ${failed} failed, 0 skipped: the page in ${program}`);
  process.exitCode = failed === 0 ? 0 : 1;
}

main().catch((error) => {
  console.log(`FAILED ${error.stack}`);
  process.exitCode = 1;
});
