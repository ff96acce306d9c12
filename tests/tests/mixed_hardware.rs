//! A site with one switch of each kind, audited whole by the built program.
#![allow(clippy::unwrap_used)]

use isoledger_lab::{HardwareKind, Lab, VlanList, VlanRanges, World};
use isoledger_tests::hardware::observed_name;
use isoledger_tests::site::{Site, findings};
use serde_json::Value;
use std::collections::BTreeSet;

const NETWORKS: [&str; 3] = ["red-net", "blue-net", "red-two"];

fn isolation(row: &Value) -> Vec<String> {
    let all = row["findings"].as_array().into_iter().flatten();
    let bad = all.filter(|f| f["class"] == "isolation");
    bad.map(|f| format!("{} at {}", f["finding"].as_str().unwrap(), f["at"].as_str().unwrap())).collect()
}

/// Classes of bypass that some reader does not read: without the tenant's consent they leave a verdict unknown.
fn accept_unread(row: &Value) -> String {
    let classes: BTreeSet<&str> = (row["findings"].as_array().into_iter().flatten())
        .filter(|f| f["finding"] == "unreadable")
        .filter_map(|f| {
            f["at"]
                .as_str()?
                .split_whitespace()
                .find_map(|w| isoledger_core::model::BypassClass::from_name(w.trim_end_matches([',', ':'])))
        })
        .map(|class| class.name())
        .collect();
    match classes.is_empty() {
        true => String::new(),
        false => format!(" accept-unread {}", classes.into_iter().collect::<Vec<_>>().join(" ")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_site_is_audited_whole() {
    let lab = Lab::start(World::mixed()).await.unwrap();
    let site = Site::of_lab(&lab);

    // What `check` says: every switch was read, and how each class of bypass is decided on it.
    let said = site.run("--json check").json();
    for at in lab.hardware() {
        let of = |what: &str| {
            let all = said["checks"].as_array().unwrap();
            all.iter()
                .find(|c| c["check"] == what)
                .unwrap_or_else(|| panic!("no {what:?} in {said:#}"))
                .clone()
        };
        assert_eq!(of(&format!("switch {}", at.hardware))["ok"], true, "{said:#}");
        for class in isoledger_core::model::BypassClass::ALL {
            let detail = of(&format!("switch {}, {class}", at.hardware))["detail"].clone();
            assert!(detail.as_str().unwrap().len() > 20, "{detail}");
        }
    }

    // Nothing but what is declared is carried anywhere, whatever is not read.
    site.poll();
    for network in NETWORKS {
        let row = site.network(network);
        assert_eq!(isolation(&row), Vec::<String>::new(), "{row:#}");
        let others: Vec<_> = findings(&row).into_iter().filter(|(f, _)| f != "unreadable").collect();
        assert!(others.is_empty(), "{network}: {others:?}");
    }

    // Somebody opens a free port on each kind of switch in turn, and closes it again.
    for kind in HardwareKind::ALL {
        let name = lab.hardware().into_iter().find(|h| h.kind == kind).unwrap().hardware;
        let native = kind.native_port(None, &kind.hil_port(4));
        let before = lab.edit(|world| {
            let port = world.hardware_mut(&name).unwrap().port_mut(&native).unwrap();
            let before = port.clone();
            port.admin_down = false;
            match kind {
                HardwareKind::Os9 => drop(port.set_general(Some(100), VlanRanges::none())),
                HardwareKind::Vdx => drop(port.set_trunk(Some(1), VlanList::List(VlanRanges::from([100])))),
                _ => drop(port.set_access(100)),
            }
            before
        });
        site.poll();
        let row = site.network("red-net");
        let at = format!("foreign-port at port {name} {}", observed_name(kind, &native));
        assert_eq!((&row["verdict"], isolation(&row)), (&"violated".into(), vec![at]), "{row:#}");
        assert_ne!(site.network("blue-net")["verdict"], "violated");
        lab.edit(|world| {
            *world.hardware_mut(&name).unwrap().port_mut(&native).unwrap() = before;
        });
        site.poll();
        assert_ne!(site.network("red-net")["verdict"], "violated");
    }
    let told = site.json("divergences --network red-net");
    let foreign: Vec<&Value> =
        told["divergences"].as_array().unwrap().iter().filter(|d| d["finding"] == "foreign-port").collect();
    assert_eq!(foreign.len(), HardwareKind::ALL.len(), "{told:#}");
    for d in foreign {
        assert_eq!((&d["open"], &d["onset"]["cause"]), (&false.into(), &"switch-moved".into()), "{d:#}");
    }

    // HIL moves a node on each switch, by its own drivers: never a violation.
    for kind in HardwareKind::ALL {
        let name = lab.hardware().into_iter().find(|h| h.kind == kind).unwrap().hardware;
        let node = format!("{name}-2");
        lab.edit(|world| world.detach(&node, "eth0", "blue-net").unwrap());
        site.poll();
        lab.edit(|world| world.attach(&node, "eth0", "blue-net", None).unwrap());
        site.poll();
        for network in NETWORKS {
            let row = site.network(network);
            assert_eq!(isolation(&row), Vec::<String>::new(), "{kind:?}: {row:#}");
        }
    }

    // The history follows from the evidence, and today's readers understand it as yesterday's did.
    site.audit();
    let again = site.run("--json replay --renormalise").expect(0).json();
    assert_eq!((&again["ok"], &again["otherVersion"]), (&true.into(), &0.into()), "{again:#}");
    assert!(again["readAgain"].as_u64().unwrap() >= 6 + 2 * 5, "{again:#}");

    // A tenant that accepts what cannot be read gets its proof.
    let row = site.network("blue-net");
    let accept = accept_unread(&row);
    site.policy(
        "max-gap 1h\n",
        &format!("blue-net domain lab project blue vlan 101 exits exactly core-router{accept}"),
    );
    let done = site.verify(&site.attest("blue-net", ""));
    assert_eq!(done.code, Some(0), "{done:?} with {accept:?}");
    lab.assert_only_reads();
}
