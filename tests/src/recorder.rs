//! A recorder in memory, made of nothing but `isoledger-core`: it is told a history and hands out attestations.
//!
//! It computes what it claims on its own, from the formats' pages, so that it and the verifier check each other. It can
//! also be made to lie: everything it signs can be changed before.

use isoledger_core::assemble::{Assembly, Cut, Inputs, SourceView, SwitchView, assemble};
use isoledger_core::attestation::{LogHead, Predicate, Statement};
use isoledger_core::checkpoint::{Checkpoint, SignedCheckpoint};
use isoledger_core::evidence::{ChainLink, Evidence, LeaseKey, Packer, RangeView, Version};
use isoledger_core::hash::{Digest, Hash};
use isoledger_core::json;
use isoledger_core::judge::{CommonIndex, judge};
use isoledger_core::lease::Slots;
use isoledger_core::merkle::{NodeId, consistency_plan, leaf_hash, range_plan, root_of};
use isoledger_core::model::{
    Access, Attachment, BypassClass, BypassReading, Channel, Declared, Failure, Network, NetworkVlan,
    Observed, Owner, PortId, PortReading, PortState, Reader, Scope, ScopeSwitch,
};
use isoledger_core::note::{NoteSigner, SignatureLine};
use isoledger_core::range::{PollVerdict, RangeFold};
use isoledger_core::record::{Body, Poll, Record};
use isoledger_core::slice::NetworkSection;
use isoledger_core::time::{Span, Timestamp};
use isoledger_core::vlan::{VlanId, VlanSet};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// The origin of the recorder's log.
pub const ORIGIN: &str = "audit.example/moc";
/// The audited domain.
pub const DOMAIN: &str = "moc";

/// A moment: seconds after 2026-03-02T10:00:00Z.
pub fn at(seconds: u64) -> Timestamp {
    at_millis(seconds * 1000)
}

/// A moment: milliseconds after 2026-03-02T10:00:00Z.
pub fn at_millis(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_772_445_600_000 + ms).expect("before the year 9999")
}

/// A witness's or auditor's key.
pub fn cosigner(n: u8) -> NoteSigner {
    NoteSigner::cosigner(&format!("witness.example/w{n}"), &[100 + n; 32]).expect("the name is one")
}

/// A VLAN id that is one.
pub fn vlan(id: u16) -> VlanId {
    VlanId::new(id).expect("between 1 and 4094")
}

/// The cloud as it is at one moment.
#[derive(Clone, Debug)]
pub struct World {
    /// What the cloud manager says.
    pub declared: Declared,
    /// Whether it answers.
    pub manager: bool,
    /// What the switches do; `None` for a silent one.
    pub switches: BTreeMap<String, Option<Observed>>,
    /// Ports being changed.
    pub moving: BTreeSet<PortId>,
}

impl World {
    /// Two tenants on one switch: red's n1/eth0 on red-net (VLAN 100, port p1), blue's n2/eth0 on blue-net (VLAN 200,
    /// port p2), and port p3 that carries nothing.
    pub fn two_tenants() -> World {
        let mut world = World {
            declared: Declared::default(),
            manager: true,
            switches: [("sw1".to_owned(), Some(Observed::default()))].into(),
            moving: BTreeSet::new(),
        };
        world.network("red-net", 100, "red");
        world.network("blue-net", 200, "blue");
        world.attach("red-net", "red", "n1", "p1");
        world.attach("blue-net", "blue", "n2", "p2");
        for class in BypassClass::ALL {
            world.switch().bypasses.insert(class, BypassReading::Clean);
        }
        world.carry("p1", Some(100));
        world.carry("p2", Some(200));
        world.carry("p3", None);
        world
    }

    /// The switch sw1.
    pub fn switch(&mut self) -> &mut Observed {
        self.switches.get_mut("sw1").and_then(Option::as_mut).expect("sw1 answers")
    }

    /// Declares a network owned by, and open to, one project.
    pub fn network(&mut self, name: &str, id: u16, project: &str) {
        let network = Network {
            vlan: NetworkVlan::Id(vlan(id)),
            owner: Owner::Project(project.into()),
            access: Access::Projects([project.to_owned()].into()),
        };
        self.declared.networks.insert(name.into(), network);
    }

