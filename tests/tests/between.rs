//! What came and went between two polls: a switch that tells of its changes leaves no gap to hide in, and what the cloud
//! manager does and undoes in one gap accuses nobody.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{Fault, Lab, MirrorSpec, PortVlans, Service, World};
use isoledger_tests::program;
use isoledger_tests::site::{Site, findings};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PORT: &str = "port sw2 sw2p3";

/// The lab, and a service that polls it on demand.
struct Bench {
    lab: Lab,
    site: Site,
    service: program::Service,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut World)) -> Bench {
        let mut world = World::two_tenants();
        change(&mut world);
        let lab = Lab::start(world).await.unwrap();
        let mut site = Site::of_lab(&lab);
        site.settle = "5ms".into();
        site.write();
        let service = site.serve();
        let bench = Bench { lab, site, service };
        bench.rest();
        bench
    }

    /// Polls; everything is isolated.
    #[track_caller]
    fn rest(&self) {
        assert_eq!(self.verdicts(), ["isolated"; 2], "{:#}", self.service.network("red-net"));
    }

    /// The verdicts on red and blue in a poll made now.
    fn verdicts(&self) -> [String; 2] {
        let polled = self.service.poll();
        ["red-net", "blue-net"].map(|n| polled["verdicts"][n].as_str().unwrap().to_owned())
    }

    fn findings(&self, network: &str) -> Vec<(String, String)> {
        let row = self.service.network(network);
        let all = row["findings"].as_array().unwrap();
        assert!(all.iter().all(|f| f["passed"] == (f["finding"] != "bypass")), "{row:#}");
        findings(&row)
    }

    fn divergences(&self, query: &str) -> Vec<Value> {
        let all = self.service.get(&format!("/v1/divergences{query}")).unwrap().json();
        all["divergences"].as_array().unwrap().clone()
    }

    fn carries(&self, port: &str, vlans: &PortVlans) {
        self.lab.edit(|w| w.switch_mut("sw2").unwrap().set_port_vlans(port, vlans).unwrap());
    }
}

