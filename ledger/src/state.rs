//! From a poll entry back to everything that poll knew: what was declared, what every switch did, when each was
//! read, and what follows from it for every network. Time travel is this, at an older entry.
//!
//! [`PollState::load`] takes the record, the opening of its commitment, and a way to fetch content by digest. All
//! bytes are checked on the way: the opening against the entry, content against its digest, and every piece against
//! its one canonical spelling. What comes out has the operator's names, not tenants' handles, and is confidential.

use crate::read::{ReadError, ReadLog};
use isoledger_core::assemble::{Assembly, Inputs, Names, SourceView, SwitchView, active_moving, assemble};
use isoledger_core::content::{MAX_CONTENT, Manifest, Opening, Snapshot, SourceState};
use isoledger_core::json::{self, JsonError};
use isoledger_core::judge::{CommonIndex, FindingKind, Judgement, NotAssessed, Subject, Verdict, judge};
use isoledger_core::lease::Slots;
use isoledger_core::model::{BypassClass, Declared, Observed, PortId, Scope, Window};
use isoledger_core::record::{Body, Poll, Record};
use isoledger_core::slice::ExitView;
use isoledger_core::{Digest, SEMANTICS, Timestamp, VlanId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How many snapshots a [`Snapshots`] cache keeps parsed unless told otherwise.
pub const KEPT_SNAPSHOTS: usize = 4;

/// What a finding is about, by the operator's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// A logical port.
    Port(PortId),
    /// A switch.
    Switch(String),
    /// A class of bypass on a switch.
    Class {
        /// The switch.
        switch: String,
        /// The class.
        class: BypassClass,
    },
    /// The cloud manager.
    Manager,
    /// A nic, through one or more of its attachments.
    Nic {
        /// The node.
        node: String,
        /// The nic.
        nic: String,
    },
    /// A network itself.
    Network(String),
}

impl Place {
    /// The switch it is on, if it is on one.
    pub fn switch(&self) -> Option<&str> {
        match self {
            Place::Port(id) => Some(&id.switch),
            Place::Switch(switch) | Place::Class { switch, .. } => Some(switch),
            Place::Manager | Place::Nic { .. } | Place::Network(_) => None,
        }
    }

    /// The port it is, if it is one.
    pub fn port(&self) -> Option<&PortId> {
        match self {
            Place::Port(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Port(id) => write!(f, "port {id}"),
            Place::Switch(switch) => write!(f, "switch {switch}"),
            Place::Class { switch, class } => write!(f, "{class} on switch {switch}"),
            Place::Manager => f.write_str("the cloud manager"),
            Place::Nic { node, nic } => write!(f, "nic {nic} of node {node}"),
            Place::Network(name) => write!(f, "network {name}"),
        }
    }
}

/// The operator's name for the subject of a finding about `network`. A handle that `names` does not hold stands for
/// itself, in hex.
pub fn place_of(names: &Names, network: &str, subject: &Subject) -> Place {
    let switch = |handle: &Digest| names.switches.get(handle).cloned().unwrap_or_else(|| handle.to_hex());
    match subject {
        Subject::Port(peer) => Place::Port(
            names
                .ports
                .get(&peer.port)
                .cloned()
                .unwrap_or_else(|| PortId::new(switch(&peer.switch), peer.port.to_hex())),
        ),
        Subject::Switch(handle) => Place::Switch(switch(handle)),
        Subject::Class { switch: handle, class } => Place::Class { switch: switch(handle), class: *class },
        Subject::Manager => Place::Manager,
        Subject::Nic { node, nic } => Place::Nic { node: node.clone(), nic: nic.clone() },
        Subject::Network => Place::Network(network.to_owned()),
    }
}

/// A finding by the operator's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFinding {
    /// What.
    pub finding: FindingKind,
    /// Where.
    pub place: Place,
    /// It was so between the reading before and this one, and at neither.
    #[serde(default, skip_serializing_if = "no")]
    pub passed: bool,
}

fn no(b: &bool) -> bool {
    !*b
}

/// What a poll says of one network, by the operator's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkState {
    /// Its VLAN; `None` when its id cannot be judged.
    pub vlan: Option<VlanId>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why nothing can be said, for a network whose verdict is unknown without a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether every attachment is carried as declared.
    pub conforms: bool,
    /// Whether any project may join.
    pub public: bool,
    /// Sorted, each once.
    pub findings: Vec<NamedFinding>,
    /// Exits that carry the network.
    pub exits: Vec<ExitView>,
    /// What was not assessed; ports and switches by handle.
    pub not_assessed: Vec<NotAssessed>,
}

/// Everything that does not change between polls in which nothing changed, parsed.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Digest of the snapshot.
    pub digest: Digest,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The scope in force.
    pub scope: Arc<Scope>,
    /// Leases and keys. Secret.
    pub slots: Arc<Slots>,
    /// The declared state in force; empty until there is one.
    pub declared: Arc<Declared>,
    /// What each switch of the snapshot did, in the snapshot's order; `None` for a failed one.
    pub observed: Vec<Option<Arc<Observed>>>,
}

