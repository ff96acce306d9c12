//! Many switches of every dialect: read, judged and recorded, so many at once and no more, over sessions that are kept.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{Fault, Lab, Service, Traffic};
use isoledger_tests::fleet;
use isoledger_tests::site::findings;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SWITCHES: usize = 30;
const PORTS: usize = 12;

fn sum(traffic: &BTreeMap<String, Traffic>, kind: &str) -> u64 {
    traffic.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, t)| t.connections).sum()
}

/// The most of these windows that are open at one moment.
fn most_at_once(state: &Value) -> usize {
    let windows: Vec<(&str, &str)> = state["switches"]
        .as_object()
        .unwrap()
        .values()
        .map(|s| (s["read"]["started"].as_str().unwrap(), s["read"]["ended"].as_str().unwrap()))
        .collect();
    // They are told in whole milliseconds, so one that ends where another begins is over. Times are texts of one length.
    windows.iter().map(|(at, _)| windows.iter().filter(|(a, b)| a <= at && at < b).count()).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_read_judged_and_recorded_with_bounded_concurrency_over_sessions_that_are_kept() {
    let lab = Lab::start(fleet::world(SWITCHES, PORTS)).await.unwrap();
    let mut site = fleet::site(&lab, PORTS);
    site.parallel = 4;
    site.write();
    // Whoever asked them all at once would be seen to: each answer over HTTP takes a moment.
    let web: Vec<Service> = lab
        .hardware()
        .iter()
        .filter(|at| !at.kind.is_console())
        .map(|at| Service::Rest(at.hardware.clone()))
        .collect();
    lab.edit(|world| {
        for service in &web {
            world.set_fault(service.clone(), Fault::Delay(Duration::from_millis(10)));
        }
    });

    let service = site.serve();
    let first = service.poll();
    assert_eq!(first["failures"], serde_json::json!([]), "{first:#}");
    let asked_at_once = lab.cloud().take_most_at_once();
    assert!((2..=4).contains(&asked_at_once), "{asked_at_once} were asked at once; poll.parallel is 4");

    let before = lab.cloud().traffic();
    let second = service.poll();
    assert_eq!(second["failures"], serde_json::json!([]), "{second:#}");
    let after = lab.cloud().traffic();
    for (name, traffic) in &after {
        match name.split(':').next().unwrap() {
            "console" | "ovsdb" => {
                let then = before[name];
                assert_eq!(traffic.connections, then.connections, "{name} was logged in to anew");
                assert_eq!(traffic.connections, 1, "{name}");
                assert!(traffic.said > then.said, "{name} was not asked");
            }
            // A connection that is being given back when the next question is asked is not waited for.
            "rest" => assert!(traffic.said > before[name].said, "{name} was not asked"),
            // OpenFlow is asked over a connection of its own each time.
            "openflow" => assert!(traffic.said > before[name].said),
            other => panic!("{other} was asked, and no such source is configured"),
        }
    }
    let (opened, more) = (sum(&before, "rest"), sum(&after, "rest") - sum(&before, "rest"));
    assert!(more < opened, "{opened} connections over HTTP in the first poll, {more} more in the second");
    let hardware = u64::try_from(lab.hardware().len()).unwrap();
    assert_eq!(sum(&after, "console") + u64::try_from(web.len()).unwrap(), hardware);
    assert_eq!(sum(&after, "ovsdb") + hardware, u64::try_from(SWITCHES).unwrap());

    // Judged: nothing but what is declared; and then one port that is open.
    let all = service.get("/v1/networks").unwrap().json();
    let rows = all["networks"].as_array().unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!(rows.len(), 2 * 64);
    for row in rows {
        let others: Vec<_> = findings(row).into_iter().filter(|(f, _)| f != "unreadable").collect();
        assert!(others.is_empty(), "{}: {others:?}", row["network"]);
    }
    let names: Vec<String> = lab.hardware().into_iter().map(|at| at.hardware).collect();
    let open = lab.edit(|world| fleet::open_free_port(world, &names[0]));
    let third = service.poll();
    let found = findings(&service.network("t00-a"));
    let at = format!("port {} {open}", names[0]);
    assert!(found.contains(&("foreign-port".into(), at.clone())), "{at} is not in {found:?}");
    assert_eq!(third["verdicts"]["t00-a"], "violated");
    service.stop();

    // What the record says of it.
    let state = site.json(&format!("state --at {}", second["poll"]));
    let read: BTreeSet<&str> = state["switches"]
        .as_object()
        .unwrap()
        .values()
        .map(|s| s["reader"]["dialect"].as_str().unwrap())
        .collect();
    assert_eq!(read.len(), 6, "{read:?}");
    assert_eq!(state["switches"].as_object().unwrap().len(), SWITCHES);
    assert!((2..=4).contains(&most_at_once(&state)), "{}", most_at_once(&state));
    site.audit();
    lab.assert_only_reads();

    // The limit is what limits: with another one, more are asked at once.
    site.parallel = 64;
    site.write();
    lab.edit(|world| {
        for service in &web {
            world.set_fault(service.clone(), Fault::Delay(Duration::from_millis(300)));
        }
    });
    lab.cloud().take_most_at_once();
    site.poll();
    let asked_at_once = lab.cloud().take_most_at_once();
    assert!(asked_at_once > 4, "{asked_at_once} were asked at once; poll.parallel is 64");
}
