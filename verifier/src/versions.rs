//! Versions of the VLAN tree: each opened once at the network's VLAN, its texts read, its verdict recomputed.

use crate::entries::{Entries, PollAt};
use crate::opened::{Bound, Signed};
use crate::report::CheckName::{Semantics, Slices, Versions as VersionsCheck};
use crate::report::{Checks, Stop};
use isoledger_core::SEMANTICS;
use isoledger_core::assemble::may_join;
use isoledger_core::attestation::Predicate;
use isoledger_core::evidence::Version;
use isoledger_core::hash::Digest;
use isoledger_core::json;
use isoledger_core::judge::{CommonIndex, Finding, Judgement, NotAssessed, Verdict, judge};
use isoledger_core::model::{BypassClass, Owner, PortId};
use isoledger_core::policy::Stanza;
use isoledger_core::range::{Blind, blind_sources};
use isoledger_core::slice::{
    Bypasses, Common, CommonPart, Coverage, ExitView, MAX_SLICE, NetworkSection, Roster, ScopeView, Slice,
    Wide,
};
use isoledger_core::vlantree::{Leaf, SlotKey, root_from};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The polls of the range that are opened, each with what its version says of the network.
pub(crate) struct Versions {
    pub(crate) polls: Vec<(PollAt, Rc<Judged>)>,
    /// What each distinct state says; every one is some poll's.
    pub(crate) states: Vec<Rc<Judged>>,
    pub(crate) names: Names,
}

/// What one state says of the network.
pub(crate) struct Judged {
    pub(crate) lease: u64,
    /// Accepting nothing, as the recorder judges.
    pub(crate) plain: Reading,
    /// Accepting what the policy accepts to be unread.
    pub(crate) accepted: Reading,
    pub(crate) public: bool,
    pub(crate) conforms: bool,
    pub(crate) findings: Vec<Finding>,
    pub(crate) exits: Vec<ExitView>,
    pub(crate) not_assessed: Vec<NotAssessed>,
    pub(crate) members: BTreeSet<(String, String)>,
}

/// A verdict and the sources it misses.
pub(crate) struct Reading {
    pub(crate) verdict: Verdict,
    pub(crate) blind: BTreeSet<Blind>,
}

impl Reading {
    fn of(j: &Judgement) -> Reading {
        Reading { verdict: j.verdict, blind: blind_sources(j) }
    }
}

/// Names of handles, where the scope discloses them.
#[derive(Default)]
pub(crate) struct Names {
    switches: HashMap<Digest, String>,
    ports: HashMap<Digest, PortId>,
}

impl Names {
    /// A switch by name, or by the beginning of its handle.
    pub(crate) fn switch(&self, handle: &Digest) -> String {
        self.switches.get(handle).cloned().unwrap_or_else(|| short(handle))
    }

    /// A port by its two names, or by the beginning of its handle.
    pub(crate) fn port(&self, handle: &Digest) -> String {
        self.ports.get(handle).map_or_else(|| short(handle), |p| format!("{}/{}", p.switch, p.port))
    }

    /// The name of a port, where it is disclosed.
    pub(crate) fn disclosed(&self, handle: &Digest) -> Option<&PortId> {
        self.ports.get(handle)
    }

    fn note(&mut self, switch: Digest, port: Digest, name: Option<&PortId>) {
        if let Some(name) = name {
            self.switches.entry(switch).or_insert_with(|| name.switch.clone());
            self.ports.entry(port).or_insert_with(|| name.clone());
        }
    }

    fn note_all(&mut self, common: &Common, slice: &Slice) {
        for s in &common.roster.switches {
            if let Some(name) = &s.name {
                self.switches.entry(s.switch).or_insert_with(|| name.clone());
            }
        }
        common.scope.unassessed.iter().for_each(|u| self.note(u.switch, u.port, u.name.as_ref()));
        common.wide.ports.iter().for_each(|w| self.note(w.switch, w.port, w.name.as_ref()));
        slice.ports.iter().for_each(|p| self.note(p.switch, p.port, p.name.as_ref()));
    }
}

fn short(handle: &Digest) -> String {
    format!("{}…", &handle.to_hex()[..12])
}