/// The few newest snapshots that were asked for, parsed. Polls that share a snapshot share what is in it, and
/// snapshots that follow each other share every state that did not change.
#[derive(Debug)]
pub struct Snapshots {
    // Newest first.
    kept: Vec<Arc<Parsed>>,
    capacity: usize,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots::with_capacity(KEPT_SNAPSHOTS)
    }
}

impl Snapshots {
    /// Keeps up to `capacity` snapshots, at least one.
    pub fn with_capacity(capacity: usize) -> Snapshots {
        Snapshots { kept: Vec::new(), capacity: capacity.max(1) }
    }

    fn get(&mut self, digest: &Digest) -> Option<Arc<Parsed>> {
        let at = self.kept.iter().position(|p| p.digest == *digest)?;
        let found = self.kept.remove(at);
        self.kept.insert(0, found.clone());
        Some(found)
    }

    fn put(&mut self, parsed: Arc<Parsed>) {
        self.kept.insert(0, parsed);
        self.kept.truncate(self.capacity);
    }

    fn scope(&self, digest: &Digest) -> Option<Arc<Scope>> {
        self.kept.iter().find(|p| p.snapshot.scope == *digest).map(|p| p.scope.clone())
    }

    fn slots(&self, digest: &Digest) -> Option<Arc<Slots>> {
        self.kept.iter().find(|p| p.snapshot.slots == *digest).map(|p| p.slots.clone())
    }

    fn declared(&self, digest: &Digest) -> Option<Arc<Declared>> {
        self.kept.iter().find(|p| p.snapshot.manager.state == Some(*digest)).map(|p| p.declared.clone())
    }

    fn observed(&self, switch: &str, digest: &Digest) -> Option<Arc<Observed>> {
        self.kept.iter().find_map(|p| {
            let at = p.snapshot.switches.binary_search_by(|s| s.name.as_str().cmp(switch)).ok()?;
            (p.snapshot.switches[at].source.state == Some(*digest)).then(|| p.observed[at].clone())?
        })
    }
}

/// Everything one poll knew.
#[derive(Clone, Debug)]
pub struct PollState {
    /// The entry's number.
    pub seq: u64,
    /// The record's body.
    pub poll: Poll,
    /// Read times.
    pub manifest: Manifest,
    /// The rest.
    pub parsed: Arc<Parsed>,
}

