//! The whole road over real Open vSwitch and real OpenSSH: what HIL's own driver leaves on a switch, and what gets past
//! every VLAN column without one of them changing. Only HIL is the lab's.
#![allow(clippy::unwrap_used)]

use isoledger_collectors::openvswitch::{FLOWS_COMMAND, GROUPS_COMMAND};
use isoledger_lab::{Lab, World};
use isoledger_tests::openssh::OpenSsh;
use isoledger_tests::ovs::OpenVSwitch;
use isoledger_tests::program::Service;
use isoledger_tests::site::{Site, findings};
use serde_json::Value;
use std::time::{Duration, Instant};

/// HIL's side: red on p1 and blue on p2 of the switch `sw1`, natively; p3 is registered and nobody's.
fn declared() -> World {
    let mut world = World::new();
    for project in ["red", "blue"] {
        world.add_project(project);
    }
    world.add_user("auditor", "lab-auditor", true, &[]);
    world.add_network("red-net", Some("red"), &["red"], "100");
    world.add_network("blue-net", Some("blue"), &["blue"], "101");
    world.add_ovs_switch("sw1").unwrap();
    for (n, (port, project)) in
        [("p1", Some("red")), ("p2", Some("blue")), ("p3", None)].into_iter().enumerate()
    {
        world.add_port("sw1", port).unwrap();
        let node = format!("node{n}");
        world.add_node(&node, project);
        world.add_nic(&node, "eth0", &format!("02:00:00:00:00:0{n}")).unwrap();
        world.wire(&node, "eth0", "sw1", port).unwrap();
        if let Some(project) = project {
            world.declare(&node, "eth0", &format!("{project}-net"), "vlan/native");
        }
    }
    world
}

/// The real switch with HIL's side beside it, and the service that audits both.
struct Cloud {
    lab: Lab,
    ovs: OpenVSwitch,
    // Ends before its directory.
    service: Service,
    site: Site,
}

impl Cloud {
    /// With the flows read as `flows` says; `None` where Open vSwitch is not installed.
    async fn start(flows: impl FnOnce(&OpenVSwitch) -> String) -> Option<Cloud> {
        let ovs = OpenVSwitch::start()?;
        ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
        ovs.vsctl("add-port br0 p1 -- add-port br0 p2 -- add-port br0 p3 -- add-port br0 up trunks=100,101");
        Cloud::with(ovs, flows).await
    }

    async fn with(ovs: OpenVSwitch, flows: impl FnOnce(&OpenVSwitch) -> String) -> Option<Cloud> {
        let lab = Lab::start(declared()).await.unwrap();
        let mut site = Site::new(&lab.hil_url());
        site.log_in("auditor", "lab-auditor");
        let lines =
            format!("kind = \"openvswitch\"\novsdb = \"{}\"\nbridge = \"br0\"\n{}", ovs.db(), flows(&ovs));
        site.switches.insert("sw1".into(), lines);
        site.exit("core-router", "sw1", "up", "100-101");
        // The bridge's own port leads into the switch's host and carries every VLAN.
        site.exit("host", "sw1", "br0", "all");
        site.scope =
            site.scope.replace("name = \"host\"\nkind = \"router\"", "name = \"host\"\nkind = \"local\"");
        site.write();
        let service = site.serve();
        Some(Cloud { lab, ovs, service, site })
    }

    /// Ports as a careful driver would leave them: every VLAN said explicitly.
    fn explicit(&self) {
        self.ovs.vsctl(
            "set port p1 vlan_mode=native-untagged tag=100 trunks=100 \
             -- set port p2 vlan_mode=native-untagged tag=101 trunks=101 -- set port p3 vlan_mode=access",
        );
    }

    /// Both networks' verdicts in a poll made now.
    fn verdicts(&self) -> (String, String) {
        let polled = self.service.poll();
        let of = |n: &str| polled["verdicts"][n].as_str().unwrap().to_owned();
        (of("red-net"), of("blue-net"))
    }

    fn findings(&self, network: &str) -> Vec<(String, String)> {
        findings(&self.service.network(network))
    }

    /// The columns of every port row that decide what a port carries.
    fn port_rows(&self) -> String {
        self.ovs.vsctl("--format=json --columns=_uuid,name,vlan_mode,tag,trunks,cvlans,interfaces list Port")
    }

