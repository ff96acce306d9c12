// The range as a picture: polls by verdict, violations, stretches without a good reading, and when the quorum cosigned. All of it
// stands below in words too.
"use strict";

(function (iso) {
  const SVG = "http://www.w3.org/2000/svg";
  const LANE = 20, GAP = 12, LABEL = 18;

  function element(name, attributes = {}, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  // ---- what there is to draw ----------------------------------------------------------------------------------------

  // Polls one after the other with one verdict are one mark: a month has a quarter of a million.
  function runs(polls) {
    const found = [];
    for (const poll of polls) {
      const last = found[found.length - 1];
      if (last !== undefined && last.verdict === poll.verdict) {
        last.to = poll.ended;
        last.polls += 1;
      } else {
        found.push({ verdict: poll.verdict, from: poll.started, to: poll.ended, polls: 1 });
      }
    }
    return found;
  }

  function sourceText(source) {
    if (source === "everything") return "everything";
    return source === "manager" ? "the cloud manager" : `switch ${source.slice(0, 12)}…`;
  }

  // From the first moment to the last of which anything is shown.
  function spanOf(claim, polls) {
    const times = [claim.from, claim.to, ...polls.slice(0, 1).map((p) => p.started), ...polls.slice(-1).map((p) => p.ended)];
    const from = Math.min(...times), to = Math.max(...times);
    return { from, to: Math.max(to, from + 1) };
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  class Picture {
    constructor(span) {
      this.span = span;
      this.y = 0;
      this.svg = element("svg", { role: "img" });
      this.svg.append(this.hatch());
    }

    // Slanted lines; the pattern is drawn in pixels, so it stays even at any width.
    hatch() {
      const defs = element("defs");
      const pattern = element("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
      pattern.append(element("rect", { width: 8, height: 8, class: "hatch-ground" }), element("line", { y2: 8, class: "hatch-line" }));
      defs.append(pattern);
      return defs;
    }

    percent(time) {
      const { from, to } = this.span;
      return (100 * (Math.min(Math.max(time, from), to) - from)) / (to - from);
    }

    // A mark is at least a few pixels wide, so that nothing that happened is too short to be seen.
    mark(from, to, style, title) {
      const x = this.percent(from);
      const outer = element("svg", { x: `${x}%`, y: this.y, width: `${Math.max(this.percent(to) - x, 0.4)}%`, height: LANE });
      const rect = element("rect", { width: "100%", height: LANE, class: style });
      rect.append(element("title", {}, title));
      outer.append(rect);
      this.svg.append(outer);
    }

    lane(name, draw) {
      this.svg.append(element("text", { x: 0, y: this.y + 13 }, name));
      this.y += LABEL;
      this.svg.append(element("rect", { x: 0, y: this.y, width: "100%", height: LANE, class: "lane" }));
      draw();
      this.y += LANE + GAP;
    }

    tick(time) {
      const x = `${this.percent(time)}%`;
      this.svg.append(element("line", { x1: x, x2: x, y1: this.y, y2: this.y + LANE, class: "cosigned" }));
    }

    axis(claim) {
      const ends = [[claim.from, "start", "from"], [claim.to, "end", "to"]];
      for (const [time, anchor, word] of ends) {
        const x = `${this.percent(time)}%`;
        this.svg.append(element("line", { x1: x, x2: x, y1: 0, y2: this.y, class: "tick", "stroke-dasharray": "2 3" }));
        this.svg.append(element("text", { x: anchor === "start" ? 0 : "100%", y: this.y + (anchor === "start" ? 14 : 32), "text-anchor": anchor },
          `${word} ${iso.timeText(time)}`));
      }
      this.y += 38;
    }

    finish(label) {
      this.svg.setAttribute("height", this.y);
      this.svg.setAttribute("aria-label", label);
      return this.svg;
    }
  }

  function draw(claim, demands) {
    const { judged, range, times } = demands;
    const picture = new Picture(spanOf(claim, judged));
    const text = iso.timeText;
    picture.lane("polls", () => {
      for (const run of runs(judged)) {
        picture.mark(run.from, run.to, run.verdict, `${iso.words.counted(run.polls, "poll")} ${run.verdict}, ${text(run.from)} to ${text(run.to)}`);
      }
    });
    if (range.violations.length > 0) {
      picture.lane("violations", () => {
        for (const v of range.violations) {
          picture.mark(v.after, v.by, "onset", `began between ${text(v.after)} and ${text(v.by)}`);
          picture.mark(v.by, v.overBy ?? claim.to, "violated", iso.words.violationText(v));
        }
      });
    }
    if (range.blind.length > 0) {
      picture.lane("no good reading", () => {
        for (const s of range.blind) {
          picture.mark(s.from, s.to, "hatched", `${sourceText(s.source)}: ${text(s.from)} to ${text(s.to)}`);
        }
      });
    }
    if (times !== null && times.length > 0) {
      picture.lane("cosigned", () => times.forEach(({ time }) => picture.tick(time)));
    }
    picture.axis(claim);
    return picture.finish(`${judged.length} polls, ${range.violations.length} violations, ${range.blind.length} stretches without a good reading`);
  }

  // ---- in words -----------------------------------------------------------------------------------------------------

  function events({ range, policy }) {
    const list = range.violations.map((v) => ({ at: v.after, bad: true, text: `Not isolated: ${iso.words.violationText(v)}.` }));
    for (const s of range.blind) {
      const length = iso.words.seconds(s.to - s.from);
      list.push({
        at: s.from, bad: false,
        text: `No good reading of ${sourceText(s.source)} from ${iso.timeText(s.from)} to ${iso.timeText(s.to)}: ${length}, ${iso.spanText(policy.maxGap)} allowed.`,
      });
    }
    return list.sort((a, b) => a.at - b.at);
  }

  iso.timeline = { draw, events, runs };
})(globalThis.isoverify = globalThis.isoverify || {});