impl PollState {
    /// Loads what the poll in `record` knew. `content` fetches bytes by digest: `None` when they are not (or no
    /// longer) stored, an error when the store failed.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn load<E: std::error::Error + 'static>(
        record: &Record,
        opening: &Opening,
        content: &dyn Fn(&Digest) -> Result<Option<Vec<u8>>, E>,
        cache: &mut Snapshots,
    ) -> Result<PollState, StateError<E>> {
        let seq = record.seq;
        let Body::Poll(poll) = &record.body else {
            return Err(StateError::NotAPoll { seq, kind: record.body.kind().to_owned() });
        };
        if poll.semantics != SEMANTICS {
            return Err(StateError::Semantics { seq, found: poll.semantics });
        }
        if opening.commit(&Digest::of(record.origin.as_bytes()), seq) != poll.content {
            return Err(StateError::Opening { seq });
        }
        let fetch = Fetch { seq, content };
        let manifest: Manifest = fetch.read("the manifest", &opening.digest)?;
        fetch.version("the manifest", manifest.v)?;
        let parsed = match cache.get(&manifest.snapshot) {
            Some(parsed) => parsed,
            None => {
                let parsed = Arc::new(Parsed::fetch(&fetch, manifest.snapshot, cache)?);
                cache.put(parsed.clone());
                parsed
            }
        };
        let state = PollState { seq, poll: poll.clone(), manifest, parsed };
        state.check_manifest().map_err(|what| StateError::Contradiction { seq, what })?;
        Ok(state)
    }

    /// Loads what poll `seq` of a log knew.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn of(
        log: &impl ReadLog,
        seq: u64,
        cache: &mut Snapshots,
    ) -> Result<PollState, StateError<ReadError>> {
        let at = |source| StateError::Log { seq, source };
        let record = log.record(seq).map_err(at)?;
        let Some(opening) = log.opening(seq).map_err(at)? else {
            return Err(match record.body {
                Body::Poll(_) => StateError::NoOpening { seq },
                body => StateError::NotAPoll { seq, kind: body.kind().to_owned() },
            });
        };
        let content = |digest: &Digest| match log.content(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::NoContent { .. }) => Ok(None),
            Err(e) => Err(e),
        };
        PollState::load(&record, &opening, &content, cache)
    }

    // What an honest recorder never writes, and what the methods below rely on.
    fn check_manifest(&self) -> Result<(), String> {
        let (m, switches) = (&self.manifest, &self.parsed.snapshot.switches);
        if m.switches.len() != switches.len() {
            return Err(format!(
                "the manifest has read times for {} switches, the snapshot has {}",
                m.switches.len(),
                switches.len()
            ));
        }
        let rereads = m.rereads.iter().map(|(_, _, a, b)| (*a, *b));
        for (from, to) in m.switches.iter().copied().chain(rereads).chain([m.manager]) {
            if from > to || Manifest::window(self.poll.started, (from, to)).ended > self.poll.ended {
                return Err(format!("a reading from {from} ms to {to} ms does not end with the poll"));
            }
        }
        let mut places: Vec<(u32, &str)> = m.rereads.iter().map(|(i, p, ..)| (*i, p.as_str())).collect();
        let known = |i: u32| usize::try_from(i).is_ok_and(|i| i < switches.len());
        if let Some((i, port)) = places.iter().find(|(i, _)| !known(*i)) {
            return Err(format!("port {port} was read again on switch {i}, of {}", switches.len()));
        }
        places.sort_unstable();
        if let Some(twice) = places.windows(2).find(|w| w[0] == w[1]) {
            return Err(format!(
                "port {} of switch {} is listed twice as read again",
                twice[0].1, twice[0].0
            ));
        }
        Ok(())
    }

    /// When the poll began.
    pub fn started(&self) -> Timestamp {
        self.poll.started
    }

    /// When the poll ended.
    pub fn ended(&self) -> Timestamp {
        self.poll.ended
    }

    /// The scope in force.
    pub fn scope(&self) -> &Scope {
        &self.parsed.scope
    }

    /// The declared state in force: the last one read. Not judged while the cloud manager is
    /// [failed](SourceState::failure).
    pub fn declared(&self) -> &Declared {
        &self.parsed.declared
    }

    /// What a switch did; `None` for one that was not read.
    pub fn observed(&self, switch: &str) -> Option<&Observed> {
        self.index(switch).and_then(|i| self.parsed.observed[i].as_deref())
    }

    /// The cloud manager as it was met.
    pub fn manager(&self) -> &SourceState {
        &self.parsed.snapshot.manager
    }

    /// A switch as it was met.
    pub fn switch(&self, switch: &str) -> Option<&SourceState> {
        self.index(switch).map(|i| &self.parsed.snapshot.switches[i].source)
    }

    /// The switches of the poll, in the order of their names.
    pub fn switches(&self) -> impl Iterator<Item = (&str, &SourceState, Option<&Arc<Observed>>)> {
        let named = self.parsed.snapshot.switches.iter();
        named.zip(&self.parsed.observed).map(|(s, o)| (s.name.as_str(), &s.source, o.as_ref()))
    }

    fn index(&self, switch: &str) -> Option<usize> {
        self.parsed.snapshot.switches.binary_search_by(|s| s.name.as_str().cmp(switch)).ok()
    }

    /// When the declared state in force was read, partial readings included; may lie before the poll.
    pub fn manager_window(&self) -> Window {
        Manifest::window(self.poll.started, self.manifest.manager)
    }

    /// When a switch was read, or asked in vain.
    pub fn switch_window(&self, switch: &str) -> Option<Window> {
        self.index(switch).map(|i| Manifest::window(self.poll.started, self.manifest.switches[i]))
    }

    /// When a port was last read in this poll: its second reading if there was one, else that of its switch.
    pub fn port_window(&self, port: &PortId) -> Option<Window> {
        let i = self.index(&port.switch)?;
        let again = self
            .manifest
            .rereads
            .iter()
            .find(|(at, name, ..)| usize::try_from(*at).is_ok_and(|at| at == i) && *name == port.port);
        let offsets = again.map_or(self.manifest.switches[i], |(_, _, from, to)| (*from, *to));
        Some(Manifest::window(self.poll.started, offsets))
    }

    /// The ports that were read again, with the window of that reading.
    pub fn rereads(&self) -> impl Iterator<Item = (PortId, Window)> + '_ {
        self.manifest.rereads.iter().filter_map(|(i, port, from, to)| {
            let switch = self.parsed.snapshot.switches.get(usize::try_from(*i).ok()?)?;
            let window = Manifest::window(self.poll.started, (*from, *to));
            Some((PortId::new(switch.name.as_str(), port.as_str()), window))
        })
    }

    /// Ports whose change excuses a disagreement in this poll.
    pub fn moving(&self) -> BTreeSet<PortId> {
        active_moving(&self.parsed.snapshot.moving, self.poll.started)
    }

    /// Calls `f` with what [`assemble`] needs.
    pub fn with_inputs<R>(&self, f: impl FnOnce(&Inputs<'_>) -> R) -> R {
        fn view(s: &SourceState) -> SourceView<'_> {
            SourceView { reader: &s.reader, identity: s.identity.as_deref(), failure: s.failure }
        }
        let switches: BTreeMap<String, SwitchView<'_>> = self
            .switches()
            .map(|(name, source, observed)| {
                (name.to_owned(), SwitchView { source: view(source), observed: observed.map(|o| &**o) })
            })
            .collect();
        f(&Inputs {
            scope: &self.parsed.scope,
            scope_seq: self.parsed.snapshot.scope_seq,
            slots: &self.parsed.slots,
            declared: &self.parsed.declared,
            manager: view(&self.parsed.snapshot.manager),
            switches: &switches,
            moving: &self.moving(),
        })
    }

    /// Slices, common part and names, as the recorder cut them.
    pub fn assembly(&self) -> Assembly {
        self.with_inputs(assemble)
    }

    /// Verdict and findings of every network, those that cannot be judged included.
    pub fn judge_all(&self) -> BTreeMap<String, NetworkState> {
        let assembly = self.assembly();
        let index = CommonIndex::new(&assembly.common);
        let mut all = BTreeMap::new();
        for (name, section) in &assembly.networks {
            let slice = assembly.slices.get(&section.vlan.get());
            let state = match slice.map(|slice| judge(&index, slice, section, &BTreeSet::new())) {
                Some(Ok(j)) => named(&assembly.names, name, section.vlan, j),
                Some(Err(e)) => unjudged(Some(section.vlan), format!("its slice contradicts itself: {e}")),
                None => unjudged(Some(section.vlan), "its VLAN has no slice".to_owned()),
            };
            all.insert(name.clone(), state);
        }
        for (name, id) in &assembly.unassessable {
            all.insert(name.clone(), unjudged(None, unassessable(id)));
        }
        all
    }
}