    /// Declares a node's eth0 on a network and a port of sw1.
    pub fn attach(&mut self, network: &str, project: &str, node: &str, port: &str) {
        let port = PortId::new("sw1", port);
        self.declared.registered.insert(port.clone());
        self.declared.attachments.insert(Attachment {
            network: network.into(),
            project: Some(project.into()),
            node: node.into(),
            nic: "eth0".into(),
            mac: None,
            port: Some(port),
            channel: Channel::Native,
        });
    }

    /// Sets what a port of sw1 carries without a tag.
    pub fn carry(&mut self, port: &str, untagged: Option<u16>) {
        let state =
            PortState { untagged: untagged.map(vlan), tagged: VlanSet::empty(), ..PortState::default() };
        self.switch().ports.insert(port.into(), PortReading::Read(state));
    }
}

/// A poll that was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Its number.
    pub seq: u64,
    /// Its start.
    pub started: Timestamp,
    /// Its end.
    pub ended: Timestamp,
    /// Its version.
    pub version: u64,
}

// A version of the VLAN tree.
struct State {
    assembly: Assembly,
    cut: Cut,
    slots: Slots,
}

/// What an attestation is asked to be about.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The network.
    pub network: String,
    /// The project that asks.
    pub project: String,
    /// Start of the range.
    pub from: Timestamp,
    /// End of the range.
    pub to: Timestamp,
    /// The tenant's nonce.
    pub nonce: Option<String>,
    /// The gap the verdict allows.
    pub max_gap: Span,
}

impl Ask {
    /// Red's question about red-net, or blue's about blue-net.
    pub fn of(project: &str, from: Timestamp, to: Timestamp) -> Ask {
        Ask {
            network: format!("{project}-net"),
            project: project.into(),
            from,
            to,
            nonce: None,
            max_gap: Span::from_secs(60),
        }
    }
}

/// An attestation with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The attestation's bytes.
    pub attestation: Vec<u8>,
    /// The evidence's bytes.
    pub evidence: Vec<u8>,
}

/// The recorder.
pub struct Recorder {
    signer: NoteSigner,
    domain: String,
    /// The scope in force.
    pub scope: Scope,
    scope_seq: u64,
    slots: Slots,
    random: u64,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    time: Timestamp,
    states: BTreeMap<u64, State>,
    /// The polls, in order.
    pub polls: Vec<Recorded>,
    scope_changes: Vec<u64>,
    exceptions: Vec<u64>,
    /// Archived checkpoints, ascending.
    pub archive: Vec<SignedCheckpoint>,
    /// Semantics stated in polls.
    pub semantics: u32,
}

impl Recorder {
    /// A log with its genesis and its first scope, both at second 0.
    pub fn new() -> Recorder {
        Recorder::of(ORIGIN, DOMAIN, 7)
    }

    /// A log of another origin, domain and key.
    pub fn of(origin: &str, domain: &str, key: u8) -> Recorder {
        let mut random = u64::from(key) << 32;
        let slots = Slots::new(&mut || draw(&mut random));
        let mut scope = Scope { domain: domain.into(), ..Scope::default() };
        scope.switches.insert("sw1".into(), ScopeSwitch::default());
        let mut r = Recorder {
            signer: NoteSigner::new(origin, &[key; 32]).expect("the origin is a name"),
            domain: domain.into(),
            scope,
            scope_seq: 1,
            slots,
            random,
            entries: Vec::new(),
            leaves: Vec::new(),
            time: at(0),
            states: BTreeMap::new(),
            polls: Vec::new(),
            scope_changes: Vec::new(),
            exceptions: Vec::new(),
            archive: Vec::new(),
            semantics: isoledger_core::SEMANTICS,
        };
        let key = r.signer.verifier().to_string();
        r.append(Body::Genesis { domain: domain.into(), key, semantics: isoledger_core::SEMANTICS }, at(0));
        r.scope_changed(at(0));
        r
    }