pub(crate) fn check(
    signed: &Signed<'_>,
    bound: &Bound,
    entries: &Entries,
    stanza: Option<&Stanza>,
    checks: &mut Checks,
) -> Result<Versions, Stop> {
    let evidence = bound.evidence();
    let opened = opened_polls(&evidence.versions, entries)?;
    if let Some(p) = opened.iter().find(|(p, _)| p.semantics != SEMANTICS) {
        return Err(Stop::undecided(
            Semantics,
            format!(
                "poll {} follows semantics {}, this program knows {SEMANTICS}: use a newer one to judge it",
                p.0.seq, p.0.semantics
            ),
        ));
    }
    let roots: HashMap<u64, Digest> = opened.iter().map(|(p, _)| (p.version, p.root)).collect();
    let mut reader = Reader {
        texts: Texts::new(&evidence.texts)?,
        keys: Keys::new(bound)?,
        claim: signed.claim(),
        origin_hash: Digest::of(evidence.origin.as_bytes()),
        accept: stanza.map(|s| s.accept_unread.clone()).unwrap_or_default(),
        common: None,
        judged: HashMap::new(),
        states: Vec::new(),
        names: Names::default(),
    };
    let mut states = Vec::with_capacity(evidence.versions.len());
    for v in &evidence.versions {
        let Some(root) = roots.get(&v.version) else {
            let words = format!("version {} is no poll's of the range", v.version);
            return Err(Stop::failed(VersionsCheck, words));
        };
        states.push(reader.open(v, root)?);
    }
    reader.keys.all_used()?;
    reader.texts.all_used()?;
    checks.passed(
        VersionsCheck,
        format!(
            "{} distinct, each opened at VLAN {} under the root its polls state",
            states.len(),
            evidence.vlan
        ),
    );
    checks.passed(
        Slices,
        format!(
            "canonical, complete, of network {:?} in domain {:?}, open to project {:?}",
            evidence.network,
            signed.claim().domain,
            signed.claim().project
        ),
    );
    checks.passed(Semantics, format!("every poll follows semantics {SEMANTICS} and was judged anew"));
    let polls = opened.into_iter().map(|(p, at)| (p, Rc::clone(&states[at]))).collect();
    Ok(Versions { polls, states: reader.states, names: reader.names })
}

// Each poll whose version is in the file, with the index of that version. Only a poll that closes an end may stay
// unopened: it can belong to a lease that is not this project's.
fn opened_polls(versions: &[Version], entries: &Entries) -> Result<Vec<(PollAt, usize)>, Stop> {
    if let Some(w) = versions.windows(2).find(|w| w[0].version >= w[1].version) {
        let words =
            format!("version {} follows version {}: each stands once, ascending", w[1].version, w[0].version);
        return Err(Stop::failed(VersionsCheck, words));
    }
    let mut opened = Vec::with_capacity(entries.polls.len());
    for p in &entries.polls {
        match versions.binary_search_by_key(&p.version, |v| v.version) {
            Ok(at) => opened.push((*p, at)),
            Err(_) if p.closing => {}
            Err(_) => {
                let words =
                    format!("poll {} lies in the range and its version {} is not opened", p.seq, p.version);
                return Err(Stop::failed(VersionsCheck, words));
            }
        }
    }
    Ok(opened)
}

struct Texts<'a> {
    // Sorted by digest.
    texts: Vec<(Digest, &'a str)>,
    used: Vec<bool>,
}

