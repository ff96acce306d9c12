//! What the policy demands beyond a good proof, and the one place where an outcome becomes `Verified`.

use crate::Options;
use crate::claim::Proven;
use crate::opened::Signed;
use crate::report::{Assessed, CheckName, Checks, Isolated, Outcome, Report, Sentence, Trust, Why};
use crate::words;
use isoledger_core::judge::{NotAssessed, Verdict};
use isoledger_core::policy::{Policy, PortRef, Stanza};
use isoledger_core::range::{Blind, PollVerdict, RangeFold};
use isoledger_core::time::{Span, Timestamp};
use std::collections::BTreeSet;
use std::marker::PhantomData;

/// How far a witness's clock and the recorder's may stand apart.
pub(crate) const CLOCKS: Span = Span::from_secs(60);

/// A demand that is met. Made by [`met`] only, where the demand was looked at.
pub(crate) struct Met<D>(PhantomData<D>);

fn met<D>() -> Met<D> {
    Met(PhantomData)
}

/// The demands, as types: a value of one is not a value of another.
pub(crate) mod demands {
    pub(crate) struct Request;
    pub(crate) struct Times;
    pub(crate) struct Audit;
    pub(crate) struct Isolation;
    pub(crate) struct Members;
    pub(crate) struct Exits;
    pub(crate) struct Public;
    pub(crate) struct NotAssessed;
    pub(crate) struct Freshness;
}
use demands as d;

/// One value of every demand. Leaving a demand out does not compile.
pub(crate) struct AllMet {
    _request: Met<d::Request>,
    _times: Met<d::Times>,
    _audit: Met<d::Audit>,
    _isolation: Met<d::Isolation>,
    _members: Met<d::Members>,
    _exits: Met<d::Exits>,
    _public: Met<d::Public>,
    _not_assessed: Met<d::NotAssessed>,
    _freshness: Met<d::Freshness>,
}

/// The stanza that speaks of a claim.
pub(crate) fn find_stanza<'p>(signed: &Signed<'_>, policy: &'p Policy) -> Option<&'p Stanza> {
    let c = signed.claim();
    policy.stanza(&c.network, &c.domain, &c.project, c.vlan, signed.key().name())
}

/// Holds a proven claim against the policy and the request.
pub(crate) fn decide(
    proven: &Proven<'_>,
    policy: &Policy,
    stanza: Option<&Stanza>,
    options: &Options,
    report: &mut Report,
    checks: &mut Checks,
) -> Outcome {
    let mut demand = Demand { proven, policy, options, checks, violation: false, bad: false };
    demand.stanza(stanza);
    let request = demand.request();
    let times = demand.times();
    let audit = demand.audit();
    report.rests_on = sentences(proven, policy, audit.is_some());
    let (isolation, assessed) = demand.isolation();
    report.assessed = Some(assessed);
    report.now = options.fresh;
    let Some(stanza) = stanza else {
        demand.freshness();
        return if demand.bad { Outcome::Refuted(Why::Proof) } else { Outcome::Undecided };
    };
    let members = demand.members(stanza);
    let exits = demand.exits(stanza);
    let public = demand.public(stanza);
    let not_assessed = demand.not_assessed(stanza);
    let freshness = demand.freshness();
    if demand.bad {
        return Outcome::Refuted(Why::Proof);
    }
    if demand.violation {
        return Outcome::Refuted(Why::Violation);
    }
    match (request, times, audit, isolation, members, exits, public, not_assessed, freshness) {
        (
            Some(_request),
            Some(_times),
            Some(_audit),
            Some(_isolation),
            Some(_members),
            Some(_exits),
            Some(_public),
            Some(_not_assessed),
            Some(_freshness),
        ) => Outcome::Verified(Isolated::of(AllMet {
            _request,
            _times,
            _audit,
            _isolation,
            _members,
            _exits,
            _public,
            _not_assessed,
            _freshness,
        })),
        _ => Outcome::Undecided,
    }
}

struct Demand<'a> {
    proven: &'a Proven<'a>,
    policy: &'a Policy,
    options: &'a Options,
    checks: &'a mut Checks,
    // A demand is proven broken.
    violation: bool,
    // This is no answer to what was asked.
    bad: bool,
}