    /// The log's key, as a policy names it.
    pub fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// The log's key.
    pub fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// Entries so far.
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Appends an entry of any kind; time never runs backwards.
    pub fn append(&mut self, body: Body, time: Timestamp) -> u64 {
        self.time = self.time.max(time);
        let record = Record {
            origin: self.signer.name().into(),
            seq: self.size(),
            time: self.time,
            prev: self.entries.last().map_or(Digest::ZERO, |e| Digest::of(e)),
            body,
        };
        let bytes = record.encode().into_bytes();
        self.leaves.push(leaf_hash(&bytes));
        self.entries.push(bytes);
        record.seq
    }

    /// Records a change of scope.
    pub fn scope_changed(&mut self, time: Timestamp) {
        let commitment = Digest(draw(&mut self.random));
        self.scope_seq = self.append(Body::ScopeChanged { commitment }, time);
        self.scope_changes.push(self.scope_seq);
    }

    /// Records an exception.
    pub fn exception_granted(&mut self, time: Timestamp) -> u64 {
        let commitment = Digest(draw(&mut self.random));
        let seq = self.append(Body::ExceptionGranted { commitment }, time);
        self.exceptions.push(seq);
        seq
    }

    /// Polls the world, from `started` for 100 ms; recorded 50 ms later.
    pub fn poll(&mut self, started: Timestamp, world: &World) -> u64 {
        self.poll_as(started, world, |_| ())
    }

    /// As [`Recorder::poll`], but what the tenants are told is changed by `lie`.
    pub fn poll_as(&mut self, started: Timestamp, world: &World, lie: impl FnOnce(&mut Assembly)) -> u64 {
        let seq = self.size();
        let random = &mut self.random;
        let slots = self.slots.advance(&world.declared, seq, &mut || draw(random));
        let reader = Reader { dialect: "test".into(), version: 1 };
        let source = |failure| SourceView { reader: &reader, identity: None, failure };
        let switches = world
            .switches
            .iter()
            .map(|(name, observed)| {
                let failure = observed.is_none().then_some(Failure::Silent);
                (name.clone(), SwitchView { source: source(failure), observed: observed.as_ref() })
            })
            .collect();
        let mut assembly = assemble(&Inputs {
            scope: &self.scope,
            scope_seq: self.scope_seq,
            slots: &slots,
            declared: &world.declared,
            manager: source((!world.manager).then_some(Failure::Silent)),
            switches: &switches,
            moving: &world.moving,
        });
        lie(&mut assembly);
        let last = self.states.last_key_value();
        let unchanged = last.filter(|(_, s)| s.assembly == assembly && s.slots == slots).map(|(v, _)| *v);
        let version = unchanged.unwrap_or(seq);
        self.slots = slots.clone();
        let origin_hash = Digest::of(self.signer.name().as_bytes());
        let state = self.states.entry(version).or_insert_with(|| {
            let cut = assembly.cut(version, origin_hash, &slots);
            State { assembly, cut, slots }
        });
        let root = state.cut.tree.root();
        let ended = started.plus(Span::from_millis(100));
        let content = Digest(draw(&mut self.random));
        let semantics = self.semantics;
        let poll = Poll { semantics, started, ended, version, root, content };
        self.polls.push(Recorded { seq, started, ended, version });
        self.append(Body::Poll(poll), ended.plus(Span::from_millis(50)))
    }

    /// Polls the same world every ten seconds, `n` times, beginning at second `from`.
    pub fn polls(&mut self, from: u64, n: u64, world: &World) {
        for i in 0..n {
            self.poll(at(from + 10 * i), world);
        }
    }

    /// Root of the first `size` entries.
    pub fn root(&self, size: u64) -> Hash {
        root_of(self.leaves[..size as usize].iter().copied())
    }

    fn node(&self, id: NodeId) -> Result<Hash, Infallible> {
        let (from, width) = ((id.index << id.level) as usize, 1 << id.level);
        Ok(root_of(self.leaves[from..from + width].iter().copied()))
    }