impl<'a> Texts<'a> {
    fn new(texts: &'a [String]) -> Result<Texts<'a>, Stop> {
        let texts: Vec<(Digest, &str)> =
            texts.iter().map(|t| (Digest::of(t.as_bytes()), t.as_str())).collect();
        if texts.windows(2).any(|w| w[0].0 >= w[1].0) {
            return Err(Stop::failed(Slices, "the texts are not sorted by digest, each once"));
        }
        let used = vec![false; texts.len()];
        Ok(Texts { texts, used })
    }

    fn get(&mut self, what: &'static str, digest: &Digest) -> Result<&'a [u8], Stop> {
        let at = self.texts.binary_search_by(|(d, _)| d.cmp(digest)).map_err(|_| {
            Stop::failed(Slices, format!("{what} with digest {digest} is not among the texts"))
        })?;
        self.used[at] = true;
        Ok(self.texts[at].1.as_bytes())
    }

    // Reads a text; `v` gives its version, which must be 1.
    fn read<T: Serialize + DeserializeOwned>(
        &mut self,
        what: &'static str,
        digest: &Digest,
        v: impl Fn(&T) -> u32,
    ) -> Result<T, Stop> {
        let bytes = self.get(what, digest)?;
        let value: T = json::from_canonical(what, bytes, MAX_SLICE).map_err(|e| Stop::failed(Slices, e))?;
        if v(&value) != 1 {
            let words = format!("{what} has version {}; this program knows version 1", v(&value));
            return Err(Stop::undecided(Slices, words));
        }
        Ok(value)
    }

    fn all_used(&self) -> Result<(), Stop> {
        match self.used.iter().position(|u| !u) {
            None => Ok(()),
            Some(at) => {
                let words = format!("the text with digest {} belongs to no version", self.texts[at].0);
                Err(Stop::failed(Slices, words))
            }
        }
    }
}

struct Keys {
    keys: BTreeMap<u64, (SlotKey, bool)>,
}

impl Keys {
    fn new(bound: &Bound) -> Result<Keys, Stop> {
        let leases = &bound.evidence().leases;
        if leases.windows(2).any(|w| w[0].lease >= w[1].lease) {
            return Err(Stop::failed(VersionsCheck, "the leases are not sorted by number, each once"));
        }
        Ok(Keys { keys: leases.iter().map(|l| (l.lease, (SlotKey(l.key.0), false))).collect() })
    }

    fn get(&mut self, lease: u64) -> Option<SlotKey> {
        let (key, used) = self.keys.get_mut(&lease)?;
        *used = true;
        Some(*key)
    }

    fn all_used(&self) -> Result<(), Stop> {
        match self.keys.iter().find(|(_, (_, used))| !used) {
            None => Ok(()),
            Some((lease, _)) => {
                Err(Stop::failed(VersionsCheck, format!("the key of lease {lease} opens no version")))
            }
        }
    }
}

struct Reader<'a> {
    texts: Texts<'a>,
    keys: Keys,
    claim: &'a Predicate,
    origin_hash: Digest,
    accept: BTreeSet<BypassClass>,
    // The common part that was read last, with its digest: most versions share most of its sections.
    common: Option<(Digest, CommonPart, Common)>,
    judged: HashMap<(Digest, Digest, Digest), Rc<Judged>>,
    states: Vec<Rc<Judged>>,
    names: Names,
}

impl Reader<'_> {
    fn open(&mut self, v: &Version, root: &Digest) -> Result<Rc<Judged>, Stop> {
        let fail = |words: String| Stop::failed(VersionsCheck, format!("version {}: {words}", v.version));
        let state = (v.common, v.slice, v.section);
        let judged = match self.judged.get(&state) {
            Some(judged) => Rc::clone(judged),
            None => {
                let judged = Rc::new(self.judge(v)?);
                self.states.push(Rc::clone(&judged));
                self.judged.insert(state, Rc::clone(&judged));
                judged
            }
        };
        if judged.lease > v.version {
            return Err(fail(format!("its lease {} begins later", judged.lease)));
        }
        let key = self.keys.get(judged.lease);
        let key = key.ok_or_else(|| fail(format!("the key of its lease {} is missing", judged.lease)))?;
        let siblings = v.siblings().ok_or_else(|| fail("its proof is not 384 bytes of base64".into()))?;
        // The slot is the claim's VLAN; a proof has no say in it.
        let leaf = Leaf {
            slot: self.claim.vlan.get(),
            version: v.version,
            origin_hash: self.origin_hash,
            slice: v.slice,
            common: v.common,
        };
        if root_from(&leaf, &key, &siblings) != *root {
            let words = format!(
                "slice and proof do not lead from VLAN {} to the root its polls state",
                self.claim.vlan
            );
            return Err(fail(words));
        }
        Ok(judged)
    }