impl Demand<'_> {
    fn pass<D>(&mut self, check: CheckName, detail: impl AsRef<str>) -> Option<Met<D>> {
        self.checks.passed(check, detail);
        Some(met())
    }

    fn leave<D>(&mut self, check: CheckName, detail: impl AsRef<str>) -> Option<Met<D>> {
        self.checks.undecided(check, detail);
        None
    }

    fn violated<D>(&mut self, check: CheckName, detail: impl AsRef<str>) -> Option<Met<D>> {
        self.checks.failed(check, detail);
        self.violation = true;
        None
    }

    fn stanza(&mut self, stanza: Option<&Stanza>) {
        let c = self.proven.claim;
        match stanza {
            Some(s) => self.checks.passed(CheckName::Stanza, format!("line {} of the policy", s.line)),
            None => self.checks.undecided(
                CheckName::Stanza,
                format!(
                    "the policy says nothing of network {:?} (VLAN {}) of domain {:?} for project {:?} by {}",
                    c.network, c.vlan, c.domain, c.project, c.log.origin
                ),
            ),
        }
    }

    // The claim is an answer to what was asked.
    fn request(&mut self) -> Option<Met<d::Request>> {
        let (c, o) = (self.proven.claim, self.options);
        let mut wrong = Vec::new();
        if let Some(from) = o.from.filter(|t| *t != c.from) {
            wrong.push(format!("its range begins at {}, {from} was asked for", c.from));
        }
        if let Some(to) = o.to.filter(|t| *t != c.to) {
            wrong.push(format!("its range ends at {}, {to} was asked for", c.to));
        }
        if let Some(nonce) = o.nonce.as_ref().filter(|n| Some(*n) != c.nonce.as_ref()) {
            wrong.push(match &c.nonce {
                Some(found) => format!("it answers the nonce {found:?}, not {nonce:?}"),
                None => format!("it answers no nonce, {nonce:?} was given"),
            });
        }
        if !wrong.is_empty() {
            self.checks.failed(CheckName::Request, wrong.join("; "));
            self.bad = true;
            return None;
        }
        let asked = [o.from.map(|_| "from"), o.to.map(|_| "to"), o.nonce.as_ref().map(|_| "nonce")];
        let asked: Vec<&str> = asked.into_iter().flatten().collect();
        let words = if asked.is_empty() {
            "no range and no nonce was asked for".to_owned()
        } else {
            format!("{} as asked for", asked.join(", "))
        };
        self.pass(CheckName::Request, words)
    }

    // Whether the quorum confirms a poll: soon after it ended, and not before.
    fn confirms(&self, seq: u64, ended: Timestamp) -> bool {
        self.policy.quorum().is_none()
            || self
                .proven
                .heads
                .confirmed(seq)
                .is_some_and(|c| c.since(ended) <= self.policy.witnessed_within() && ended <= c.plus(CLOCKS))
    }

    fn times(&mut self) -> Option<Met<d::Times>> {
        let Some(quorum) = self.policy.quorum() else {
            return self
                .pass(CheckName::Witnesses, "none is asked for: times and history are the operator's word");
        };
        let polls = &self.proven.versions.polls;
        let confirmed = polls.iter().filter(|(p, _)| self.confirms(p.seq, p.ended)).count();
        let words = format!(
            "{} cosigned {} checkpoints; they confirm {confirmed} of {} polls within {}",
            self.policy.quorum_in_words(quorum),
            self.proven.heads.with_quorum(),
            polls.len(),
            self.policy.witnessed_within()
        );
        if confirmed == 0 {
            return self.leave(CheckName::Witnesses, words);
        }
        self.pass(CheckName::Witnesses, words)
    }

    fn audit(&mut self) -> Option<Met<d::Audit>> {
        let end = self.proven.entries.end;
        let Some(quorum) = self.policy.audit() else {
            return self.pass(
                CheckName::Auditors,
                "none is asked for: that slices follow from the recorded evidence is the operator's word",
            );
        };
        let who = self.policy.quorum_in_words(quorum);
        if self.proven.heads.audited(end) {
            return self
                .pass(CheckName::Auditors, format!("{who} cosigned a checkpoint of at least {end} entries"));
        }
        self.leave(
            CheckName::Auditors,
            format!("no checkpoint of at least {end} entries is cosigned by {who}; ask for the file again after the next audit"),
        )
    }

    // The range once more, by the policy's gap and acceptances, counting only times that are confirmed.
    fn isolation(&mut self) -> (Option<Met<d::Isolation>>, Assessed) {
        let (claim, versions) = (self.proven.claim, self.proven.versions);
        let mut fold = RangeFold::new(claim.from, self.policy.max_gap());
        let mut unconfirmed = 0;
        for (p, state) in &versions.polls {
            let reading = &state.accepted;
            let (mut verdict, mut blind) = (reading.verdict, reading.blind.clone());
            if !self.confirms(p.seq, p.ended) {
                unconfirmed += 1;
                blind.insert(Blind::Everything);
                // A violation the recorder itself signed stands, whenever it was.
                if verdict == Verdict::Isolated {
                    verdict = Verdict::Unknown;
                }
            }
            fold.push(&PollVerdict { seq: p.seq, started: p.started, ended: p.ended, verdict, blind });
        }
        let conforms = versions.states.iter().all(|s| s.conforms);
        let assessed = Assessed::new(fold.finish(claim.to), unconfirmed, conforms);
        let met = match assessed.verdict {
            Verdict::Isolated => {
                self.pass(CheckName::Isolation, words::isolated(&assessed, self.policy.max_gap()))
            }
            Verdict::Violated => self.violated(CheckName::Isolation, words::violated(&assessed, versions)),
            Verdict::Unknown => self.leave(
                CheckName::Isolation,
                words::unknown(&assessed, self.policy.max_gap(), &versions.names),
            ),
        };
        (met, assessed)
    }

    fn members(&mut self, stanza: &Stanza) -> Option<Met<d::Members>> {
        let states = &self.proven.versions.states;
        let all: BTreeSet<&(String, String)> = states.iter().flat_map(|s| &s.members).collect();
        let Some(wanted) = &stanza.members else {
            let words = format!("the policy leaves them open; declared: {}", words::nics(all));
            return self.pass(CheckName::Members, words);
        };
        let extra: BTreeSet<_> = all.iter().filter(|m| !wanted.nics.contains(**m)).copied().collect();
        if wanted.exactly && !extra.is_empty() {
            let words = format!("declared and not in the policy: {}", words::nics(extra));
            return self.violated(CheckName::Members, words);
        }
        let missing: BTreeSet<_> =
            wanted.nics.iter().filter(|m| states.iter().any(|s| !s.members.contains(*m))).collect();
        if !missing.is_empty() {
            let words = format!("in the policy and not declared all the time: {}", words::nics(missing));
            return self.leave(CheckName::Members, words);
        }
        let rest = if wanted.exactly { ", and nobody else" } else { "" };
        self.pass(
            CheckName::Members,
            format!("declared all the time: {}{rest}", words::nics(wanted.nics.iter())),
        )
    }

    fn exits(&mut self, stanza: &Stanza) -> Option<Met<d::Exits>> {
        let found: BTreeSet<&str> = self.proven.claim.exits.iter().map(|e| e.name.as_str()).collect();
        let Some(wanted) = &stanza.exits else {
            let words = format!("the policy leaves them open; found: {}", words::list(found));
            return self.pass(CheckName::Exits, words);
        };
        let extra: BTreeSet<&str> = found.iter().filter(|e| !wanted.contains(**e)).copied().collect();
        if !extra.is_empty() {
            let words = format!("carry the network and are not in the policy: {}", words::list(extra));
            return self.violated(CheckName::Exits, words);
        }
        let missing: BTreeSet<&str> =
            wanted.iter().map(String::as_str).filter(|e| !found.contains(e)).collect();
        if !missing.is_empty() {
            let words = format!("in the policy and never carried the network: {}", words::list(missing));
            return self.leave(CheckName::Exits, words);
        }
        self.pass(CheckName::Exits, format!("as the policy says: {}", words::list(found)))
    }

    fn public(&mut self, stanza: &Stanza) -> Option<Met<d::Public>> {
        match (self.proven.versions.states.iter().any(|s| s.public), stanza.public_ok) {
            (false, _) => self.pass(CheckName::Public, "not public"),
            (true, true) => self.pass(CheckName::Public, "any project may join, which the policy accepts"),
            (true, false) => self.leave(
                CheckName::Public,
                "any project may join the network; the policy accepts that only with \"public ok\"",
            ),
        }
    }

    fn not_assessed(&mut self, stanza: &Stanza) -> Option<Met<d::NotAssessed>> {
        let names = &self.proven.versions.names;
        let mut open = BTreeSet::new();
        for n in &self.proven.claim.not_assessed {
            if let NotAssessed::Port { port, reason, .. } = n {
                let accepted = stanza.accept_unassessed.iter().any(|r| match r {
                    PortRef::Handle(h) => h == port,
                    PortRef::Named(id) => names.disclosed(port) == Some(id),
                });
                if !accepted {
                    open.insert(format!("{} ({port}): {reason:?}", names.port(port)));
                }
            }
        }
        if !open.is_empty() {
            let words =
                format!("ports nobody assesses and the policy does not accept: {}", words::list(open));
            return self.leave(CheckName::NotAssessed, words);
        }
        let said = words::not_assessed(&self.proven.claim.not_assessed, names);
        self.pass(CheckName::NotAssessed, format!("as the policy allows, nobody assesses {said}"))
    }

    // Age of the newest poll and of the newest cosignature. The nonce itself is the request's.
    fn freshness(&mut self) -> Option<Met<d::Freshness>> {
        let Some(now) = self.options.fresh else { return Some(met()) };
        let within = self.policy.fresh_within();
        let mut wrong = Vec::new();
        if self.options.nonce.is_none() {
            wrong.push("only an answer to a nonce of one's own can be fresh".to_owned());
        }
        let mut age = |what: &str, at: Option<Timestamp>| match at {
            None => wrong.push(format!("there is no {what}")),
            Some(t) if t > now.plus(CLOCKS) => {
                wrong.push(format!("the {what} is of {t}, later than now ({now})"))
            }
            Some(t) if now.since(t) > within => {
                wrong.push(format!("the {what} is of {t}, older than {within}"));
            }
            Some(_) => {}
        };
        age("last poll", self.proven.versions.polls.last().map(|(p, _)| p.ended));
        if self.policy.quorum().is_some() {
            age("newest cosignature of the quorum", self.proven.heads.newest_quorum());
        }
        if wrong.is_empty() {
            return self.pass(CheckName::Freshness, format!("nothing is older than {within} at {now}"));
        }
        self.leave(CheckName::Freshness, wrong.join("; "))
    }
}