fn found(finding: &str, at: &str) -> Vec<(String, String)> {
    vec![(finding.into(), at.into())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_opened_and_closed_between_two_polls_is_a_finding_of_the_next() {
    let bench = Bench::new(|_| {}).await;
    for turn in 0..3 {
        bench.carries("sw2p3", &PortVlans::Access(100));
        bench.carries("sw2p3", &PortVlans::Nothing);
        assert_eq!(bench.verdicts(), ["violated", "isolated"]);
        assert_eq!(bench.findings("red-net"), found("foreign-port", PORT));
        let open = bench.divergences("?network=red-net&open=true");
        assert_eq!((open.len(), &open[0]["passed"]), (1, &true.into()), "{open:#?}");
        let (claim, onset) = (&open[0]["claim"], &open[0]["onset"]);
        assert_eq!((&onset["cause"], &onset["by"]), (&"switch-moved".into(), &claim["from"]), "{open:#?}");
        let time = |v: &Value| v.as_str().unwrap().to_owned();
        assert!(time(&onset["after"]) <= time(&claim["from"]) && time(&claim["from"]) <= time(&claim["to"]));
        // The next poll closes it, whether or not there is something new.
        if turn == 1 {
            bench.carries("sw2p3", &PortVlans::Access(100));
            bench.carries("sw2p3", &PortVlans::Nothing);
            assert_eq!(bench.verdicts(), ["violated", "isolated"]);
            assert_eq!(bench.divergences("?network=red-net&open=true").len(), 1);
        }
        bench.rest();
        let closed: Vec<Value> =
            bench.divergences("").into_iter().filter(|d| d["id"] == open[0]["id"]).collect();
        assert_eq!(closed[0]["open"], false, "{closed:#?}");
        let end = &closed[0]["closed"];
        assert_eq!(
            (&end["after"], &end["by"], &end["cause"]),
            (&claim["from"], &claim["to"], &"switch-moved".into())
        );
    }
    assert_eq!(bench.divergences("?network=red-net").len(), 4);
    let said = bench.site.run("divergences --network red-net").expect(0).out;
    assert_eq!(
        said.matches("closed  foreign-port at port sw2 sw2p3 between two readings").count(),
        4,
        "{said}"
    );
    assert_eq!(said.matches("as the switch told").count(), 4, "{said}");
    // An unchanged switch costs nothing again.
    let before = bench.service.poll();
    let after = bench.service.poll();
    assert_eq!(before["verdicts"], after["verdicts"]);
    bench.site.audit();
    bench.lab.assert_only_reads();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_was_not_there_every_vlan_and_a_mirror_are_found_too() {
    let bench = Bench::new(|_| {}).await;
    bench.lab.edit(|w| {
        w.switch_mut("sw2").unwrap().add_port("br-sw2", "thief", &PortVlans::Access(101)).unwrap();
    });
    bench.lab.edit(|w| w.switch_mut("sw2").unwrap().del_port("thief").unwrap());
    assert_eq!(bench.verdicts(), ["isolated", "violated"]);
    assert_eq!(bench.findings("blue-net"), found("unregistered-port", "port sw2 thief"));
    bench.rest();
    bench.carries("sw2p4", &PortVlans::HilReverted);
    bench.carries("sw2p4", &PortVlans::Nothing);
    assert_eq!(bench.verdicts(), ["violated"; 2]);
    for network in ["red-net", "blue-net"] {
        assert_eq!(bench.findings(network), found("all-vlans", "port sw2 sw2p4"));
    }
    bench.rest();
    bench.lab.edit(|w| {
        let spec = MirrorSpec {
            select_src_ports: vec!["sw2p1".into()],
            output_port: Some("sw2p4".into()),
            ..MirrorSpec::default()
        };
        w.switch_mut("sw2").unwrap().add_mirror("br-sw2", "span", &spec).unwrap();
    });
    bench.lab.edit(|w| w.switch_mut("sw2").unwrap().remove_mirror("span").unwrap());
    assert_eq!(bench.verdicts(), ["isolated", "violated"]);
    let found = bench.findings("blue-net");
    assert!(matches!(&found[..], [(f, at)] if f == "bypass" && at.contains("mirror")), "{found:?}");
    bench.rest();
    assert!(bench.divergences("?open=true").is_empty());
    bench.site.audit();
    bench.lab.assert_only_reads();
}

/// What passes while the cloud manager is silent is judged when it speaks again, or at once where no declaration could
/// make it right; and then once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passed_while_the_cloud_manager_was_silent_is_found_once() {
    let bench = Bench::new(|_| {}).await;
    for (vlans, silent, after) in [
        (PortVlans::HilReverted, ["violated", "violated"], ["isolated", "isolated"]),
        (PortVlans::Access(100), ["unknown", "unknown"], ["violated", "isolated"]),
    ] {
        bench.lab.edit(|w| w.set_fault(Service::Hil, Fault::Refuse));
        bench.carries("sw2p3", &vlans);
        bench.carries("sw2p3", &PortVlans::Nothing);
        assert_eq!(bench.verdicts(), silent, "{vlans:?}");
        for _ in 0..2 {
            assert_eq!(bench.verdicts(), ["unknown"; 2], "{vlans:?}, which was told");
        }
        bench.lab.edit(|w| w.clear_fault(&Service::Hil));
        assert_eq!(bench.verdicts(), after, "{vlans:?}");
        bench.rest();
    }
    bench.site.audit();
    bench.lab.assert_only_reads();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cloud_manager_does_and_undoes_in_one_gap_accuses_nobody() {
    let bench = Bench::new(|w| w.move_node("node06", Some("red")).unwrap()).await;
    bench.lab.edit(|w| w.attach("node06", "eth0", "red-net", None).unwrap());
    bench.lab.edit(|w| w.detach("node06", "eth0", "red-net").unwrap());
    assert_eq!(bench.verdicts(), ["unknown", "isolated"]);
    assert_eq!(bench.findings("red-net"), found("in-transition", PORT));
    bench.rest();
    // The node changed hands, or the access list was changed, at either end of the gap.
    for before in [true, false] {
        bench.lab.edit(|w| w.move_node("node06", before.then_some("red")).unwrap());
        bench.rest();
        bench.lab.edit(|w| {
            w.move_node("node06", Some("red")).unwrap();
            w.attach("node06", "eth0", "red-net", None).unwrap();
        });
        bench.lab.edit(|w| {
            w.detach("node06", "eth0", "red-net").unwrap();
            w.move_node("node06", (!before).then_some("red")).unwrap();
        });
        assert_eq!(bench.verdicts(), ["unknown", "isolated"], "{before}");
        assert_eq!(findings(&bench.service.network("red-net")), found("in-transition", PORT), "{before}");
        bench.rest();
    }
    bench.lab.edit(|w| {
        w.move_node("node06", Some("red")).unwrap();
        w.grant("blue-net", "red").unwrap();
    });
    bench.rest();
    bench.lab.edit(|w| w.attach("node06", "eth0", "blue-net", None).unwrap());
    bench.lab.edit(|w| {
        w.detach("node06", "eth0", "blue-net").unwrap();
        w.revoke("blue-net", "red").unwrap();
    });
    assert_eq!(bench.verdicts(), ["isolated", "unknown"]);
    bench.rest();
    // Somebody else's network is nobody's own doing.
    bench.carries("sw2p3", &PortVlans::Access(101));
    bench.carries("sw2p3", &PortVlans::Nothing);
    assert_eq!(bench.verdicts(), ["isolated", "violated"]);
    bench.rest();
    bench.site.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_claims_nothing_and_the_next_gap_is_covered_again() {
    let bench = Bench::new(|_| {}).await;
    let open_and_close = || {
        bench.carries("sw2p3", &PortVlans::Access(100));
        bench.carries("sw2p3", &PortVlans::Nothing);
    };
    bench.lab.edit(|w| w.restart(Service::Ovsdb("sw2".into())));
    bench.rest();
    open_and_close();
    assert_eq!(bench.verdicts(), ["violated", "isolated"]);
    bench.rest();
    bench.site.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_hil_does_between_polls_no_move_is_called_a_violation() {
    let bench = Bench::new(|w| {
        w.move_node("node06", Some("red")).unwrap();
        w.grant("blue-net", "red").unwrap();
        w.daemon.by_hand = true;
    })
    .await;
    // A small generator of our own: the same moves every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for poll in 0..400 {
        for _ in 0..roll(12) {
            let (what, network) = (roll(5), ["red-net", "blue-net"][roll(2) as usize]);
            let channel =
                (roll(3) == 0).then(|| format!("vlan/{}", if network == "red-net" { 100 } else { 101 }));
            bench.lab.edit(|w| match what {
                // HIL refuses what makes no sense; what it accepts waits for its daemon.
                0 => drop(w.begin_attach("node06", "eth0", network, channel.as_deref())),
                1 => drop(w.begin_detach("node06", "eth0", network)),
                _ => drop(w.daemon_step()),
            });
        }
        // What is half done at a poll is the matter of transition.rs.
        bench.lab.edit(World::run_daemon);
        for verdict in bench.verdicts() {
            assert_ne!(verdict, "violated", "poll {poll}: {:#}", json!(bench.divergences("?open=true")));
            *told.entry(verdict).or_default() += 1;
        }
    }
    // And most of them said something.
    assert!(told["isolated"] > 200 && told["unknown"] > 20, "{told:?}");
    bench.lab.edit(World::run_daemon);
    bench.service.poll();
    bench.rest();
    bench.site.audit();
}