    fn judge(&mut self, v: &Version) -> Result<Judged, Stop> {
        let slice: Slice = self.texts.read("the slice", &v.slice, |s: &Slice| s.v)?;
        let section: NetworkSection =
            self.texts.read("the network's section", &v.section, |s: &NetworkSection| s.v)?;
        self.open_common(&v.common)?;
        let claim = self.claim;
        let fail = |words: String| Stop::failed(Slices, format!("version {}: {words}", v.version));
        if (&section.name, section.vlan, slice.vlan) != (&claim.network, claim.vlan, claim.vlan) {
            return Err(fail(format!(
                "the section is of network {:?} on VLAN {}, the claim of {:?} on VLAN {}",
                section.name, section.vlan, claim.network, claim.vlan
            )));
        }
        // What the administrators own is theirs to ask about, under the name the cloud manager gives them.
        let admin = section.owner == Owner::Admin && claim.project == "admin";
        if !admin && !may_join(&section.owner, &section.access, &claim.project) {
            return Err(fail(format!("the network was not open to project {:?}", claim.project)));
        }
        let Some((_, _, common)) = &self.common else {
            return Err(fail("its common part is missing".into()));
        };
        if common.scope.domain != claim.domain {
            let found = &common.scope.domain;
            return Err(fail(format!("the slice is of domain {found:?}, the claim of {:?}", claim.domain)));
        }
        let index = CommonIndex::new(common);
        let plain = judge(&index, &slice, &section, &BTreeSet::new()).map_err(|e| fail(e.to_string()))?;
        let accepted = if self.accept.is_empty() {
            Reading::of(&plain)
        } else {
            Reading::of(&judge(&index, &slice, &section, &self.accept).map_err(|e| fail(e.to_string()))?)
        };
        self.names.note_all(common, &slice);
        Ok(Judged {
            lease: slice.lease,
            plain: Reading::of(&plain),
            accepted,
            public: plain.public,
            conforms: plain.conforms,
            findings: plain.findings,
            exits: plain.exits,
            not_assessed: plain.not_assessed,
            members: section.attachments.into_iter().map(|m| (m.node, m.nic)).collect(),
        })
    }

    fn open_common(&mut self, digest: &Digest) -> Result<(), Stop> {
        if self.common.as_ref().is_some_and(|(d, _, _)| d == digest) {
            return Ok(());
        }
        let part: CommonPart = self.texts.read("the common part", digest, |p: &CommonPart| p.v)?;
        let (old, sections) = match self.common.take() {
            Some((_, old, common)) => (Some(old), Some(common)),
            None => (None, None),
        };
        let (roster, scope, coverage, bypasses, wide) = match sections {
            Some(c) => (Some(c.roster), Some(c.scope), Some(c.coverage), Some(c.bypasses), Some(c.wide)),
            None => (None, None, None, None, None),
        };
        let texts = &mut self.texts;
        let was = |field: fn(&CommonPart) -> Digest| old.as_ref().map(field);
        let common = Common {
            roster: keep(
                texts,
                roster,
                was(|p| p.roster),
                "the roster section",
                part.roster,
                |s: &Roster| s.v,
            )?,
            scope: keep(texts, scope, was(|p| p.scope), "the scope section", part.scope, |s: &ScopeView| {
                s.v
            })?,
            coverage: keep(
                texts,
                coverage,
                was(|p| p.coverage),
                "the coverage section",
                part.coverage,
                |s: &Coverage| s.v,
            )?,
            bypasses: keep(
                texts,
                bypasses,
                was(|p| p.bypasses),
                "the bypass section",
                part.bypasses,
                |s: &Bypasses| s.v,
            )?,
            wide: keep(texts, wide, was(|p| p.wide), "the wide section", part.wide, |s: &Wide| s.v)?,
        };
        self.common = Some((*digest, part, common));
        Ok(())
    }
}

// A section that the common part before had too is not read again.
fn keep<T: Serialize + DeserializeOwned>(
    texts: &mut Texts<'_>,
    old: Option<T>,
    old_digest: Option<Digest>,
    what: &'static str,
    digest: Digest,
    v: impl Fn(&T) -> u32,
) -> Result<T, Stop> {
    match old {
        Some(section) if old_digest == Some(digest) => Ok(section),
        _ => texts.read(what, &digest, v),
    }
}