/// Why a network with this VLAN id cannot be judged.
pub fn unassessable(id: &str) -> String {
    format!("its VLAN id is {id:?}; only 1 to 4094 can be judged")
}

fn named(names: &Names, network: &str, vlan: VlanId, j: Judgement) -> NetworkState {
    let mut findings: Vec<NamedFinding> = j
        .findings
        .iter()
        .map(|f| NamedFinding {
            finding: f.finding,
            place: place_of(names, network, &f.subject),
            passed: f.passed,
        })
        .collect();
    findings.sort();
    NetworkState {
        vlan: Some(vlan),
        verdict: j.verdict,
        reason: None,
        conforms: j.conforms,
        public: j.public,
        findings,
        exits: j.exits,
        not_assessed: j.not_assessed,
    }
}

fn unjudged(vlan: Option<VlanId>, reason: String) -> NetworkState {
    NetworkState {
        vlan,
        verdict: Verdict::Unknown,
        reason: Some(reason),
        conforms: true,
        public: false,
        findings: Vec::new(),
        exits: Vec::new(),
        not_assessed: Vec::new(),
    }
}

struct Fetch<'a, E> {
    seq: u64,
    content: &'a dyn Fn(&Digest) -> Result<Option<Vec<u8>>, E>,
}

impl<E: std::error::Error + 'static> Fetch<'_, E> {
    fn read<T: Serialize + DeserializeOwned>(
        &self,
        what: &'static str,
        digest: &Digest,
    ) -> Result<T, StateError<E>> {
        let (seq, digest) = (self.seq, *digest);
        let bytes = (self.content)(&digest).map_err(|source| StateError::Store { seq, what, source })?;
        let bytes = bytes.ok_or(StateError::Missing { seq, what, digest })?;
        if Digest::of(&bytes) != digest {
            return Err(StateError::Digest { seq, what, digest });
        }
        json::from_canonical(what, &bytes, MAX_CONTENT).map_err(|source| StateError::Json { seq, source })
    }

    fn version(&self, what: &'static str, v: u32) -> Result<(), StateError<E>> {
        if v == 1 { Ok(()) } else { Err(StateError::Version { seq: self.seq, what, found: v }) }
    }
}

impl Parsed {
    fn fetch<E: std::error::Error + 'static>(
        fetch: &Fetch<'_, E>,
        digest: Digest,
        cache: &Snapshots,
    ) -> Result<Parsed, StateError<E>> {
        let snapshot: Snapshot = fetch.read("the snapshot", &digest)?;
        fetch.version("the snapshot", snapshot.v)?;
        check_snapshot(&snapshot).map_err(|what| StateError::Contradiction { seq: fetch.seq, what })?;
        let scope = match cache.scope(&snapshot.scope) {
            Some(known) => known,
            None => Arc::new(fetch.read("the scope", &snapshot.scope)?),
        };
        let slots = match cache.slots(&snapshot.slots) {
            Some(known) => known,
            None => {
                let slots: Slots = fetch.read("the leases", &snapshot.slots)?;
                fetch.version("the leases", slots.v)?;
                Arc::new(slots)
            }
        };
        let declared = match &snapshot.manager.state {
            None => Arc::default(),
            Some(digest) => match cache.declared(digest) {
                Some(known) => known,
                None => Arc::new(fetch.read("the declared state", digest)?),
            },
        };
        let mut observed = Vec::with_capacity(snapshot.switches.len());
        for s in &snapshot.switches {
            observed.push(match &s.source.state {
                None => None,
                Some(digest) => Some(match cache.observed(&s.name, digest) {
                    Some(known) => known,
                    None => Arc::new(fetch.read("a switch's state", digest)?),
                }),
            });
        }
        Ok(Parsed { digest, snapshot, scope, slots, declared, observed })
    }
}

fn check_snapshot(s: &Snapshot) -> Result<(), String> {
    if !s.switches.is_sorted_by(|a, b| a.name < b.name) {
        return Err("the snapshot lists a switch twice or out of order".to_owned());
    }
    for s in &s.switches {
        if s.source.failure.is_none() != s.source.state.is_some() {
            return Err(format!("switch {} must have either a state or a failure", s.name));
        }
    }
    if s.manager.failure.is_none() && s.manager.state.is_none() {
        return Err("the cloud manager has neither a state nor a failure".to_owned());
    }
    Ok(())
}

