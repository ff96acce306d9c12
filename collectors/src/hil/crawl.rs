//! The order of a crawl, without sockets: which question is next, given the answers so far.
//!
//! A crawl reads the three lists, then every page they name, then looks for what does not hold together and asks
//! once more about that: HIL answers each request from a transaction of its own, and may have been changed between
//! two. What still does not hold together then is left to the normaliser, which calls it an anomaly.

use super::answer::{Answer, Pages};
use super::ask::Ask;
use super::normal::{listed, read};
use crate::source::Part;
use std::collections::{BTreeMap, BTreeSet};

/// No question is asked more often in one crawl, so that a HIL that changes all the time, or lies, ends it as well.
const TIMES: u8 = 2;

/// A crawl under way.
#[derive(Debug)]
pub(super) struct Crawl {
    pages: Pages,
    todo: BTreeSet<Ask>,
    asked: BTreeMap<Ask, u8>,
    doubted: bool,
}

impl Crawl {
    /// A whole crawl, which also asks for these actions.
    pub(super) fn whole(actions: &[String]) -> Crawl {
        let mut todo = BTreeSet::from([Ask::Switches, Ask::Networks, Ask::Nodes]);
        todo.extend(actions.iter().cloned().map(Ask::Action));
        Crawl { pages: Pages::new(), todo, asked: BTreeMap::new(), doubted: false }
    }

    /// Asks again about `part` and keeps the rest of `pages`.
    pub(super) fn part(pages: Pages, part: &Part, actions: &[String]) -> Crawl {
        let mut todo: BTreeSet<Ask> = part.nodes.iter().cloned().map(Ask::Node).collect();
        // A node we never read may be new: only the list can say.
        if !todo.iter().all(|node| pages.contains_key(node)) {
            todo.insert(Ask::Nodes);
        }
        if !part.networks.is_empty() {
            // The network's own page does not have its VLAN id.
            todo.insert(Ask::Networks);
            todo.extend(part.networks.iter().cloned().map(Ask::Network));
        }
        todo.extend(
            [Ask::Switches, Ask::Networks, Ask::Nodes].into_iter().filter(|a| !pages.contains_key(a)),
        );
        todo.extend(actions.iter().cloned().map(Ask::Action));
        todo.retain(|a| a.unaskable().is_none());
        Crawl { pages, todo, asked: BTreeMap::new(), doubted: false }
    }

    /// The next question; `None` when the crawl is done.
    pub(super) fn next(&mut self) -> Option<Ask> {
        loop {
            while let Some(ask) = self.todo.pop_first() {
                let times = self.asked.entry(ask.clone()).or_default();
                if *times < TIMES {
                    *times += 1;
                    return Some(ask);
                }
            }
            self.todo = listed(&self.pages).into_iter().flatten().flatten().collect();
            self.todo.retain(|a| {
                a.unaskable().is_none() && !self.pages.contains_key(a) && !self.asked.contains_key(a)
            });
            if !self.todo.is_empty() {
                continue;
            }
            if self.doubted {
                return None;
            }
            self.doubted = true;
            self.todo = read(&self.pages).1.into_iter().flat_map(|doubt| doubt.again).collect();
        }
    }

    /// How many questions are known to be still open.
    pub(super) fn open(&self) -> usize {
        self.todo.len()
    }

    /// Takes the answer to a question; the youngest answer counts.
    pub(super) fn answer(&mut self, ask: Ask, answer: Answer) {
        self.pages.insert(ask, answer);
    }