    /// Asserts isolated, pulls a lever, asserts a bypass of this class and nothing else new, pulls it back, and asserts
    /// isolated once more; all the while no port row changed.
    fn bypassed(&self, class: &str, on: impl FnOnce(&OpenVSwitch), off: impl FnOnce(&OpenVSwitch)) {
        assert_eq!(self.verdicts(), ("isolated".into(), "isolated".into()), "before {class}");
        let rows = self.port_rows();
        on(&self.ovs);
        assert_eq!(self.verdicts(), ("violated".into(), "violated".into()), "{class}");
        for network in ["red-net", "blue-net"] {
            let found = self.findings(network);
            assert!(
                found.iter().any(|(f, at)| f == "bypass" && at.contains("sw1") && at.contains(class)),
                "{class}: {found:?}"
            );
            assert!(found.iter().all(|(f, _)| f == "bypass"), "{class}: {found:?}");
        }
        assert_eq!(self.port_rows(), rows, "{class} left every port row as it was");
        off(&self.ovs);
        // The switch puts its plain rule back in its own time.
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.verdicts() != ("isolated".into(), "isolated".into()) {
            assert!(Instant::now() < deadline, "after {class}: {:?}", self.findings("red-net"));
        }
        assert_eq!(self.port_rows(), rows, "{class}");
    }
}

