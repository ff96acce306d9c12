// Loads the page's scripts into node as the page does: classic scripts, in the order of index.html, into one global.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const WEB = path.join(__dirname, "..");
// These two want a document.
const PAGE_ONLY = ["timeline.js", "app.js"];

function scripts() {
  const html = fs.readFileSync(path.join(WEB, "index.html"), "utf8");
  return [...html.matchAll(/<script src="([^"]+)"/g)].map((m) => m[1]);
}

// Node 18 has it, but not as a global.
globalThis.crypto ??= require("node:crypto").webcrypto;

for (const name of scripts().filter((name) => !PAGE_ONLY.includes(name))) {
  vm.runInThisContext(fs.readFileSync(path.join(WEB, name), "utf8"), { filename: name });
}

module.exports = { iso: globalThis.isoverify, WEB, ROOT: path.join(WEB, "../.."), scripts };
