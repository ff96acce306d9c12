// Slices, sections and the common part, and how a network is judged by them (docs/formats/slice.md).
"use strict";

(function (iso) {
  const j = iso.json;
  const CLASSES = iso.policy.CLASSES;
  const FINDINGS = ["foreign-port", "unregistered-port", "all-vlans", "foreign-member", "shared-vlan", "native-mismatch",
    "bypass", "missing-port", "wrong-tagging", "in-transition", "unreadable", "silent", "latent-port"];
  const ISOLATION = FINDINGS.slice(0, 7), CONNECTIVITY = FINDINGS.slice(7, 9), VISIBILITY = FINDINGS.slice(9, 12);
  const KINDS = ["router", "manager-host", "unaudited-switch", "local"];
  const HOW = ["none", "untagged", "tagged", "other"];

  // ---- shapes -------------------------------------------------------------------------------------------------------

  const place = j.object({ switch: j.digest, port: j.digest });
  const names = j.object({ switch: j.string, port: j.string });
  const exit = j.object({ name: j.string, kind: j.word(...KINDS) });
  const flag = j.maybe(j.truth, false);
  const version = j.one;

  const line = j.object({
    switch: j.digest, port: j.digest, name: j.maybe(names), carries: j.word("none", "untagged", "tagged"),
    declared: j.maybe(j.someList(j.object({ network: j.count, as: j.word("untagged", "tagged", "other") })), []),
    registered: flag, mixed: flag, link: j.maybe(place), exit: j.maybe(exit), down: flag, unreadable: flag,
    unassessed: flag, moving: flag, passed: flag, explained: flag,
  });

  const slice = j.object({ v: version, vlan: j.vlan, lease: j.count, networks: j.list(j.digest), ports: j.list(line) });

  const section = j.object({
    v: version, name: j.string, vlan: j.vlan,
    owner: j.either(['"', j.word("admin")], ["{", j.object({ project: j.string })]),
    access: j.either(['"', j.word("public")], ["{", j.object({ projects: j.stringSet })]),
    lease: j.count, salt: j.digest,
    attachments: j.list(j.object({
      project: j.orNull(j.string), node: j.string, nic: j.string, as: j.word("untagged", "tagged", "other"), at: j.orNull(place),
    })),
  });

  const common = j.object({ v: version, roster: j.digest, scope: j.digest, coverage: j.digest, bypasses: j.digest, wide: j.digest });

  const source = j.object({
    reader: j.object({ dialect: j.string, version: j.integer(0, 2 ** 32 - 1) }),
    identity: j.orNull(j.digest),
  });
  const roster = j.object({
    v: version, manager: source,
    switches: j.list(j.object({ switch: j.digest, name: j.maybe(j.string), source })),
  });
  const scope = j.object({
    v: version, domain: j.string, entry: j.count,
    unassessed: j.list(j.object({ switch: j.digest, port: j.digest, name: j.maybe(names), reason: j.string })),
  });
  const coverage = j.object({
    v: version, manager: j.orNull(j.word("silent", "unreadable", "source-changed")),
    switches: j.list(j.object({ switch: j.digest, failure: j.word("silent", "unreadable", "source-changed", "unaudited") })),
    ports: j.list(j.object({ switch: j.digest, port: j.digest, vlans: j.vlanSet, link: j.maybe(place), unassessed: flag })),
  });

  const bypasses = j.object({
    v: version,
    switches: j.list(j.object({
      switch: j.digest, dirty: j.list(j.object({ class: j.word(...CLASSES), vlans: j.vlanSet })), unread: j.list(j.word(...CLASSES)),
    })),
  });
  const wide = j.object({
    v: version,
    ports: j.list(j.object({
      switch: j.digest, port: j.digest, name: j.maybe(names), untagged: j.maybe(j.vlan), tagged: j.vlanSet, allowed: j.vlanSet,
      link: j.maybe(place), exit: j.maybe(exit), registered: flag, down: flag, unassessed: flag, moving: flag,
    })),
    passed: j.maybe(j.someList(j.object({
      switch: j.digest, port: j.digest, name: j.maybe(names), vlans: j.vlanSet, all: flag, allowed: j.vlanSet,
      link: j.maybe(place), exit: j.maybe(exit), registered: flag, unassessed: flag, moving: flag,
    })), []),
  });

  // ---- order --------------------------------------------------------------------------------------------------------

  // Null stands before everything.
  function compare(a, b) {
    if (a === null || b === null) return Number(b === null) - Number(a === null);
    if (typeof a === "string") return iso.compareText(a, b);
    return a < b ? -1 : a > b ? 1 : 0;
  }

  // By the values that `key` lists, first to last.
  function by(key) {
    return (a, b) => {
      const x = key(a), y = key(b);
      for (let i = 0; i < Math.min(x.length, y.length); i++) {
        const order = compare(x[i], y[i]);
        if (order !== 0) return order;
      }
      return x.length - y.length;
    };
  }

  function sortedOnce(list, order) {
    return list.sort(order).filter((item, i) => i === 0 || order(list[i - 1], item) !== 0);
  }

  const placeKey = (p) => [p.switch, p.port];
  const declaredKey = (d) => [d.network, HOW.indexOf(d.as)];
  const attachmentKey = (a) => [a.project, a.node, a.nic, HOW.indexOf(a.as), a.at === null ? null : a.at.switch,
    a.at === null ? null : a.at.port];

  const exitOrder = by((e) => [e.name, KINDS.indexOf(e.kind)]);
  const exitsOnce = (exits) => sortedOnce(exits, exitOrder);

  // "cabling", classes, ports, exits.
  const notAssessedOrder = by((item) => {
    if (item === "cabling") return [0];
    if (item.class) return [1, item.class.switch, CLASSES.indexOf(item.class.class)];
    if (item.port) return [2, item.port.switch, item.port.port, item.port.reason];
    return [3, item.exit.name];
  });
  const notAssessedOnce = (items) => sortedOnce(items, notAssessedOrder);

  const findingOrder = by((f) => [FINDINGS.indexOf(f.finding), ...subjectKey(f.subject), f.passed ? 1 : 0]);

  function subjectKey(subject) {
    if (subject === "manager") return [3, "", ""];
    if (subject === "network") return [5, "", ""];
    if (subject.port) return [0, subject.port.switch, subject.port.port];
    if (subject.switch) return [1, subject.switch, ""];
    if (subject.class) return [2, subject.class.switch, CLASSES.indexOf(subject.class.class)];
    return [4, subject.nic.node, subject.nic.nic];
  }

  // ---- refusals -----------------------------------------------------------------------------------------------------

  function ascending(list, key, mayRepeat = false) {
    const order = by(key);
    for (let i = 1; i < list.length; i++) {
      const step = order(list[i - 1], list[i]);
      if (step > 0 || (step === 0 && !mayRepeat)) iso.refuse("order", "a list is out of order, or holds something twice");
    }
  }

  function checkOrder(parts, s, section) {
    ascending(s.networks, (n) => [n]);
    ascending(s.ports, placeKey);
    for (const port of s.ports) ascending(port.declared, declaredKey, true);
    ascending(section.attachments, attachmentKey, true);
    ascending(parts.roster.switches, (x) => [x.switch]);
    ascending(parts.scope.unassessed, placeKey);
    ascending(parts.coverage.switches, (x) => [x.switch]);
    ascending(parts.coverage.ports, placeKey);
    ascending(parts.bypasses.switches, (x) => [x.switch]);
    ascending(parts.wide.ports, placeKey);
    ascending(parts.wide.passed, placeKey);
  }

  // What the section says is attached somewhere is what the slice says is declared there.
  function checkAttachments(s, section, index) {
    const text = (place, as) => `${place.switch} ${place.port} ${as}`;
    const attached = section.attachments.filter((a) => a.at !== null).map((a) => text(a.at, a.as));
    const declared = [];
    for (const port of s.ports) {
      for (const d of port.declared) {
        if (d.network >= s.networks.length) iso.refuse("attachments", "declared for a network that is not there");
        if (d.network === index) declared.push(text(port, d.as));
      }
    }
    if (attached.sort().join("\n") !== declared.sort().join("\n")) {
      iso.refuse("attachments", "slice and section disagree on what is declared");
    }
  }

  // ---- judging ------------------------------------------------------------------------------------------------------

  // `parts` are the five sections of the common part; `accepted` the classes whose being unread is accepted.
  class Judge {
    constructor(parts, s, section, accepted) {
      Object.assign(this, parts);
      this.slice = s;
      this.section = section;
      this.accepted = accepted;
      this.vlan = s.vlan;
      this.managerRead = parts.coverage.manager === null;
      this.failures = new Map(parts.coverage.switches.map((x) => [x.switch, x.failure]));
      this.inRoster = new Set(parts.roster.switches.map((x) => x.switch));
      this.lines = new Map(s.ports.map((p) => [placeText(p), p]));
      this.widePorts = new Map(parts.wide.ports.map((p) => [placeText(p), p]));
      this.passedPorts = parts.wide.passed.filter((p) => j.holds(p.vlans, this.vlan));
      this.unreadPorts = parts.coverage.ports.filter((p) => j.holds(p.vlans, this.vlan));
      this.reasons = new Map(parts.scope.unassessed.map((p) => [placeText(p), p.reason]));
      this.findings = [];
      this.exits = [];
      this.notAssessed = ["cabling"];
      this.involved = new Set();
      this.adrift = section.attachments.length === 0;
    }

    judge() {
      this.judgeNetwork();
      for (const line of this.slice.ports) this.judgeLine(line);
      for (const port of this.wide.ports) {
        if (this.wideCarries(port)) this.judgeWide(port);
      }
      for (const port of this.passedPorts) this.judgePassed(port);
      for (const port of this.unreadPorts) {
        if (port.unassessed) this.skip(port);
        else this.find("unreadable", portSubject(port));
      }
      this.involve();
      for (const handle of this.involved) this.judgeSwitch(handle);
      return this.judgement();
    }

    // ---- what rules say

    find(finding, subject, passed = false) {
      this.findings.push(passed ? { finding, subject, passed } : { finding, subject });
    }

    skip(port) {
      const reason = this.reasons.get(placeText(port)) ?? "";
      this.notAssessed.push({ port: { switch: port.switch, port: port.port, reason } });
    }

    leaves(port) {
      if (port.exit === null) return;
      this.exits.push(port.exit);
      this.notAssessed.push({ exit: { name: port.exit.name } });
      if (port.exit.kind === "unaudited-switch") this.adrift = true;
    }

    stranger(port, passed = false) {
      this.find(port.registered ? "foreign-port" : "unregistered-port", portSubject(port), passed);
    }

    wasRead(handle) {
      return this.inRoster.has(handle) && !this.failures.has(handle);
    }

    wideCarries(port) {
      return port.untagged === this.vlan || j.holds(port.tagged, this.vlan);
    }

    // The slice has a line of this port on which somebody is declared, or that says what it says.
    lineOf(port) {
      return this.lines.get(placeText(port));
    }

    isDeclaredAt(port) {
      const line = this.lineOf(port);
      return line !== undefined && line.declared.length > 0;
    }

    // ---- rules 1 to 5

    judgeNetwork() {
      if (this.coverage.manager === "silent") this.find("silent", "manager");
      else if (!this.managerRead) this.find("unreadable", "manager");
      if (this.managerRead && this.slice.networks.length > 1) this.find("shared-vlan", "network");
      for (const attachment of this.section.attachments) this.judgeAttachment(attachment);
    }

    judgeAttachment(attachment) {
      const nic = { nic: { node: attachment.node, nic: attachment.nic } };
      if (attachment.at === null) {
        this.adrift = true;
        if (this.managerRead) this.find("missing-port", nic);
      }
      if (!this.managerRead || isMember(this.section, attachment.project)) return;
      const line = attachment.at === null ? undefined : this.lineOf(attachment.at);
      if (line !== undefined && line.moving) this.find("in-transition", portSubject(line));
      else this.find("foreign-member", nic);
    }

    // ---- rules 6 to 11

    judgeLine(line) {
      const carries = carriesNow(line);
      if (line.unassessed) {
        if (carries || line.unreadable || line.passed) this.adrift = true;
        this.skip(line);
      } else if (line.unreadable) {
        this.find("unreadable", portSubject(line));
      } else if (line.moving) {
        this.find("in-transition", portSubject(line));
      } else {
        if (line.passed) this.judgePassedLine(line);
        if (carries) this.judgeCarrying(line);
        else this.judgeNotCarrying(line);
      }
    }

    judgePassedLine(line) {
      this.leaves(line);
      if (isAllowed(line) || line.declared.length > 0 || !this.managerRead) return;
      if (this.passedPorts.some((port) => placeText(port) === placeText(line))) return;
      if (line.explained) this.find("in-transition", portSubject(line), true);
      else this.stranger(line, true);
    }

    judgeNotCarrying(line) {
      if (line.declared.length > 0) {
        if (this.managerRead && this.wasRead(line.switch)) this.find("missing-port", portSubject(line));
      } else if (line.carries !== "none" && !isAllowed(line) && this.managerRead) {
        this.find("latent-port", portSubject(line));
      }
    }

    judgeCarrying(line) {
      this.leaves(line);
      if (line.declared.length > 0 && this.managerRead) {
        if (line.mixed) this.find("foreign-port", portSubject(line));
        if (line.declared.some((d) => d.as !== "other" && d.as !== line.carries)) this.find("wrong-tagging", portSubject(line));
      }
      if (line.declared.length === 0 && !isAllowed(line) && this.managerRead) this.stranger(line);
      if (line.link !== null && line.carries === "untagged") this.compareNatives(line);
    }

    // ---- rules 12 to 17

    judgeWide(port) {
      const allowed = j.holds(port.allowed, this.vlan);
      if (port.unassessed) {
        if (!port.down) this.adrift = true;
        this.skip(port);
      } else if (port.moving) {
        this.find("in-transition", portSubject(port));
      } else if (allowed) {
        if (port.down) return;
        this.leaves(port);
        if (port.link !== null && port.untagged === this.vlan) this.compareNatives(port);
      } else {
        this.judgeWideStranger(port);
      }
    }

    judgeWideStranger(port) {
      const everything = carriesAll(port);
      if (!everything && (!this.managerRead || this.isDeclaredAt(port))) return;
      if (port.down) this.find("latent-port", portSubject(port));
      else if (everything) this.find("all-vlans", portSubject(port));
      else this.stranger(port);
    }

    // ---- rules 17a to 17g

    judgePassed(port) {
      if (port.unassessed) {
        this.adrift = true;
        this.skip(port);
      } else if (port.moving) {
        this.find("in-transition", portSubject(port));
      } else if (j.holds(port.allowed, this.vlan)) {
        this.leaves(port);
      } else if (!port.all && this.isDeclaredAt(port)) {
        return;
      } else if (this.lineOf(port)?.explained) {
        this.find("in-transition", portSubject(port), true);
      } else if (port.all) {
        this.find("all-vlans", portSubject(port), true);
      } else if (this.managerRead) {
        this.stranger(port, true);
      }
    }

    // ---- natives

    compareNatives(port) {
      if (!this.wasRead(port.link.switch)) return;
      const key = placeText(port.link);
      const line = this.lines.get(key), wide = this.widePorts.get(key);
      const other = line ?? wide;
      if (other !== undefined) {
        if (other.down || other.unreadable || other.unassessed || other.moving) return;
        if (line === undefined ? wide.untagged === this.vlan : line.carries === "untagged") return;
      }
      this.find("native-mismatch", portSubject(port));
      this.find("native-mismatch", portSubject(port.link));
    }

    // ---- rules 20 to 23

    involve() {
      const add = (place) => this.involved.add(place.switch);
      const addLink = (port) => port.link !== null && add(port.link);
      for (const attachment of this.section.attachments) {
        if (attachment.at !== null) add(attachment.at);
      }
      for (const line of this.slice.ports) {
        add(line);
        if (carriesNow(line) || line.unreadable || line.passed) addLink(line);
      }
      for (const port of this.wide.ports.filter((p) => this.wideCarries(p))) {
        add(port);
        if (j.holds(port.allowed, this.vlan) && !port.down) addLink(port);
      }
      for (const port of this.passedPorts) {
        add(port);
        if (j.holds(port.allowed, this.vlan)) addLink(port);
      }
      for (const port of this.unreadPorts) {
        if (port.unassessed) this.adrift = true;
        add(port);
        addLink(port);
      }
      if (this.adrift) {
        for (const [handle, failure] of this.failures) {
          if (failure !== "unaudited") this.involved.add(handle);
        }
      }
    }

    judgeSwitch(handle) {
      const failure = this.failures.get(handle);
      const missing = failure === undefined && !this.inRoster.has(handle);
      if (missing || failure === "silent" || failure === "unaudited") this.find("silent", { switch: handle });
      else if (failure !== undefined) this.find("unreadable", { switch: handle });

      const bypass = this.bypasses.switches.find((x) => x.switch === handle);
      if (bypass === undefined) return;
      const subject = (name) => ({ class: { switch: handle, class: name } });
      for (const dirty of bypass.dirty) {
        if (j.holds(dirty.vlans, this.vlan)) this.find("bypass", subject(dirty.class));
      }
      for (const name of bypass.unread) {
        this.notAssessed.push(subject(name));
        if (!this.accepted.includes(name)) this.find("unreadable", subject(name));
      }
    }

    judgement() {
      const findings = sortedOnce(this.findings, findingOrder);
      const some = (list) => findings.some((f) => list.includes(f.finding));
      return {
        verdict: some(ISOLATION) ? "violated" : some(VISIBILITY) ? "unknown" : "isolated",
        conforms: !some(CONNECTIVITY),
        public: this.section.access === "public",
        findings,
        exits: exitsOnce(this.exits),
        not_assessed: notAssessedOnce(this.notAssessed),
      };
    }
  }

  function placeText(place) {
    return `${place.switch} ${place.port}`;
  }

  function portSubject(port) {
    return { port: { switch: port.switch, port: port.port } };
  }

  function carriesNow(line) {
    return line.carries !== "none" && !line.down;
  }

  function isAllowed(line) {
    return line.link !== null || line.exit !== null;
  }

  // `tagged` is without `untagged`, so together they are all ids exactly when they are that many.
  function carriesAll(port) {
    const untagged = port.untagged !== null && !j.holds(port.tagged, port.untagged) ? 1 : 0;
    return j.sizeOf(port.tagged) + untagged === 4094;
  }

  function isMember(section, project) {
    if (project === null) return false;
    return section.access === "public" || section.access.projects.includes(project) || section.owner.project === project;
  }

  // `sectionDigest` is BLAKE3 of the section's text.
  function check(parts, s, section, sectionDigest) {
    if (s.vlan !== section.vlan || s.lease !== section.lease) iso.refuse("other-slice", "slice and section are of two VLANs or leases");
    const index = s.networks.indexOf(sectionDigest);
    if (index < 0) iso.refuse("no-section", "the slice does not list this section");
    checkOrder(parts, s, section);
    checkAttachments(s, section, index);
  }

  function judge(parts, s, section, accepted) {
    return new Judge(parts, s, section, accepted).judge();
  }

  iso.slice = {
    shapes: { slice, section, common, roster, scope, coverage, bypasses, wide }, PARTS: ["roster", "scope", "coverage", "bypasses", "wide"],
    exit, KINDS, VISIBILITY, ISOLATION, check, judge, exitsOnce, notAssessedOnce, notAssessedOrder, exitOrder, by,
  };
})(globalThis.isoverify = globalThis.isoverify || {});
