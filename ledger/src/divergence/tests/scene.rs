//! Makes poll states without a log: the same [`PollState`] that loading gives, from values.

use crate::state::{Parsed, PollState};
use isoledger_core::content::{Manifest, MovingPort, NamedSource, Snapshot, SourceState};
use isoledger_core::lease::Slots;
use isoledger_core::model::{
    BypassClass, BypassReading, Declared, Failure, Observed, PortReading, PortState, Reader, Scope, Window,
};
use isoledger_core::record::Poll;
use isoledger_core::{Digest, SEMANTICS, Timestamp, VlanId, VlanSet, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn t(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

pub(super) fn window(from: u64, to: u64) -> Window {
    Window { started: t(from), ended: t(to) }
}

pub(super) fn vlan(v: u16) -> VlanId {
    VlanId::new(v).unwrap()
}

/// A switch with these ports, everything else read and clean.
pub(super) fn observed(ports: impl IntoIterator<Item = (String, PortReading)>) -> Observed {
    Observed {
        ports: ports.into_iter().collect(),
        bypasses: BypassClass::ALL.map(|c| (c, BypassReading::Clean)).into(),
        ..Observed::default()
    }
}

pub(super) fn port(untagged: Option<u16>, tagged: VlanSet) -> PortState {
    PortState { untagged: untagged.map(vlan), tagged, ..PortState::default() }
}

#[derive(Clone)]
pub(super) struct SwitchScene {
    pub(super) outcome: Result<Arc<Observed>, Failure>,
    pub(super) window: Window,
    pub(super) reader: u32,
    pub(super) identity: Option<String>,
}

/// One poll.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) seq: u64,
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) scope: Arc<Scope>,
    pub(super) declared: Arc<Declared>,
    pub(super) manager: Window,
    pub(super) manager_failure: Option<Failure>,
    pub(super) manager_reader: u32,
    pub(super) switches: BTreeMap<String, SwitchScene>,
    pub(super) moving: Vec<MovingPort>,
    pub(super) rereads: Vec<(String, String, Window)>,
}

impl Scene {
    pub(super) fn state(&self) -> PollState {
        let digest = |bytes: Vec<u8>| Digest::of(&bytes);
        let reader = |dialect: &str, version| Reader { dialect: dialect.into(), version };
        let mut entropy = || [7; 32];
        let slots = Slots::new(&mut entropy).advance(&self.declared, 1, &mut entropy);
        let manager = SourceState {
            reader: reader("hil", self.manager_reader),
            identity: None,
            failure: self.manager_failure,
            error: None,
            state: Some(digest(json::to_canonical(&*self.declared))),
            evidence: None,
        };
        let switches: Vec<NamedSource> = self
            .switches
            .iter()
            .map(|(name, s)| NamedSource {
                name: name.clone(),
                source: SourceState {
                    reader: reader("test", s.reader),
                    identity: s.identity.clone(),
                    failure: s.outcome.as_ref().err().copied(),
                    error: None,
                    state: s.outcome.as_ref().ok().map(|o| digest(json::to_canonical(&**o))),
                    evidence: None,
                },
            })
            .collect();
        let snapshot = Snapshot {
            v: 1,
            scope_seq: 0,
            scope: digest(json::to_canonical(&*self.scope)),
            slots: digest(json::to_canonical(&slots)),
            manager,
            switches,
            moving: self.moving.clone(),
        };
        let offsets = |w| Manifest::offsets(t(self.started), w);
        let place = |name: &String| self.switches.keys().position(|n| n == name).unwrap();
        let parsed = Parsed {
            digest: digest(json::to_canonical(&snapshot)),
            snapshot,
            scope: self.scope.clone(),
            slots: Arc::new(slots),
            declared: self.declared.clone(),
            observed: self.switches.values().map(|s| s.outcome.clone().ok()).collect(),
        };
        PollState {
            seq: self.seq,
            poll: Poll {
                semantics: SEMANTICS,
                started: t(self.started),
                ended: t(self.ended),
                version: self.seq,
                root: Digest::ZERO,
                content: Digest::ZERO,
            },
            manifest: Manifest {
                v: 1,
                snapshot: parsed.digest,
                manager: offsets(self.manager),
                switches: self.switches.values().map(|s| offsets(s.window)).collect(),
                rereads: self
                    .rereads
                    .iter()
                    .map(|(switch, port, w)| {
                        let (a, b) = offsets(*w);
                        (u32::try_from(place(switch)).unwrap(), port.clone(), a, b)
                    })
                    .collect(),
            },
            parsed: Arc::new(parsed),
        }
    }
}

pub(super) fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}
