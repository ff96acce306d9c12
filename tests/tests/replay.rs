//! `isoledger replay --renormalise` over a log that an older reader recorded.
#![allow(clippy::unwrap_used)]

use isoledger_collectors::hil::{Auth, Config, Hil};
use isoledger_collectors::openvswitch::{OpenVSwitch, Settings};
use isoledger_collectors::{CloudManager as _, Secret, Stopwatch, SwitchReader as _};
use isoledger_core::content::Opening;
use isoledger_core::model::{Failure, Observed, PortReading, Reader, Scope, ScopeSwitch};
use isoledger_core::note::NoteSigner;
use isoledger_core::{Digest, Span, VlanId};
use isoledger_lab::{Lab, World};
use isoledger_ledger::Pending;
use isoledger_ledger::log::Ledger;
use isoledger_ledger::recorder::{EvidenceBytes, InForce, Readings, Recorder, Source};
use isoledger_tests::site::{ORIGIN, Site};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn understood(port: &str, observed: &mut Observed) -> VlanId {
    let Some(PortReading::Read(state)) = observed.ports.get_mut(port) else { panic!("{port} was read") };
    state.untagged.take().unwrap()
}

/// What an older reader recorded of a switch: it saw nothing untagged on sw1p1, or did not understand the answer at all.
#[derive(Clone, Copy)]
enum Then {
    AsToday,
    Blind,
    Confused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_todays_readers_understand_otherwise_is_shown() {
    let lab = Lab::start(World::two_tenants()).await.unwrap();
    let site = Site::of_lab(&lab);
    let clock = Stopwatch::from_system().unwrap();
    let soon = Instant::now() + Duration::from_secs(20);
    let who = lab.credentials().unwrap();
    let auth = Auth::Basic { user: who.user, password: Secret::new(who.password.as_str()) };
    let declared = Hil::new(&Config::new(lab.hil_url(), auth)).unwrap().read(&clock, soon).await;
    let at = lab.switches().remove(0);
    let ovsdb = at.ovsdb.tcp.to_ovs().parse::<isoledger_collectors::net::Address>().unwrap();
    let settings = Settings { bridge: at.bridge, ovsdb: ovsdb.into(), tls: None, flows: None };
    let seen = OpenVSwitch::new(settings).unwrap().read(&clock, soon).await;
    let (today, evidence) = (seen.outcome.unwrap(), EvidenceBytes::new(seen.evidence.to_bytes()));

    // The log of somebody who ran an older reader, then this one, then an older one again.
    let begun = seen.window.started;
    let signer = Arc::new(NoteSigner::new(ORIGIN, &[7; 32]).unwrap());
    let vkey = signer.verifier().to_string();
    let mut ledger = Ledger::create(&site.data(), ORIGIN, "lab", signer, begun).unwrap();
    let switch = ScopeSwitch { labels: ["sw1".to_owned()].into(), ..ScopeSwitch::default() };
    let scope =
        Scope { domain: "lab".into(), switches: [("sw1".to_owned(), switch)].into(), ..Scope::default() };
    let mut n = 0u64;
    let mut entropy = move || {
        n += 1;
        Digest::of(&n.to_be_bytes()).0
    };
    let scope_bytes = isoledger_core::json::to_canonical(&scope);
    let opening = Opening { opening: entropy(), digest: Digest::of(&scope_bytes) };
    let origin = Digest::of(ORIGIN.as_bytes());
    let seq = ledger.next_seq();
    let pending = Pending {
        time: begun,
        body: isoledger_core::record::Body::ScopeChanged { commitment: opening.commit(&origin, seq) },
        opening: Some(opening),
        content: vec![(opening.digest, scope_bytes)],
    };
    ledger.append(vec![pending]).unwrap();
    let mut recorder = Recorder::new(ORIGIN, Arc::new(scope), seq, None, &mut entropy);
    let mut polls = Vec::new();
    for (i, (version, then)) in
        (1..).zip([(0, Then::Blind), (0, Then::Blind), (1, Then::AsToday), (0, Then::Confused)])
    {
        let now = begun.plus(Span::from_secs(i * 10));
        let window = isoledger_core::model::Window { started: now, ended: now };
        let outcome = match then {
            Then::AsToday => Ok(today.clone()),
            Then::Blind => {
                let mut blind = today.clone();
                assert_eq!(understood("sw1p1", &mut blind).get(), 100);
                Ok(blind)
            }
            Then::Confused => Err((Failure::Unreadable, "an older reader was confused".to_owned())),
        };
        let source = Source {
            reader: Reader { dialect: "openvswitch".into(), version },
            identity: None,
            window,
            outcome,
            evidence: Some(evidence.clone()),
        };
        let readings = Readings {
            started: now,
            ended: now,
            manager: declared.reader.clone(),
            manager_identity: None,
            manager_failure: None,
            in_force: Some(InForce {
                declared: Arc::new(declared.outcome.clone().unwrap()),
                evidence: EvidenceBytes::new(declared.evidence.to_bytes()),
                window,
            }),
            switches: BTreeMap::from([("sw1".to_owned(), source)]),
            moving: BTreeSet::new(),
            rereads: BTreeMap::new(),
        };
        let seq = ledger.next_seq();
        let look = recorder.look(&readings, seq, &mut entropy).unwrap();
        let mut prepared = recorder.prepare(&readings, look, seq, &mut entropy);
        let pending = Pending {
            time: now,
            body: prepared.body.clone(),
            opening: Some(prepared.opening),
            content: std::mem::take(&mut prepared.content),
        };
        ledger.append(vec![pending]).unwrap();
        recorder.recorded(prepared);
        polls.push((seq, now));
    }
    drop(ledger);

    let said = site.run("--json replay --renormalise").expect(1).json();
    assert_eq!(said["ok"], false, "{said:#}");
    // The declaration once; the switch's evidence as it was read in three ways.
    assert_eq!(
        (&said["polls"], &said["readAgain"], &said["otherVersion"]),
        (&4.into(), &4.into(), &2.into())
    );
    let all = said["differences"].as_array().unwrap();
    assert_eq!(all.len(), 2, "{said:#}");
    let (first, second) = (&all[0], &all[1]);
    assert_eq!((&first["poll"], &first["switch"]), (&polls[0].0.into(), &"sw1".into()));
    assert_eq!((&first["recordedBy"]["version"], &first["readBy"]["version"]), (&0.into(), &1.into()));
    assert_eq!(first["differences"][0]["what"], "port sw1p1");
    assert!(first["differences"][0]["then"].as_str().unwrap().starts_with("carries nothing"), "{first:#}");
    assert!(first["differences"][0]["now"].as_str().unwrap().starts_with("100 untagged"), "{first:#}");
    assert_eq!(
        (&second["poll"], &second["differences"][0]["then"]),
        (&polls[3].0.into(), &"not understood".into())
    );

    let words = site.run("replay --renormalise").expect(1).out;
    for part in ["openvswitch version 0 then, openvswitch version 1 now", "port sw1p1", "now   100 untagged"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    // Only what the range holds.
    let later = site.run(&format!("--json replay --renormalise --from {}", polls[2].1)).expect(1).json();
    assert_eq!(
        (&later["polls"], later["differences"].as_array().unwrap().len()),
        (&2.into(), 1),
        "{later:#}"
    );
    let between = format!("--json replay --renormalise --from {0} --to {0}", polls[2].1);
    assert_eq!(site.run(&between).expect(0).json()["ok"], true);
    let wrong =
        site.run(&format!("replay --renormalise --from {} --to {}", polls[2].1, polls[0].1)).expect(2);
    assert!(wrong.err.contains("which is after --to"), "{wrong:?}");
    assert!(site.run("replay").expect(2).err.contains("--renormalise"));
    // An audit does not take one reader for another.
    let audit = site.run(&format!("--json audit --key {vkey}")).expect(1).json();
    assert!(audit["error"].as_str().unwrap().contains("\"openvswitch\" version 0"), "{audit:#}");
}