fn over_openflow(ovs: &OpenVSwitch) -> String {
    format!("flows = {{ openflow = \"{}\" }}\n", ovs.mgmt("br0"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hils_own_driver_leaves_is_violated_by_all_vlans() {
    let Some(cloud) = Cloud::start(over_openflow).await else { return };
    cloud.explicit();
    assert_eq!(cloud.verdicts(), ("isolated".into(), "isolated".into()), "{:?}", cloud.findings("red-net"));
    let all_vlans = |step: &str, port: &str| {
        assert_eq!(cloud.verdicts(), ("violated".into(), "violated".into()), "{step}");
        for network in ["red-net", "blue-net"] {
            let found = cloud.findings(network);
            let at_port = |f: &(String, String)| f.0 == "all-vlans" && f.1.ends_with(port);
            assert!(found.iter().any(at_port), "{step}: {network}: {found:?}");
        }
    };
    let isolated = |step: &str| {
        cloud.explicit();
        let verdicts = cloud.verdicts();
        assert_eq!(
            verdicts,
            ("isolated".into(), "isolated".into()),
            "{step}: {:?}",
            cloud.findings("red-net")
        );
    };
    // HIL attaches a native network and nothing tagged.
    cloud.ovs.vsctl("clear port p1 trunks");
    cloud.ovs.vsctl("set port p1 tag=100 vlan_mode=native-untagged");
    all_vlans("native-only attach", "p1");
    isolated("explicit trunks again");
    // A tagged network beside it, and its removal, the last of the trunk's.
    cloud.ovs.vsctl("set port p2 trunks=101,200");
    assert_eq!(cloud.verdicts(), ("isolated".into(), "isolated".into()), "200 is nobody's");
    cloud.ovs.vsctl("remove port p2 trunks 200 -- remove port p2 trunks 101");
    all_vlans("removal of the last trunk VLAN", "p2");
    isolated("explicit trunks again");
    // A revert of a port that is nobody's.
    cloud.ovs.vsctl("del-port p3 -- add-port br0 p3 vlan_mode=native-untagged");
    all_vlans("revert", "p3");
    isolated("explicit mode again");
    // Every one of them is in the ledger, with the switch as the side that moved.
    let found = cloud.site.run("--json divergences").expect(0).json();
    let divergences: Vec<&Value> =
        found["divergences"].as_array().unwrap().iter().filter(|d| d["finding"] == "all-vlans").collect();
    for port in ["p1", "p2", "p3"] {
        let of_port = divergences.iter().find(|d| d["at"].as_str().unwrap().ends_with(port));
        let d = of_port.unwrap_or_else(|| panic!("{port}: {found:#}"));
        assert_eq!((&d["open"], &d["onset"]["cause"]), (&false.into(), &"switch-moved".into()), "{d:#}");
    }
    cloud.site.audit();
    cloud.lab.assert_only_reads();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_opened_and_closed_between_two_polls_is_found() {
    let Some(cloud) = Cloud::start(over_openflow).await else { return };
    cloud.explicit();
    let isolated = || ("isolated".to_owned(), "isolated".to_owned());
    assert_eq!(cloud.verdicts(), isolated(), "{:?}", cloud.findings("red-net"));
    cloud.ovs.vsctl("set port p3 tag=100");
    cloud.ovs.vsctl("clear port p3 tag");
    assert_eq!(cloud.verdicts(), ("violated".into(), "isolated".into()));
    assert_eq!(cloud.findings("red-net"), [("foreign-port".to_owned(), "port sw1 p3".to_owned())]);
    assert_eq!(cloud.verdicts(), isolated());
    // red's own node may be on red's network: its port left it and came back, and nobody is accused.
    cloud.ovs.vsctl("set port p1 tag=101 trunks=101");
    cloud.explicit();
    assert_eq!(cloud.verdicts(), ("isolated".into(), "violated".into()), "but not on blue's");
    assert_eq!(cloud.verdicts(), isolated());
    let found = cloud.site.run("--json divergences").expect(0).json();
    let all: Vec<&Value> =
        found["divergences"].as_array().unwrap().iter().filter(|d| d["passed"] == true).collect();
    assert_eq!(all.len(), 2, "{found:#}");
    for d in all {
        assert_eq!((&d["open"], &d["onset"]["cause"]), (&false.into(), &"switch-moved".into()), "{d:#}");
        assert_eq!(
            (&d["onset"]["by"], &d["closed"]["by"]),
            (&d["claim"]["from"], &d["claim"]["to"]),
            "{d:#}"
        );
    }
    cloud.site.audit();
    cloud.lab.assert_only_reads();
}

/// One OpenFlow rule, one mirror, one controller, one after the other.
fn one_of_each(cloud: &Cloud) {
    cloud.bypassed(
        "flows",
        |ovs| drop(ovs.ofctl("add-flow br0 priority=100,in_port=p1,actions=output:p2")),
        |ovs| drop(ovs.ofctl("--strict del-flows br0 priority=100,in_port=p1")),
    );
    cloud.bypassed(
        "mirror",
        |ovs| {
            ovs.vsctl(
                "-- --id=@o get port p3 -- --id=@m create mirror name=span select-all=true output-port=@o \
                 -- set bridge br0 mirrors=@m",
            );
        },
        |ovs| drop(ovs.vsctl("clear bridge br0 mirrors")),
    );
    cloud.bypassed(
        "controller",
        |ovs| {
            // Standalone, so that the plain rule stays while nobody answers.
            ovs.vsctl("set-fail-mode br0 standalone -- set-controller br0 tcp:127.0.0.1:1");
        },
        |ovs| drop(ovs.vsctl("del-controller br0 -- del-fail-mode br0")),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rule_one_mirror_one_controller_each_end_isolation_though_no_port_row_changed() {
    let Some(cloud) = Cloud::start(over_openflow).await else { return };
    cloud.explicit();
    one_of_each(&cloud);
    // The tenant's proof of the whole range says so too, and the operator's audit recomputes it.
    cloud.site.policy("max-gap 1h\n", "red-net domain lab project red vlan 100");
    let attestation = cloud.site.attest("red-net", "");
    let said = cloud.site.verify(&attestation).expect(1).json();
    assert_eq!((&said["outcome"], &said["refuted"]), (&"refuted".into(), &"violation".into()), "{said:#}");
    cloud.site.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_flows_read_over_real_openssh() {
    let Some(ovs) = OpenVSwitch::start() else { return };
    ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    ovs.vsctl("add-port br0 p1 -- add-port br0 p2 -- add-port br0 p3 -- add-port br0 up trunks=100,101");
    let script = format!(
        "case \"$SSH_ORIGINAL_COMMAND\" in\n\
         '{FLOWS_COMMAND}br0'|'{GROUPS_COMMAND}br0') OVS_RUNDIR={} exec $SSH_ORIGINAL_COMMAND;;\n\
         *) echo refused >&2; exit 126;;\nesac",
        ovs.rundir().display()
    );
    let Some(ssh) = OpenSsh::start(&script) else { return };
    let known = ssh.known_hosts("known", &["host_ed25519"], true);
    let over_ssh = |_: &OpenVSwitch| {
        format!(
            "flows = \"ssh\"\nssh = {{ host = \"127.0.0.1\", port = {}, user = \"{}\", known-hosts = \"{}\", key = \"{}\" }}\n",
            ssh.port,
            ssh.user,
            known.display(),
            ssh.file("user").display()
        )
    };
    let Some(cloud) = Cloud::with(ovs, over_ssh).await else { return };
    cloud.explicit();
    one_of_each(&cloud);
    assert_eq!(ssh.logins(), 1, "one login serves every poll");
    for line in ssh.asked().lines() {
        assert!(line == format!("{FLOWS_COMMAND}br0") || line == format!("{GROUPS_COMMAND}br0"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_that_nobody_reads_leave_the_verdict_unknown() {
    let Some(cloud) = Cloud::start(|_| String::new()).await else { return };
    cloud.explicit();
    assert_eq!(cloud.verdicts(), ("unknown".into(), "unknown".into()));
    let row = cloud.service.network("red-net");
    let not_assessed = row["notAssessed"].to_string();
    assert!(not_assessed.contains("flows"), "{row:#}");
    let unread = ("unreadable".to_owned(), "flows on switch sw1".to_owned());
    assert_eq!(findings(&row), [unread], "nothing else was found, and nothing is called isolated");
    // A rule in there is not seen; that is why it was unknown before.
    cloud.ovs.ofctl("add-flow br0 priority=100,in_port=p1,actions=output:p2");
    assert_eq!(cloud.verdicts(), ("unknown".into(), "unknown".into()));
    // A tenant that does not accept this gets no answer, one that does gets one with the word of it.
    cloud.site.policy("max-gap 1h\n", "red-net domain lab project red");
    let attestation = cloud.site.attest("red-net", "");
    cloud.site.verify(&attestation).expect(2);
    cloud.site.policy("max-gap 1h\n", "red-net domain lab project red accept-unread flows");
    let said = cloud.site.verify(&attestation).expect(0).json();
    assert_eq!(said["outcome"], "verified", "{said:#}");
}
