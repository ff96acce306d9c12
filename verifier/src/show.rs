//! What a file reveals to whoever gets hold of it, in words and as JSON. Checks nothing.

use crate::words;
use isoledger_core::attestation::{MAX_ATTESTATION, Predicate, Statement};
use isoledger_core::dsse::Envelope;
use isoledger_core::evidence::{Evidence, MAX_EVIDENCE, Packer};
use isoledger_core::hash::Digest;
use isoledger_core::json;
use isoledger_core::model::{Access, Owner};
use isoledger_core::note::Note;
use isoledger_core::record::Body;
use isoledger_core::slice::{CommonPart, MAX_SLICE, NetworkSection, Roster, Slice};
use isoledger_core::time::Timestamp;
use isoledger_core::vlan::VlanId;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a file holds.
#[derive(Serialize)]
#[serde(tag = "file", rename_all = "kebab-case")]
pub(crate) enum Shown {
    Attestation(Box<ShownAttestation>),
    Evidence(Box<ShownEvidence>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownAttestation {
    confidential: bool,
    key_id: String,
    subject: String,
    claim: Predicate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownEvidence {
    confidential: bool,
    origin: String,
    network: String,
    vlan: VlanId,
    entries: [u64; 2],
    polls: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    versions: usize,
    leases: Vec<u64>,
    projects: BTreeSet<String>,
    members: BTreeSet<String>,
    ports: usize,
    named_ports: BTreeSet<String>,
    switches: usize,
    named_switches: BTreeSet<String>,
    exits: BTreeSet<String>,
    networks_on_vlan: usize,
    signers: BTreeSet<String>,
    bytes: usize,
}

/// Reads an attestation or evidence file as far as it goes.
pub(crate) fn show(bytes: &[u8]) -> Result<Shown, String> {
    if bytes.starts_with(b"{\"payloadType\"") {
        let envelope = Envelope::parse(bytes, MAX_ATTESTATION).map_err(|e| e.to_string())?;
        #[allow(clippy::disallowed_methods)] // shown, and said to be unchecked
        let statement = Statement::parse(envelope.unverified_payload()).map_err(|e| e.to_string())?;
        let subject =
            statement.subject.into_iter().next().map(|s| format!("{} sha256:{}", s.name, s.digest.sha256));
        return Ok(Shown::Attestation(Box::new(ShownAttestation {
            confidential: false,
            key_id: envelope.key_id().into(),
            subject: subject.unwrap_or_default(),
            claim: statement.predicate,
        })));
    }
    let evidence = Evidence::parse(bytes, MAX_EVIDENCE)
        .map_err(|e| format!("neither an attestation nor an evidence file ({e})"))?;
    Ok(Shown::Evidence(Box::new(show_evidence(&evidence, bytes.len()))))
}

fn show_evidence(e: &Evidence, bytes: usize) -> ShownEvidence {
    let mut out = ShownEvidence {
        confidential: true,
        origin: e.origin.clone(),
        network: e.network.clone(),
        vlan: e.vlan,
        entries: [e.range.start, e.range.end],
        polls: 0,
        first: None,
        last: None,
        versions: e.versions.len(),
        leases: e.leases.iter().map(|l| l.lease).collect(),
        projects: BTreeSet::new(),
        members: BTreeSet::new(),
        ports: 0,
        named_ports: BTreeSet::new(),
        switches: 0,
        named_switches: BTreeSet::new(),
        exits: BTreeSet::new(),
        networks_on_vlan: 0,
        signers: BTreeSet::new(),
        bytes,
    };
    let mut packer = Packer::new();
    for packed in &e.entries {
        let Ok((_, record)) = packer.unpack(packed) else { break };
        if let Body::Poll(p) = record.body {
            out.polls += 1;
            out.first = out.first.or(Some(p.started));
            out.last = Some(p.ended);
        }
    }
    let texts = e.texts();
    let text = |d: &Digest| texts.get(d).map(|t| t.as_bytes()).unwrap_or_default();
    let (mut ports, mut switches) = (BTreeSet::new(), BTreeSet::new());
    let distinct = |of: fn(&isoledger_core::evidence::Version) -> Digest| -> BTreeSet<Digest> {
        e.versions.iter().map(of).collect()
    };
    for section in distinct(|v| v.section) {
        let Ok(s) = json::from_canonical::<NetworkSection>("section", text(&section), MAX_SLICE) else {
            continue;
        };
        if let Owner::Project(p) = s.owner {
            out.projects.insert(p);
        }
        if let Access::Projects(p) = s.access {
            out.projects.extend(p);
        }
        out.projects.extend(s.attachments.iter().filter_map(|m| m.project.clone()));
        out.members.extend(s.attachments.iter().map(|m| format!("{}/{}", m.node, m.nic)));
    }
    for slice in distinct(|v| v.slice) {
        let Ok(s) = json::from_canonical::<Slice>("slice", text(&slice), MAX_SLICE) else { continue };
        out.networks_on_vlan = out.networks_on_vlan.max(s.networks.len());
        for p in s.ports {
            ports.insert(p.port);
            out.named_ports.extend(p.name.map(|n| n.to_string()));
            out.exits.extend(p.exit.map(|x| x.name));
        }
    }
    for common in distinct(|v| v.common) {
        let Ok(c) = json::from_canonical::<CommonPart>("common", text(&common), MAX_SLICE) else { continue };
        let Ok(r) = json::from_canonical::<Roster>("roster", text(&c.roster), MAX_SLICE) else { continue };
        for s in r.switches {
            switches.insert(s.switch);
            out.named_switches.extend(s.name);
        }
    }
    (out.ports, out.switches) = (ports.len(), switches.len());
    for note in e.chain.iter().map(|c| &c.checkpoint).chain([&e.checkpoint]) {
        if let Ok(n) = Note::parse(note.as_bytes()) {
            out.signers.extend(n.signatures().iter().map(|l| l.name.clone()));
        }
    }
    out
}

impl Shown {
    /// In words, ending in a newline.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = match self {
            Shown::Attestation(a) => writeln!(
                out,
                "An attestation. Nothing is checked here: isoverify --policy FILE does that.\n\n{}\n\
                 It names the network, its project, exits and cosigners, and holds no secret.\n\
                 Evidence file: {}\nSigning key (keyid): {}",
                words::claim(&a.claim),
                words::plain(&a.subject),
                a.key_id
            ),
            Shown::Evidence(e) => {
                let none = |set: &BTreeSet<String>| words::list(set);
                let time = |t: Option<Timestamp>| t.map_or("-".into(), |t| t.to_string());
                writeln!(
                    out,
                    "An evidence file of {} bytes. Nothing is checked here: isoverify --policy FILE does that.\n\n\
                     CONFIDENTIAL: it holds the slot keys of leases {}. Whoever has it can recognise and read this\n\
                     network's slices of those leases in the public log.\n\n\
                     It reveals\n  \
                     network          {:?}, VLAN {}, by log {}\n  \
                     entries          {} to {}: {} polls from {} to {}, {} versions\n  \
                     projects         {}\n  \
                     nodes and nics   {}\n  \
                     ports            {} by handle; by name: {}\n  \
                     switches         {} by handle; by name: {}\n  \
                     exits            {}\n  \
                     networks on it   {} (others' names and members are not in the file)\n  \
                     signers          {}\n  \
                     of everybody     how many switches there are and which were not read, which classes of bypass are\n  \
                     {:16} dirty or unread, wide ports, and when anything changed; never whose",
                    e.bytes,
                    words::list(e.leases.iter().map(u64::to_string)),
                    e.network,
                    e.vlan,
                    words::plain(&e.origin),
                    e.entries[0],
                    e.entries[1].saturating_sub(1),
                    e.polls,
                    time(e.first),
                    time(e.last),
                    e.versions,
                    none(&e.projects),
                    none(&e.members),
                    e.ports,
                    none(&e.named_ports),
                    e.switches,
                    none(&e.named_switches),
                    none(&e.exits),
                    e.networks_on_vlan,
                    none(&e.signers),
                    ""
                )
            }
        };
        out
    }
}