/// Why the state of a poll cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError<E: std::error::Error + 'static> {
    /// Another type of entry.
    #[error("entry {seq} is of type {kind}; only a poll has a state")]
    NotAPoll {
        /// The entry.
        seq: u64,
        /// Its type.
        kind: String,
    },
    /// Semantics of a later program.
    #[error("poll {seq} follows semantics {found}; this program knows {SEMANTICS}: use a newer one")]
    Semantics {
        /// The entry.
        seq: u64,
        /// What it says.
        found: u32,
    },
    /// The log failed.
    #[error("entry {seq} could not be read: {source}")]
    Log {
        /// The entry.
        seq: u64,
        /// The log's error.
        source: E,
    },
    /// The opening is gone, and with it the way from the entry to its content.
    #[error("no opening is kept for poll {seq}: what it knew cannot be told from its entry")]
    NoOpening {
        /// The entry.
        seq: u64,
    },
    /// The opening is of another entry or another content.
    #[error("the opening kept for poll {seq} does not open the commitment in its entry")]
    Opening {
        /// The entry.
        seq: u64,
    },
    /// The store failed.
    #[error("{what} of poll {seq} could not be fetched: {source}")]
    Store {
        /// The entry.
        seq: u64,
        /// What was fetched.
        what: &'static str,
        /// The store's error.
        source: E,
    },
    /// Not stored: archived, destroyed, or never here.
    #[error("{what} of poll {seq} is not stored here (BLAKE3 {digest}); it may have been archived")]
    Missing {
        /// The entry.
        seq: u64,
        /// What was fetched.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// Other bytes than the poll committed to.
    #[error("{what} of poll {seq} has other bytes than the digest {digest} it is stored under")]
    Digest {
        /// The entry.
        seq: u64,
        /// What was fetched.
        what: &'static str,
        /// The digest it is stored under.
        digest: Digest,
    },
    /// Too large, malformed or not canonical.
    #[error("poll {seq}: {source}")]
    Json {
        /// The entry.
        seq: u64,
        /// Why.
        source: JsonError,
    },
    /// A format version of a later program.
    #[error("{what} of poll {seq} has version {found}; this program knows version 1: use a newer one")]
    Version {
        /// The entry.
        seq: u64,
        /// What was fetched.
        what: &'static str,
        /// Its version.
        found: u32,
    },
    /// Content that contradicts itself.
    #[error("the content of poll {seq} contradicts itself: {what}")]
    Contradiction {
        /// The entry.
        seq: u64,
        /// How.
        what: String,
    },
}