    /// The settled pages. Pages of what the lists, read again, no longer name are dropped: it is gone, and what it
    /// said before it went is not declared any more.
    pub(super) fn finish(mut self) -> Pages {
        let [switches, nodes, networks] = listed(&self.pages);
        self.pages.retain(|ask, _| {
            let list = match ask {
                Ask::Switch(_) => &switches,
                Ask::Node(_) => &nodes,
                Ask::Network(_) => &networks,
                _ => return true,
            };
            list.as_ref().is_none_or(|l| l.contains(ask))
        });
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A HIL whose answers are a table, and may change when a question arrives.
    struct Table {
        answers: BTreeMap<String, (u16, String)>,
        asked: Vec<String>,
    }

    impl Table {
        /// One switch, one node with one nic on `red`, which is VLAN 100.
        fn small() -> Table {
            let mut table = Table { answers: BTreeMap::new(), asked: Vec::new() };
            table.set("/v0/switches", r#"["sw1"]"#);
            table.set("/v0/nodes/all", r#"["n1"]"#);
            table.set("/v0/networks", r#"{"red":{"network_id":"100","projects":["red"]}}"#);
            table.set("/v0/switch/sw1", r#"{"name":"sw1","ports":[{"label":"p1"},{"label":"p2"}]}"#);
            table.node("n1", "p1", Some("red"));
            table.network(&[("n1", "eth0")]);
            table
        }

        fn set(&mut self, path: &str, body: &str) {
            self.answers.insert(path.into(), (200, body.into()));
        }

        fn node(&mut self, node: &str, port: &str, network: Option<&str>) {
            let networks = network.map_or("{}".into(), |n| format!(r#"{{"vlan/native":"{n}"}}"#));
            let body = format!(
                r#"{{"name":"{node}","project":"red","metadata":{{}},"nics":[{{"label":"eth0","macaddr":"x",
                "networks":{networks},"switch":"sw1","port":"{port}"}}]}}"#
            );
            self.set(&format!("/v0/node/{node}"), &body);
        }

        fn network(&mut self, connected: &[(&str, &str)]) {
            let nodes: Vec<String> = connected.iter().map(|(n, c)| format!(r#""{n}":["{c}"]"#)).collect();
            let body = format!(
                r#"{{"name":"red","owner":"red","access":["red"],"channels":[],"connected-nodes":{{{}}}}}"#,
                nodes.join(",")
            );
            self.set("/v0/network/red", &body);
        }

        fn run(&mut self, mut crawl: Crawl, mut change: impl FnMut(&mut Table, &str, usize)) -> Pages {
            while let Some(ask) = crawl.next() {
                let path = ask.path();
                change(self, &path, self.asked.len());
                let not_found = (404, r#"{"type":"NotFoundError","msg":"It does not exist."}"#.to_owned());
                let (status, body) = self.answers.get(&path).cloned().unwrap_or(not_found);
                self.asked.push(path);
                let answer = Answer::kept(&ask, status, body.into_bytes());
                crawl.answer(ask, answer);
            }
            crawl.finish()
        }
    }

    fn anomalies(pages: &Pages) -> Vec<String> {
        read(pages).1.into_iter().map(|d| format!("{}: {}", d.anomaly.about, d.anomaly.what)).collect()
    }

    #[test]
    fn a_quiet_hil_is_asked_everything_once_in_order() {
        let mut hil = Table::small();
        let pages = hil.run(Crawl::whole(&[]), |_, _, _| {});
        let order = [
            "/v0/switches",
            "/v0/networks",
            "/v0/nodes/all",
            "/v0/node/n1",
            "/v0/switch/sw1",
            "/v0/network/red",
        ];
        assert_eq!(hil.asked, order);
        assert_eq!(anomalies(&pages), Vec::<String>::new());
        assert_eq!(pages.keys().map(Ask::path).collect::<Vec<_>>(), order);
    }

    #[test]
    fn a_node_deleted_during_the_crawl_is_gone() {
        let mut hil = Table::small();
        hil.set("/v0/nodes/all", r#"["n1","n2"]"#);
        hil.node("n2", "p2", None);
        let pages = hil.run(Crawl::whole(&[]), |hil, path, _| {
            if path == "/v0/node/n1" {
                hil.answers.remove("/v0/node/n2");
                hil.set("/v0/nodes/all", r#"["n1"]"#);
            }
        });
        assert_eq!(anomalies(&pages), Vec::<String>::new());
        assert!(!pages.contains_key(&Ask::Node("n2".into())));
        assert_eq!(hil.asked.iter().filter(|p| *p == "/v0/nodes/all").count(), 2);
    }

    #[test]
    fn a_node_that_stays_listed_and_unknown_is_an_anomaly() {
        let mut hil = Table::small();
        hil.set("/v0/nodes/all", r#"["n1","n2"]"#);
        let pages = hil.run(Crawl::whole(&[]), |_, _, _| {});
        let [only] = &anomalies(&pages)[..] else { panic!("one anomaly was expected") };
        assert!(only.contains("/v0/node/n2: HIL listed it and then did not know it"), "{only}");
        assert_eq!(hil.asked.iter().filter(|p| *p == "/v0/node/n2").count(), 2);
    }

    #[test]
    fn an_attachment_made_during_the_crawl_is_settled() {
        // After the node's page, before the network's.
        let mut hil = Table::small();
        hil.node("n1", "p1", None);
        hil.network(&[]);
        let pages = hil.run(Crawl::whole(&[]), |hil, path, _| {
            if path == "/v0/switch/sw1" {
                hil.node("n1", "p1", Some("red"));
                hil.network(&[("n1", "eth0")]);
            }
        });
        assert_eq!(anomalies(&pages), Vec::<String>::new());
        assert_eq!(read(&pages).0.attachments.len(), 1);
    }

    #[test]
    fn a_network_and_a_node_born_during_the_crawl_are_read() {
        let mut hil = Table::small();
        let pages = hil.run(Crawl::whole(&[]), |hil, path, at| {
            if path == "/v0/node/n1" && at == 3 {
                hil.set("/v0/nodes/all", r#"["n1","n2"]"#);
                hil.node("n2", "p2", Some("red"));
                hil.network(&[("n1", "eth0"), ("n2", "eth0")]);
            }
        });
        assert_eq!(anomalies(&pages), Vec::<String>::new());
        assert_eq!(read(&pages).0.attachments.len(), 2);
    }

    #[test]
    fn a_hil_that_never_holds_still_ends_and_says_so() {
        let mut hil = Table::small();
        let mut names = 0;
        let pages = hil.run(Crawl::whole(&[]), |hil, path, _| {
            names += 1;
            if path == "/v0/nodes/all" {
                hil.set("/v0/nodes/all", &format!(r#"["n1","ghost{names}"]"#));
            }
            hil.network(if names % 2 == 0 { &[] } else { &[("n1", "eth0"), ("n9", "eth0")] });
        });
        assert!(hil.asked.len() < 20, "{:?}", hil.asked);
        assert!(!anomalies(&pages).is_empty());
    }

    #[test]
    fn a_part_is_merged_in_place() {
        let mut hil = Table::small();
        let before = hil.run(Crawl::whole(&[]), |_, _, _| {});
        hil.asked.clear();
        let part = Part { nodes: ["n1".to_owned()].into(), networks: BTreeSet::new() };
        let same = hil.run(Crawl::part(before.clone(), &part, &[]), |_, _, _| {});
        assert_eq!(hil.asked, ["/v0/node/n1"]);
        assert_eq!(same, before);

        // The node left the network meanwhile: its page alone would contradict the network's old one.
        hil.asked.clear();
        hil.node("n1", "p1", None);
        hil.network(&[]);
        let after = hil.run(Crawl::part(before.clone(), &part, &[]), |_, _, _| {});
        assert_eq!(anomalies(&after), Vec::<String>::new());
        assert_eq!(hil.asked, ["/v0/node/n1", "/v0/node/n1", "/v0/network/red"]);

        // A network is listed again for its VLAN id, a node we never saw because it may be new.
        hil.asked.clear();
        let part = Part { nodes: ["n2".to_owned()].into(), networks: ["red".to_owned()].into() };
        hil.set("/v0/nodes/all", r#"["n1","n2"]"#);
        hil.node("n2", "p2", None);
        let after = hil.run(Crawl::part(after, &part, &[]), |_, _, _| {});
        assert_eq!(hil.asked, ["/v0/networks", "/v0/nodes/all", "/v0/node/n2", "/v0/network/red"]);
        assert_eq!(read(&after).0.cabling.len(), 2);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_asked_for_again() {
        let mut hil = Table::small();
        hil.answers.insert("/v0/nodes/all".into(), (500, "<title>500 Internal Server Error</title>".into()));
        let pages = hil.run(Crawl::whole(&[]), |hil, path, at| {
            if path == "/v0/switch/sw1" && at > 0 {
                hil.set("/v0/nodes/all", r#"["n1"]"#);
            }
        });
        assert_eq!(anomalies(&pages), Vec::<String>::new());
        assert_eq!(read(&pages).0.attachments.len(), 1);
    }
}