    /// The checkpoint of all entries so far, signed by the log.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        let size = self.size();
        let checkpoint = Checkpoint { origin: self.signer.name().into(), size, root: self.root(size) };
        SignedCheckpoint::sign(checkpoint, &self.signer).expect("the log signs its own")
    }

    /// Archives the checkpoint of all entries so far, cosigned at these moments.
    pub fn archive(&mut self, cosigned: &[(&NoteSigner, Timestamp)]) {
        let checkpoint = cosign(self.checkpoint(), &self.signer, cosigned);
        self.archive.push(checkpoint);
    }

    // The network's section at a version, if the project may see it.
    fn section(&self, ask: &Ask, version: u64) -> Option<&NetworkSection> {
        let section = self.states.get(&version)?.assembly.networks.get(&ask.network)?;
        let owns = section.owner == Owner::Project(ask.project.clone());
        let joins = match &section.access {
            Access::Public => true,
            Access::Projects(p) => p.contains(&ask.project),
        };
        (owns || joins).then_some(section)
    }

    /// Polls that an attestation of this range is about, ends included.
    fn range(&self, ask: &Ask) -> (u64, u64) {
        let start = self.polls.iter().rev().find(|p| p.ended <= ask.from).map_or(0, |p| p.seq);
        let end = self.polls.iter().find(|p| p.started >= ask.to).map_or(self.size(), |p| p.seq + 1);
        (start, end.max(start + 1))
    }

    fn opened(&self, ask: &Ask, (start, end): (u64, u64)) -> Vec<Recorded> {
        let inside = self.polls.iter().filter(|p| (start..end).contains(&p.seq));
        inside.filter(|p| self.section(ask, p.version).is_some()).copied().collect()
    }

    /// The evidence for a question, leading to `checkpoint`, which must be of the log as it is.
    pub fn evidence(&self, ask: &Ask, checkpoint: &SignedCheckpoint) -> Evidence {
        let size = self.size();
        let (start, end) = self.range(ask);
        let opened = self.opened(ask, (start, end));
        let mut texts: BTreeMap<Digest, String> = BTreeMap::new();
        let mut keep = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("canonical JSON is UTF-8");
            let digest = Digest::of(bytes);
            texts.insert(digest, text);
            digest
        };
        let (mut leases, mut versions, mut id) = (BTreeMap::new(), Vec::new(), vlan(1));
        for version in opened.iter().map(|p| p.version).collect::<BTreeSet<_>>() {
            let state = &self.states[&version];
            let section = self.section(ask, version).expect("opened");
            id = section.vlan;
            let slot = id.get();
            state.assembly.common.sections().iter().for_each(|s| {
                keep(s);
            });
            let lease = state.slots.lease(id).expect("a declared network has one");
            leases.insert(lease.since, lease.key);
            versions.push(Version {
                version,
                common: keep(&state.cut.common),
                slice: keep(&state.cut.slices[&slot]),
                section: keep(&json::to_canonical(section)),
                proof: Version::encode_siblings(&state.cut.tree.proof(slot)),
            });
        }
        let mut packer = Packer::new();
        let entries = &self.entries[start as usize..end as usize];
        let plan = range_plan(start, end, size).expect("the range is in the log");
        let proof = plan.assemble(|id| self.node(id)).expect("nothing is missing");
        Evidence {
            v: 1,
            origin: self.signer.name().into(),
            network: ask.network.clone(),
            vlan: id,
            checkpoint: checkpoint.as_str().into(),
            chain: self.chain(size),
            range: RangeView { start, end, left: proof.left, right: proof.right },
            leases: leases.into_iter().map(|(lease, key)| LeaseKey { lease, key }).collect(),
            texts: texts.into_values().collect(),
            versions,
            entries: entries.iter().map(|e| packer.pack(e).expect("an entry")).collect(),
        }
    }

    // The archive as links, the last leading to a checkpoint of `size`.
    fn chain(&self, size: u64) -> Vec<ChainLink> {
        let sizes = self.archive.iter().map(|c| c.unverified().size);
        let inside: Vec<_> = self.archive.iter().zip(sizes).filter(|(_, s)| *s < size).collect();
        let next = inside.iter().skip(1).map(|(_, s)| *s).chain([size]);
        inside
            .iter()
            .zip(next)
            .map(|((checkpoint, size), next)| ChainLink {
                checkpoint: checkpoint.as_str().into(),
                proof: consistency_plan(*size, next)
                    .expect("ascending")
                    .assemble(|id| self.node(id))
                    .expect("nothing is missing"),
            })
            .collect()
    }

    /// What the recorder claims of a range.
    pub fn claim(&self, ask: &Ask, evidence: &Evidence) -> Predicate {
        let opened = self.opened(ask, (evidence.range.start, evidence.range.end));
        let mut fold = RangeFold::new(ask.from, ask.max_gap);
        let (mut exits, mut not_assessed, mut leases) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for p in opened {
            let state = &self.states[&p.version];
            let section = self.section(ask, p.version).expect("opened");
            let slice = &state.assembly.slices[&section.vlan.get()];
            let j = judge(&CommonIndex::new(&state.assembly.common), slice, section, &BTreeSet::new())
                .expect("the slice is consistent");
            fold.push(&PollVerdict::new(p.seq, p.started, p.ended, &j));
            exits.extend(j.exits);
            not_assessed.extend(j.not_assessed);
            leases.insert(section.lease);
        }
        let range = fold.finish(ask.to);
        let inside = |all: &[u64]| {
            all.iter().copied().filter(|s| (evidence.range.start..evidence.range.end).contains(s)).collect()
        };
        Predicate {
            network: ask.network.clone(),
            domain: self.domain.clone(),
            vlan: evidence.vlan,
            project: ask.project.clone(),
            verdict: range.verdict,
            from: ask.from,
            to: ask.to,
            polls: range.polls,
            isolated: range.isolated,
            violations: range.violations,
            max_gap: ask.max_gap,
            blind: range.too_long,
            leases: leases.into_iter().collect(),
            scope_changes: inside(&self.scope_changes),
            exits: exits.into_iter().collect(),
            not_assessed: not_assessed.into_iter().collect(),
            exceptions: inside(&self.exceptions),
            nonce: ask.nonce.clone(),
            issued: self.time,
            log: LogHead {
                origin: self.signer.name().into(),
                size: self.size(),
                root: self.root(self.size()),
            },
            cosignatures: cosigners(&evidence.checkpoint, self.signer.name()),
            audited_to: None,
        }
    }

    /// Signs a claim about evidence.
    pub fn sign(&self, claim: Predicate, evidence: &Evidence) -> Files {
        let evidence = evidence.to_bytes();
        let attestation = self.sign_bytes(claim, &evidence);
        Files { attestation, evidence }
    }

    /// Signs a claim about any bytes.
    pub fn sign_bytes(&self, claim: Predicate, evidence: &[u8]) -> Vec<u8> {
        let name = format!("{}.evidence.json", claim.network);
        let statement = Statement::new(&name, evidence, claim);
        statement.sign(&self.signer).expect("the log signs").into_bytes()
    }

    /// Answers a question, with a newest checkpoint cosigned at these moments.
    pub fn attest_with(&self, ask: &Ask, cosigned: &[(&NoteSigner, Timestamp)]) -> Files {
        let checkpoint = cosign(self.checkpoint(), &self.signer, cosigned);
        let evidence = self.evidence(ask, &checkpoint);
        self.sign(self.claim(ask, &evidence), &evidence)
    }

    /// Answers a question.
    pub fn attest(&self, ask: &Ask) -> Files {
        self.attest_with(ask, &[])
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder::new()
    }
}

fn draw(n: &mut u64) -> [u8; 32] {
    *n += 1;
    Digest::of(&n.to_be_bytes()).0
}

/// A checkpoint with cosignatures made at these moments.
pub fn cosign(
    checkpoint: SignedCheckpoint,
    log: &NoteSigner,
    cosigned: &[(&NoteSigner, Timestamp)],
) -> SignedCheckpoint {
    let opened = checkpoint.open(log.verifier()).expect("the log's own");
    cosigned.iter().fold(checkpoint, |c, (who, when)| {
        let line: SignatureLine = opened.cosign(who, *when).expect("a cosigner");
        c.with(&line).expect("a short note")
    })
}

// Names on the signature lines but the log's, sorted, each once.
fn cosigners(note: &str, log: &str) -> Vec<String> {
    let lines = note.lines().filter_map(|l| l.strip_prefix("\u{2014} ")?.split(' ').next());
    let names: BTreeSet<&str> = lines.filter(|n| *n != log).collect();
    names.into_iter().map(str::to_owned).collect()
}
