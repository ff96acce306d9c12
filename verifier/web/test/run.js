// All tests of the page's scripts in node: node verifier/web/test/run.js
//
// What needs target/debug/isoverify or isoledger is skipped without them, and says so.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { spawnSync } = require("node:child_process");
const primitives = require("./primitives.js");
const { folders, runFolder, must } = require("./vectors.js");
const { mutations } = require("./mutate.js");
const { worlds } = require("./worlds.js");
const { compare, ISOVERIFY, ISOLEDGER } = require("./tools.js");

const MUTATIONS = 1000, WORLDS = 400;

let passed = 0, failed = 0, skipped = 0;

async function test(name, run) {
  try {
    await run();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.kind === undefined ? error.stack : `${error.kind}: ${error.message}`}`);
  }
}

function skip(name, why) {
  skipped += 1;
  console.log(`skip: ${name}: ${why}`);
}

function there(name, ...programs) {
  const missing = programs.find((program) => !fs.existsSync(program));
  if (missing !== undefined) skip(name, `${missing} is not built`);
  return missing === undefined;
}

// ---- agreement with isoverify ---------------------------------------------------------------------------------------

function told(said) {
  return `${said.outcome} ${said.refuted ?? ""} ${JSON.stringify((said.checks ?? []).filter((c) => c.status !== "passed"))}`;
}

async function agree(name, cases, scratch) {
  const dir = fs.mkdtempSync(path.join(scratch, "cases-"));
  const { differences, outcomes, reasons } = await compare(cases, dir);
  console.log(`${name}: ${cases.length} compared with isoverify, ${reasons} by the same check: ${JSON.stringify(outcomes)}`);
  for (const { i, one, mine, theirs } of differences.slice(0, 10)) {
    console.log(`  ${i} (${one.name}): here ${told(mine)}\n     isoverify ${told(theirs)}`);
  }
  must(differences.length === 0, `${differences.length} of ${cases.length} differ`);
}

// What the demo hands to its two tenants.
function demoCases(scratch) {
  const dir = path.join(scratch, "demo");
  const run = spawnSync(ISOLEDGER, ["demo", "--once", "--dir", dir], { encoding: "utf8", timeout: 120000 });
  must(run.status === 0, `the demo ended with ${run.status}: ${run.stderr}`);
  const read = (name) => new Uint8Array(fs.readFileSync(path.join(dir, name)));
  const asked = { from: null, to: null, nonce: null, now: null };
  return ["red-net", "blue-net"].map((name) => ({
    name, asked, policy: read("policy.txt"), attestation: read(`${name}.attestation.json`), evidence: read(`${name}.evidence.json`),
  }));
}

async function agreement(scratch) {
  if (there("the demo", ISOVERIFY, ISOLEDGER)) await test("demo", () => agree("demo", demoCases(scratch), scratch));
  if (!there("mutations and worlds", ISOVERIFY)) return;
  await test("mutations", () => agree("mutations", mutations(MUTATIONS, 1), scratch));
  await test("worlds", async () => agree("worlds", await worlds(WORLDS, 1), scratch));
}

async function main() {
  for (const name of Object.keys(primitives)) await test(name, primitives[name]);
  for (const folder of folders()) {
    const before = passed;
    await runFolder(folder, test);
    console.log(`vectors ${folder}: ${passed - before} passed`);
  }
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "isoledger-web-"));
  try {
    await agreement(scratch);
  } finally {
    fs.rmSync(scratch, { recursive: true });
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed === 0 && !(process.env.CI && skipped > 0) ? 0 : 1;
}

main();