/// The poll in force at entry `seq`: the last one up to it. `None` before the first.
///
/// # Errors
/// The log's.
pub fn poll_at_seq(log: &impl ReadLog, seq: u64) -> Result<Option<u64>, ReadError> {
    let Some(last) = log.size()?.checked_sub(1) else { return Ok(None) };
    // Entries of other types stand between polls in ones and twos.
    for seq in (0..=seq.min(last)).rev() {
        if let Body::Poll(_) = log.record(seq)?.body {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

/// What was known at entry `seq` of a log. `None` before the first poll.
///
/// # Errors
/// The log's, or [`StateError`].
pub fn state_at_seq(
    log: &impl ReadLog,
    seq: u64,
    cache: &mut Snapshots,
) -> Result<Option<PollState>, StateError<ReadError>> {
    let seq = poll_at_seq(log, seq).map_err(|source| StateError::Log { seq, source })?;
    seq.map(|seq| PollState::of(log, seq, cache)).transpose()
}

/// What was known at `time`: by the last poll that had ended by then. `None` before the first.
///
/// # Errors
/// The log's, or [`StateError`].
pub fn state_at_time(
    log: &impl ReadLog,
    time: Timestamp,
    cache: &mut Snapshots,
) -> Result<Option<PollState>, StateError<ReadError>> {
    let seq = log.seq_at_time(time).map_err(|source| StateError::Log { seq: 0, source })?;
    seq.map(|seq| PollState::of(log, seq, cache)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::divergence::{Divergences, FactsMaker};
    use crate::log::Ledger;
    use crate::recorder::{EvidenceBytes, InForce, Readings, Recorder, Source};
    use crate::sequence::Pending;
    use isoledger_core::model::{
        Access, Attachment, BypassReading, Channel, Failure, Network, NetworkVlan, Owner, PortReading,
        PortState, Reader, ScopeSwitch,
    };
    use isoledger_core::note::NoteSigner;
    use std::collections::HashMap;
    use std::convert::Infallible;

    const ORIGIN: &str = "audit.example/moc";
    // What evidence begins with here, to tell it from what is loaded.
    const EVIDENCE: &[u8] = b"evidence of ";

    fn t(s: u64) -> Timestamp {
        Timestamp::from_millis(1_772_446_000_000 + s * 1000).unwrap()
    }

    fn window(from: u64, to: u64) -> Window {
        Window { started: t(from), ended: t(to) }
    }

    fn reader() -> Reader {
        Reader { dialect: "test".into(), version: 1 }
    }

    fn scope() -> Arc<Scope> {
        let switches = ["sw0", "sw1"].map(|s| (s.to_owned(), ScopeSwitch::default())).into();
        Arc::new(Scope { domain: "moc".into(), switches, ..Scope::default() })
    }

    fn declared() -> Declared {
        let mut d = Declared::default();
        let access = Access::Projects(["red".to_owned()].into());
        let vlan = |id: &str| match id.parse().ok().and_then(VlanId::new) {
            Some(v) => NetworkVlan::Id(v),
            None => NetworkVlan::Unassessable(id.into()),
        };
        for (name, id) in [("red-net", "100"), ("odd-net", "4096")] {
            let owner = Owner::Project("red".into());
            d.networks.insert(name.into(), Network { vlan: vlan(id), owner, access: access.clone() });
        }
        d.attachments.insert(Attachment {
            network: "red-net".into(),
            project: Some("red".into()),
            node: "n1".into(),
            nic: "eth0".into(),
            mac: None,
            port: Some(PortId::new("sw0", "p1")),
            channel: Channel::Tagged(VlanId::new(100).unwrap()),
        });
        d
    }

    fn observed(ports: &[(&str, u16)]) -> Observed {
        let port = |v: &u16| PortState {
            tagged: isoledger_core::VlanSet::one(VlanId::new(*v).unwrap()),
            ..PortState::default()
        };
        Observed {
            ports: ports.iter().map(|(p, v)| ((*p).to_owned(), PortReading::Read(port(v)))).collect(),
            bypasses: BypassClass::ALL.map(|c| (c, BypassReading::Clean)).into(),
            ..Observed::default()
        }
    }

    // One poll at `at`, in seconds; `None` for a switch that is silent.
    fn readings(at: u64, sw0: Option<&[(&str, u16)]>) -> Readings {
        let source = |outcome: Result<Observed, (Failure, String)>| Source {
            reader: reader(),
            identity: None,
            window: window(at + 1, at + 2),
            evidence: outcome
                .as_ref()
                .ok()
                .map(|o| EvidenceBytes::new([EVIDENCE, &json::to_canonical(o)].concat())),
            outcome,
        };
        let sw0 = sw0.map(observed).ok_or((Failure::Silent, "no answer".to_owned()));
        Readings {
            started: t(at),
            ended: t(at + 4),
            manager: reader(),
            manager_identity: None,
            manager_failure: None,
            in_force: Some(InForce {
                declared: Arc::new(declared()),
                evidence: EvidenceBytes::new(EVIDENCE.to_vec()),
                window: window(at, at + 1),
            }),
            switches: [("sw0", source(sw0)), ("sw1", source(Ok(observed(&[]))))]
                .map(|(name, s)| (name.to_owned(), s))
                .into(),
            moving: BTreeSet::new(),
            rereads: [(PortId::new("sw0", "p2"), window(at + 3, at + 4))].into(),
        }
    }

    fn entropy() -> impl FnMut() -> [u8; 32] {
        let mut n = 0u64;
        move || {
            n += 1;
            Digest::of(&n.to_be_bytes()).0
        }
    }

    struct Log {
        records: Vec<(Record, Opening)>,
        content: HashMap<Digest, Vec<u8>>,
    }

    fn log(polls: Vec<Readings>) -> Log {
        let mut entropy = entropy();
        let mut recorder = Recorder::new(ORIGIN, scope(), 0, None, &mut entropy);
        let mut log = Log { records: Vec::new(), content: HashMap::new() };
        for (seq, readings) in (1..).zip(polls) {
            let look = recorder.look(&readings, seq, &mut entropy).unwrap();
            let p = recorder.prepare(&readings, look, seq, &mut entropy);
            let record = Record {
                origin: ORIGIN.into(),
                seq,
                time: readings.ended,
                prev: Digest::ZERO,
                body: p.body.clone(),
            };
            log.records.push((record, p.opening));
            log.content.extend(p.content.iter().cloned());
            recorder.recorded(p);
        }
        log
    }

    impl Log {
        fn load(&self, at: usize, cache: &mut Snapshots) -> Result<PollState, StateError<Infallible>> {
            let (record, opening) = &self.records[at];
            PollState::load(record, opening, &|d| Ok(self.content.get(d).cloned()), cache)
        }

        // The same log with another content in place of what `digest` names, committed to by the first poll.
        fn with_manifest(&self, edit: impl FnOnce(&mut Manifest)) -> Log {
            let (record, opening) = &self.records[0];
            let mut manifest: Manifest =
                json::from_canonical("manifest", &self.content[&opening.digest], MAX_CONTENT).unwrap();
            edit(&mut manifest);
            let bytes = json::to_canonical(&manifest);
            let opening = Opening { digest: Digest::of(&bytes), ..*opening };
            let mut record = record.clone();
            if let Body::Poll(p) = &mut record.body {
                p.content = opening.commit(&Digest::of(ORIGIN.as_bytes()), record.seq);
            }
            let mut content = self.content.clone();
            content.insert(opening.digest, bytes);
            Log { records: vec![(record, opening)], content }
        }
    }

    #[test]
    fn everything_a_poll_knew() {
        let log = log(vec![
            readings(10, Some(&[("p1", 100)])),
            readings(20, Some(&[("p1", 100)])),
            readings(30, Some(&[("p1", 100), ("p2", 100)])),
            readings(40, None),
        ]);
        let mut cache = Snapshots::default();
        let state: Vec<PollState> = (0..4).map(|at| log.load(at, &mut cache).unwrap()).collect();
        assert!(Arc::ptr_eq(&state[0].parsed, &state[1].parsed), "unchanged polls share what they knew");
        assert!(Arc::ptr_eq(&state[0].parsed.declared, &state[2].parsed.declared));
        let sw1 = |s: &PollState| s.parsed.observed[1].clone().unwrap();
        assert!(Arc::ptr_eq(&sw1(&state[0]), &sw1(&state[3])), "and changed ones what did not change");

        assert_eq!((state[1].started(), state[1].ended()), (t(20), t(24)));
        assert_eq!(state[1].manager_window(), window(20, 21));
        assert_eq!(state[1].switch_window("sw0"), Some(window(21, 22)));
        assert_eq!(state[1].port_window(&PortId::new("sw0", "p1")), Some(window(21, 22)));
        assert_eq!(state[1].port_window(&PortId::new("sw0", "p2")), Some(window(23, 24)));
        assert_eq!(state[1].port_window(&PortId::new("sw1", "p2")), Some(window(21, 22)));
        assert_eq!(state[1].switch_window("sw9"), None);
        assert_eq!(state[1].declared(), &declared());
        assert_eq!(state[0].observed("sw0"), Some(&observed(&[("p1", 100)])));
        assert_eq!(state[3].observed("sw0"), None);
        assert_eq!(state[3].switch("sw0").and_then(|s| s.failure), Some(Failure::Silent));

        let judged: Vec<_> = state.iter().map(PollState::judge_all).collect();
        let verdicts: Vec<Verdict> = judged.iter().map(|j| j["red-net"].verdict).collect();
        use Verdict::*;
        assert_eq!(verdicts, [Isolated, Isolated, Violated, Unknown]);
        let place = Place::Port(PortId::new("sw0", "p2"));
        assert_eq!(
            judged[2]["red-net"].findings,
            [NamedFinding { finding: FindingKind::UnregisteredPort, place, passed: false }]
        );
        let place = Place::Switch("sw0".into());
        assert_eq!(
            judged[3]["red-net"].findings,
            [NamedFinding { finding: FindingKind::Silent, place, passed: false }]
        );
        let odd = &judged[0]["odd-net"];
        assert_eq!((odd.verdict, odd.vlan), (Unknown, None));
        assert_eq!(odd.reason.as_deref(), Some("its VLAN id is \"4096\"; only 1 to 4094 can be judged"));
    }

    #[test]
    fn the_cache_forgets() {
        let log = log((0..6).map(|i| readings(10 * i, Some(&[("p1", 100 + i as u16)]))).collect());
        let mut cache = Snapshots::with_capacity(2);
        let first = log.load(0, &mut cache).unwrap();
        for at in 0..6 {
            log.load(at, &mut cache).unwrap();
            assert!(cache.kept.len() <= 2);
        }
        let again = log.load(0, &mut cache).unwrap();
        assert!(!Arc::ptr_eq(&first.parsed, &again.parsed));
        assert_eq!(first.parsed.snapshot, again.parsed.snapshot);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = log(vec![readings(10, Some(&[("p1", 100)])), readings(20, Some(&[("p1", 100)]))]);
        let load = |log: &Log| log.load(0, &mut Snapshots::default());
        assert!(load(&good).is_ok());

        let mut log = Log { records: good.records.clone(), content: good.content.clone() };
        log.records[0].1 = log.records[1].1;
        assert!(matches!(load(&log), Err(StateError::Opening { seq: 1 })));
        log.records[0] = good.records[0].clone();
        log.records[0].0.body = Body::LogRecovered { reason: "torn-tail".into(), size: 1 };
        assert!(matches!(load(&log), Err(StateError::NotAPoll { seq: 1, .. })));
        log.records[0] = good.records[0].clone();
        if let Body::Poll(p) = &mut log.records[0].0.body {
            p.semantics = SEMANTICS + 1;
        }
        assert!(matches!(load(&log), Err(StateError::Semantics { .. })));

        // Every piece of content: missing, and other bytes under its digest.
        let whole = load(&good).unwrap();
        let second = good.records[1].1.digest;
        let loaded = |d: &&Digest| !good.content[*d].starts_with(EVIDENCE);
        for digest in good.content.keys().filter(loaded).filter(|d| **d != second) {
            let mut log = Log { records: good.records.clone(), content: good.content.clone() };
            log.content.remove(digest);
            assert!(matches!(load(&log), Err(StateError::Missing { .. })), "{digest}");
            log.content.insert(*digest, b"{}".to_vec());
            assert!(matches!(load(&log), Err(StateError::Digest { .. })), "{digest}");
        }

        let refused = |edit: fn(&mut Manifest)| {
            let e = load(&good.with_manifest(edit)).map(|s| s.seq);
            assert!(matches!(e, Err(StateError::Contradiction { .. })), "{e:?}");
        };
        assert_eq!(load(&good.with_manifest(|_| ())).unwrap().manifest, whole.manifest);
        refused(|m| m.switches.truncate(1));
        refused(|m| m.switches[0] = (5, 4));
        refused(|m| m.switches[0] = (0, 4001));
        refused(|m| m.manager = (i64::MIN, i64::MAX));
        refused(|m| m.rereads[0].0 = 2);
        refused(|m| m.rereads.push(m.rereads[0].clone()));
        let other = good.with_manifest(|m| m.v = 2);
        assert!(matches!(load(&other), Err(StateError::Version { found: 2, .. })));
        let long_ago = good.with_manifest(|m| m.manager = (i64::MIN, 0));
        assert_eq!(load(&long_ago).unwrap().manager_window().started.millis(), 0);

        let broken = |d: &Digest| match *d == good.records[0].1.digest {
            true => Err(std::io::Error::other("disk")),
            false => Ok(good.content.get(d).cloned()),
        };
        let (record, opening) = &good.records[0];
        let e = PollState::load(record, opening, &broken, &mut Snapshots::default());
        assert!(matches!(e, Err(StateError::Store { .. })));
    }

    #[test]
    fn time_travel_through_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let signer = Arc::new(NoteSigner::new(ORIGIN, &[7; 32]).unwrap());
        let mut ledger = Ledger::create(&dir.path().join("data"), ORIGIN, "moc", signer, t(0)).unwrap();
        let mut cache = Snapshots::default();
        assert!(state_at_seq(&*ledger, 0, &mut cache).unwrap().is_none());
        let mut entropy = entropy();
        let mut recorder = Recorder::new(ORIGIN, scope(), 0, None, &mut entropy);
        let (mut maker, mut all) = (FactsMaker::default(), Divergences::new());
        let ports: [&[(&str, u16)]; 3] = [&[("p1", 100)], &[("p1", 100), ("p2", 100)], &[("p1", 100)]];
        for (i, ports) in (1u64..).zip(ports) {
            let readings = readings(10 * i, Some(ports));
            let look = recorder.look(&readings, ledger.next_seq(), &mut entropy).unwrap();
            let p = recorder.prepare(&readings, look, ledger.next_seq(), &mut entropy);
            let poll = Pending {
                time: readings.ended,
                body: p.body.clone(),
                opening: Some(p.opening),
                content: p.content.clone(),
            };
            let note = Opening { opening: [1; 32], digest: Digest::of(b"seen") };
            let commitment = note.commit(&Digest::of(ORIGIN.as_bytes()), ledger.next_seq() + 1);
            let noted = Pending {
                time: readings.ended,
                body: Body::DivergenceAcknowledged { commitment },
                opening: Some(note),
                content: vec![(note.digest, b"seen".to_vec())],
            };
            ledger.append(vec![poll, noted]).unwrap();
            let state = PollState::of(&*ledger, ledger.next_seq() - 2, &mut cache).unwrap();
            assert_eq!(state.assembly(), p.view.assembly);
            all.push(&maker.facts_of(&state, &p.view.assembly, &p.view.judged)).unwrap();
            recorder.recorded(p);
        }
        // Entries: genesis, then a poll and a note three times. Polls end at 14, 24 and 34.
        for (seq, poll) in [(0, None), (1, Some(1)), (2, Some(1)), (4, Some(3)), (5, Some(5)), (99, Some(5))]
        {
            let found = state_at_seq(&*ledger, seq, &mut cache).unwrap();
            assert_eq!(found.map(|s| s.seq), poll, "entry {seq}");
        }
        for (at, poll) in [(9, None), (13, None), (14, Some(1)), (23, Some(1)), (24, Some(3)), (900, Some(5))]
        {
            let found = state_at_time(&*ledger, t(at), &mut cache).unwrap();
            assert_eq!(found.map(|s| s.seq), poll, "at {at} s");
        }
        let e = PollState::of(&*ledger, 2, &mut cache).map(|s| s.seq);
        assert!(matches!(e, Err(StateError::NotAPoll { seq: 2, .. })));
        let e = PollState::of(&*ledger, 7, &mut cache).map(|s| s.seq);
        assert!(matches!(e, Err(StateError::Log { seq: 7, .. })));

        // The divergence that the polls left, folded again from the log alone.
        let mut again = Divergences::new();
        let mut maker = FactsMaker::default();
        for seq in [1, 3, 5] {
            let state = PollState::of(&*ledger, seq, &mut Snapshots::default()).unwrap();
            again.push(&maker.facts(&state).unwrap()).unwrap();
        }
        use crate::projection::Projection as _;
        assert_eq!(again.rows(), all.rows());
        let [d] = all.all() else { panic!("{:#?}", all.all()) };
        assert_eq!((d.onset.after, d.onset.by), (Some(t(13)), t(24)));
        assert_eq!(d.closed.as_ref().map(|c| (c.after, c.by)), Some((Some(t(20)), t(34))));
    }
}
