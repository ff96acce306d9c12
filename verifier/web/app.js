// The page: takes three files, shows what verify.js says of them. Everything from a file is set as text, never as markup.
"use strict";

(function (iso) {
  const at = (id) => document.getElementById(id);
  const KINDS = ["policy", "attestation", "evidence"];
  const files = {};
  let run = 0;

  function make(name, className = "", ...children) {
    const element = document.createElement(name);
    if (className !== "") element.className = className;
    element.append(...children);
    return element;
  }

  // ---- files --------------------------------------------------------------------------------------------------------

  // A dropped file says what it is by its first bytes; names are for people.
  function kindOf(bytes) {
    const head = new TextDecoder().decode(bytes.subarray(0, 64));
    if (head.startsWith('{"payloadType"')) return "attestation";
    return head.startsWith("{") ? "evidence" : "policy";
  }

  async function take(file, kind = null) {
    if (file.size > iso.evidence.LIMIT) return show(kind ?? "evidence", null, `${file.name} is larger than 512 MiB`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const found = kind ?? kindOf(bytes);
    files[found] = bytes;
    at("again").hidden = false;
    show(found, bytes, file.name);
  }

  function show(kind, bytes, text) {
    const item = document.querySelector(`[data-file="${kind}"]`);
    item.classList.toggle("there", bytes !== null);
    item.querySelector(".state").textContent = bytes === null ? text : `${text}, ${bytes.length.toLocaleString("en")} bytes`;
  }

  // Empty again, so that no file of one attestation is held against another's.
  function startAgain() {
    run += 1;
    for (const kind of KINDS) {
      delete files[kind];
      at(`file-${kind}`).value = "";
      show(kind, null, "");
    }
    for (const id of ["asked-from", "asked-to", "asked-nonce"]) at(id).value = "";
    at("asked-fresh").checked = false;
    at("report").hidden = true;
    at("again").hidden = true;
    progress("");
    at("file-policy").focus();
  }

  async function takeAll(list) {
    for (const file of list) await take(file);
    await check();
  }

  // ---- what was asked for -------------------------------------------------------------------------------------------

  class AskedWrong extends Error {}

  // A day, a second, or milliseconds, as isoverify takes them.
  function askedTime(id, name) {
    const text = at(id).value.trim();
    if (text === "") return null;
    const full = text.length === 10 ? `${text}T00:00:00.000Z` : text.length === 20 ? text.replace("Z", ".000Z") : text;
    const time = iso.time(full);
    if (time === null) throw new AskedWrong(`${name} is not a time like 2026-03-01 or 2026-03-01T00:00:00Z`);
    return time;
  }

  function asked() {
    return {
      from: askedTime("asked-from", "From"), to: askedTime("asked-to", "To"), nonce: at("asked-nonce").value || null,
      now: at("asked-fresh").checked ? Date.now() : null,
    };
  }

  // ---- checking -----------------------------------------------------------------------------------------------------

  function progress(text) {
    at("progress").hidden = text === "";
    at("progress").textContent = text;
  }

  async function check() {
    const missing = KINDS.filter((kind) => files[kind] === undefined);
    if (missing.length > 0) {
      at("report").hidden = true;
      return progress(missing.length === KINDS.length ? "" : `Still needed: ${missing.join(", ")}.`);
    }
    // A newer check overtakes this one.
    const mine = ++run;
    progress("Checking…");
    await new Promise((resume) => setTimeout(resume, 0));
    try {
      const report = await iso.verify(files, iso.policy.parse(files.policy), readAsked(), (text) => mine === run && progress(`Checking: ${text}`));
      if (mine === run) showReport(report);
    } catch (error) {
      if (mine === run) showTrouble(error);
    }
    if (mine === run) progress("");
  }

  function readAsked() {
    at("asked-error").hidden = true;
    return asked();
  }

  // Nothing was checked: neither verified nor refuted.
  function showTrouble(error) {
    at("report").hidden = true;
    if (error instanceof AskedWrong) {
      at("asked-error").textContent = error.message;
      at("asked-error").hidden = false;
      return;
    }
    const [claim, why, what] = error instanceof iso.Refused
      ? ["Nothing was read: without a policy no key counts.", `The policy cannot be read. ${error.message}.`, "Mend the policy and drop it again."]
      : ["Nothing can be said.", `This page failed: ${error.message}`, "That is a defect of this page, and says nothing about the files."];
    at("report").hidden = false;
    at("claim").replaceChildren(make("p", "", claim));
    at("checks").replaceChildren(make("p", "notice bad", why));
    at("outcome").replaceChildren(outcomeBox("undecided", "NOT CHECKED", what));
    at("timeline-part").hidden = true;
  }

  // ---- the claim in words -------------------------------------------------------------------------------------------

  const VERDICTS = { isolated: ["was isolated", ""], violated: ["was NOT isolated", "bad"], unknown: ["may have been isolated; nobody can say", "open"] };

  function claimWords(claim) {
    const [words, style] = VERDICTS[claim.verdict];
    const says = make("p", "says", `${claim.log.origin} says: network “${claim.network}” (VLAN ${claim.vlan}, domain “${claim.domain}”) `,
      make("strong", style, words), `, for project “${claim.project}”, from ${iso.timeText(claim.from)} to ${iso.timeText(claim.to)}.`);
    const facts = [`${claim.isolated} of ${claim.polls} polls isolated; ${claim.blind.length === 0
      ? `no stretch longer than ${iso.spanText(claim.maxGap)} without a good reading`
      : `${claim.blind.length === 1 ? "a stretch" : `${claim.blind.length} stretches`} longer than ${iso.spanText(claim.maxGap)} without a good reading`}.`];
    for (const v of claim.violations) facts.push(`Violation: ${iso.words.violationText(v)}.`);
    facts.push(claim.exits.length === 0 ? "No exit carried it." : `Exits that carried it: ${claim.exits.map((e) => `${e.name} (${e.kind})`).join(", ")}.`);
    facts.push(`Not assessed: ${claim.notAssessed.map(iso.words.notAssessedText).join(", ")}.`);
    if (claim.exceptions.length > 0) facts.push(`Exceptions were granted, by entries ${claim.exceptions.join(", ")}; they change no verdict.`);
    if (claim.nonce !== null) facts.push(`It answers the nonce “${claim.nonce}”.`);
    facts.push(`Issued ${iso.timeText(claim.issued)}; log of ${claim.log.size} entries, root ${iso.base64(claim.log.root)}.`);
    return [says, make("ul", "facts", ...facts.map((fact) => make("li", "", fact)))];
  }

  // ---- the checks ---------------------------------------------------------------------------------------------------

  const STATUS = { passed: "passed", failed: "FAILED", undecided: "undecided" };
  const PROOF = ["envelope", "statement", "evidence", "checkpoint", "chain", "range", "entries", "ends", "versions", "slices", "semantics", "claim"];
  const DEMANDS = ["stanza", "request", "witnesses", "auditors", "isolation", "members", "exits", "public", "not-assessed", "freshness"];

  function checkItem({ check, status, detail }) {
    return make("li", status, make("span", "status", STATUS[status]), make("span", "name", check), make("span", "detail", detail));
  }

  // What was not reached is only named: the first check that failed ended it.
  function checkList(title, names, checks) {
    const reached = checks.filter((c) => names.includes(c.check));
    const missing = names.filter((name) => name !== "freshness" && !reached.some((c) => c.check === name));
    const parts = [make("h3", "", title)];
    if (reached.length > 0) parts.push(make("ol", "checks", ...reached.map(checkItem)));
    if (missing.length > 0) parts.push(make("p", "hint", `Not reached: ${missing.join(", ")}.`));
    return parts;
  }

  // ---- the outcome --------------------------------------------------------------------------------------------------

  function outcomeBox(style, word, sentence) {
    return make("div", `outcome ${style}`, make("p", "word", word), make("p", "", sentence));
  }

  function outcomeWords({ outcome, refuted, checks }) {
    if (outcome === "verified") return ["VERIFIED", "The network was isolated over the whole range."];
    if (refuted === "violation") return ["REFUTED", "The proof is good, and it proves that the network was not isolated as the policy demands."];
    const first = checks.find((c) => c.status !== "passed");
    if (refuted === "proof") return ["REFUTED", `The proof is bad (${first.check}): these files show nothing about the network.`];
    return ["UNDECIDED", `Neither shown nor refuted (${checks.filter((c) => c.status === "undecided").map((c) => c.check).join(", ")}).`];
  }

  // On whose word what the outcome rests.
  function restsOn({ demands, policy }) {
    const { quorum, audit } = policy;
    const list = [["anyone", "No poll of the range is left out and none was changed since it was signed; the verdict follows from the slices, which this page judged anew."]];
    list.push(quorum === null
      ? ["operator", "That there is one history for all, and that polls were recorded when they say, is the operator’s word: the policy asks for no witness."]
      : ["witnesses", `That there is one history for all, and that polls were recorded when they say, rests on ${iso.policy.quorumText(quorum)}.`]);
    list.push(audit === null || demands.auditors()[0] !== "passed"
      ? ["operator", "That the slices follow from the recorded evidence is the operator’s word."]
      : ["auditors", `That the slices follow from the recorded evidence rests on ${iso.policy.quorumText(audit)}.`]);
    list.push(["operator", "That the evidence is what switches and cloud manager answered is trusted to the recorder at the time of recording."]);
    return make("ul", "words", ...list.map(([who, sentence]) => make("li", "", make("span", "who", who), make("span", "", sentence))));
  }

  // ---- the timeline -------------------------------------------------------------------------------------------------

  const KEY = [["isolated", "isolated"], ["unknown", "unknown"], ["violated", "violated"], ["onset", "began somewhere in here"], ["hatched", "no good reading, longer than allowed"]];

  function keyItem([style, text]) {
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("width", "100%");
    rect.setAttribute("height", "100%");
    rect.setAttribute("class", style);
    swatch.setAttribute("aria-hidden", "true");
    swatch.append(rect);
    return make("li", "", swatch, text);
  }

  function timelineParts({ claim, demands }) {
    const picture = make("div", "timeline", iso.timeline.draw(claim, demands), make("ul", "key", ...KEY.map(keyItem)));
    const events = iso.timeline.events(demands);
    const list = events.map((event) => make("li", event.bad ? "bad" : "", event.text));
    return [picture, events.length === 0 ? make("p", "", "No violation, and no stretch without a good reading that is longer than allowed.") : make("ul", "events", ...list)];
  }

  // ---- all of it ----------------------------------------------------------------------------------------------------

  function showReport(report) {
    const { claim, checks, outcome, demands, policy } = report;
    at("claim").replaceChildren(...(claim === null
      ? [make("p", "", "None that the policy’s keys signed about this evidence.")] : claimWords(claim)));
    at("checks").replaceChildren(...checkList("Is the claim proven?", PROOF, checks), ...checkList("Is it what the policy demands?", DEMANDS, checks));
    const [word, sentence] = outcomeWords(report);
    const parts = [outcomeBox(outcome, word, sentence)];
    if (policy.unpinned) parts.push(make("p", "notice open", "The policy says unpinned: its keys came from the operator, and nobody has compared them."));
    if (demands !== null) parts.push(restsOn(report));
    parts.push(make("p", "hint", "Policy ", make("code", "", policy.digest), " (BLAKE3)"));
    at("outcome").replaceChildren(...parts);
    at("timeline-part").hidden = demands === null;
    at("timeline").replaceChildren(...(demands === null ? [] : timelineParts(report)));
    at("report").hidden = false;
    at("report").dataset.outcome = report.refuted ?? outcome;
    at("report").dataset.check = report.firstOpen;
  }

  // ---- beginning ----------------------------------------------------------------------------------------------------

  function listen() {
    for (const kind of KINDS) {
      at(`file-${kind}`).addEventListener("change", async (event) => {
        if (event.target.files.length === 0) return;
        await take(event.target.files[0], kind);
        await check();
      });
    }
    for (const id of ["asked-from", "asked-to", "asked-nonce", "asked-fresh"]) at(id).addEventListener("change", check);
    at("again").addEventListener("click", startAgain);
    const dragging = (on) => document.body.classList.toggle("dragging", on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      dragging(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && dragging(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      dragging(false);
      takeAll(event.dataTransfer.files);
    });
  }

  async function begin() {
    if (!(await iso.ed25519.available())) {
      at("unable").textContent = "This browser cannot check Ed25519 signatures here. Use a current browser, and open this page from a file or over HTTPS.";
      at("unable").hidden = false;
      return;
    }
    listen();
    document.documentElement.dataset.ready = "yes";
  }

  begin();
})(globalThis.isoverify = globalThis.isoverify || {});