// What is shown so far, and on whose word.
fn sentences(proven: &Proven<'_>, policy: &Policy, audited: bool) -> Vec<Sentence> {
    let say = |rests_on, sentence: String| Sentence { rests_on, sentence };
    let mut out = vec![say(
        Trust::Anyone,
        "No poll of the range is left out and none was changed since it was signed; the verdict follows from the \
         slices, which this program judged anew."
            .into(),
    )];
    out.push(match policy.quorum() {
        Some(q) => say(
            Trust::Anyone,
            format!(
                "That there is one history for all, and that polls were recorded when they say, is confirmed by {}.",
                policy.quorum_in_words(q)
            ),
        ),
        None => say(Trust::Recorder, "Times and history are the operator's word: the policy asks for no witness.".into()),
    });
    out.push(match policy.audit() {
        Some(q) if audited => say(
            Trust::Auditor,
            format!("That the slices follow from the recorded evidence is shown by {}.", policy.quorum_in_words(q)),
        ),
        Some(q) => say(
            Trust::Recorder,
            format!(
                "That the slices follow from the recorded evidence is the operator's word until {} has cosigned.",
                policy.quorum_in_words(q)
            ),
        ),
        None => say(
            Trust::Recorder,
            match proven.claim.audited_to {
                Some(n) => format!(
                    "That the slices follow from the recorded evidence is the operator's word, and so is that an \
                     auditor has cosigned {n} entries: the policy asks for none."
                ),
                None => "That the slices follow from the recorded evidence is the operator's word: the policy asks for \
                         no auditor."
                    .into(),
            },
        ),
    });
    out.push(say(
        Trust::Recorder,
        "That the evidence is what switches and cloud manager answered is trusted to the recorder at the time of \
         recording."
            .into(),
    ));
    out
}
