//! What an operator should know of a HIL before relying on its readings.

use super::answer::Answer;
use super::ask::{Ask, SWITCH_KIND};
use super::json::Json;
use super::{Auth, Cost, Hil};
use crate::source::{Clock, CloudManager, SourceError};
use isoledger_core::time::Span;
use serde::Serialize;
use std::time::Instant;

/// The result of [`Hil::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where HIL is.
    pub url: String,
    /// The user we are to HIL; `None` when no credentials are configured.
    pub user: Option<String>,
    /// HIL's loaded extensions, e.g. `hil.ext.auth.database`; empty when an answer did not list them.
    pub extensions: Vec<String>,
    /// Requests of one crawl.
    pub calls: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The shortest period, in milliseconds, that keeps crawls within the allowed share of HIL's time.
    pub shortest_period_ms: u64,
    /// Networks, nodes with a cabled nic, attachments and registered ports found.
    pub networks: usize,
    /// Nics with a port.
    pub cabled: usize,
    /// Attachments.
    pub attachments: usize,
    /// Ports.
    pub ports: usize,
    /// What could not be understood, as sentences. Any makes every network of the declaration unknown.
    pub anomalies: Vec<String>,
    /// What the operator should consider, as sentences.
    pub advice: Vec<String>,
}

impl Report {
    /// The authentication backends among the extensions, e.g. `database`.
    pub fn auth_backends(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter_map(|e| e.strip_prefix("hil.ext.auth."))
    }

    /// The network allocators among the extensions, e.g. `vlan_pool`.
    pub fn allocators(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter_map(|e| e.strip_prefix("hil.ext.network_allocators."))
    }

    /// The switch drivers among the extensions, e.g. `ovs`.
    pub fn drivers(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter_map(|e| e.strip_prefix("hil.ext.switches."))
    }
}

impl Hil {
    /// Reads everything once, and two pages more that tell how this HIL is set up. A report means that we are an
    /// administrator; whatever keeps us from reading is the error. `period` is how often readings are planned,
    /// `percent` the share of HIL's time they may take.
    pub async fn check(
        &mut self,
        clock: &dyn Clock,
        deadline: Instant,
        period: Span,
        percent: u32,
    ) -> Result<Report, SourceError> {
        // First, because it is for administrators only: a refusal is told after one request.
        let extensions = self.single(Ask::Extensions, deadline).await?;
        let projects = self.single(Ask::Projects, deadline).await?;
        let reading = self.read(clock, deadline).await;
        let declared = reading.outcome?;
        let cost = Cost { calls: reading.sent, took: reading.window.ended.since(reading.window.started) };
        let mut report = Report {
            url: self.http.base().to_owned(),
            user: match self.http.auth() {
                Auth::None => None,
                Auth::Basic { user, .. } => Some(user.clone()),
            },
            extensions: strings(&extensions).unwrap_or_default(),
            calls: cost.calls,
            took_ms: cost.took.millis(),
            shortest_period_ms: cost.shortest_period(percent).millis(),
            networks: declared.networks.len(),
            cabled: declared.cabling.len(),
            attachments: declared.attachments.len(),
            ports: declared.registered.len(),
            anomalies: declared.anomalies.iter().map(|a| format!("{}: {}", a.about, a.what)).collect(),
            advice: Vec::new(),
        };
        report.advice = advice(&report, cost, period, percent, strings(&projects).as_deref());
        Ok(report)
    }
}

fn strings(answer: &Answer) -> Option<Vec<String>> {
    let (200, Ok(Json::List(items))) = (answer.status, Json::parse(&answer.body)) else { return None };
    items.into_iter().map(|i| if let Json::Text(text) = i { Some(text) } else { None }).collect()
}

/// Sentences, the most urgent first.
fn advice(
    report: &Report,
    cost: Cost,
    period: Span,
    percent: u32,
    projects: Option<&[String]>,
) -> Vec<String> {
    let mut advice = Vec::new();
    if !report.anomalies.is_empty() {
        advice.push(format!(
            "HIL's answers hold {} anomalies, and no network can be called isolated while there are any: see to those first.",
            report.anomalies.len()
        ));
    }
    let shortest = cost.shortest_period(percent);
    if shortest > period {
        advice.push(format!(
            "A crawl takes {} requests and {:.1} s, which every {:.0} s is more than {percent} % of HIL's time: use a period \
             of {:.0} s or more, or the database reader, which reads everything with one query.",
            cost.calls,
            seconds(cost.took),
            seconds(period),
            seconds(shortest).ceil()
        ));
    }
    if report.auth_backends().any(|b| b == "null") {
        advice.push(
            "HIL runs with its null authentication backend: whoever reaches it is its administrator.".into(),
        );
    }
    if report.user.is_some() {
        advice.push(
            "HIL has no read-only role: the configured user can change everything in HIL. The database reader needs no more \
             than SELECT on some columns."
                .into(),
        );
    }
    if report.user.is_some() && report.url.starts_with("http://") {
        advice.push("The password travels over plain http with every request.".into());
    }
    match projects {
        None => advice.push("The list of projects could not be read.".into()),
        Some(projects) if projects.iter().any(|p| p == "admin") => advice.push(
            "HIL has a project labelled \"admin\", and writes \"admin\" for the owner of administrators' networks as well: \
             its networks appear as the administrators'. Rename it."
                .into(),
        ),
        Some(_) => {}
    }
    if report.extensions.is_empty() {
        advice.push("The list of HIL's extensions could not be read.".into());
    }
    if report.allocators().any(|a| a == "null") {
        advice.push(
            "HIL runs with its null network allocator: its networks have no VLAN and cannot be assessed."
                .into(),
        );
    }
    advice
}

fn seconds(span: Span) -> f64 {
    // Periods are far below the 2^53 ms that a double holds exactly.
    span.millis() as f64 / 1000.0
}

/// The class name in `Port … on Ovs sw1 does not exist.`
pub(super) fn switch_kind(label: &str, answer: &Answer) -> Option<String> {
    if !answer.not_found() {
        return None;
    }
    let (_, text) = answer.error()?;
    let port = SWITCH_KIND.rsplit('/').next()?;
    let kind =
        text.strip_prefix(&format!("Port {port} on "))?.strip_suffix(&format!(" {label} does not exist."))?;
    (!kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_switches() {
        let say = |status, msg: &str| {
            let body = format!(r#"{{"type":"NotFoundError","msg":"{msg}"}}"#);
            switch_kind("sw 1", &Answer { status, body: body.into_bytes() })
        };
        let port = "Port isoledger-asks-for-no-such-port on";
        assert_eq!(say(404, &format!("{port} Ovs sw 1 does not exist.")).as_deref(), Some("Ovs"));
        assert_eq!(say(404, &format!("{port} DellNOS9 sw 1 does not exist.")).as_deref(), Some("DellNOS9"));
        for msg in [
            "Switch sw 1 does not exist.",
            &format!("{port} sw 1 does not exist."),
            &format!("{port} a/b sw 1 does not exist."),
        ] {
            assert_eq!(say(404, msg), None, "{msg}");
        }
        assert_eq!(say(200, &format!("{port} Ovs sw 1 does not exist.")), None);
    }

    fn report() -> Report {
        Report {
            url: "https://hil.example".into(),
            user: None,
            extensions: vec!["hil.ext.auth.database".into(), "hil.ext.network_allocators.vlan_pool".into()],
            calls: 163,
            took_ms: 57_000,
            shortest_period_ms: 285_000,
            networks: 0,
            cabled: 0,
            attachments: 0,
            ports: 0,
            anomalies: Vec::new(),
            advice: Vec::new(),
        }
    }

    fn advised(report: &Report, period_ms: u64, projects: Option<&[String]>) -> Vec<String> {
        let cost = Cost { calls: report.calls, took: Span::from_millis(report.took_ms) };
        advice(report, cost, Span::from_millis(period_ms), 20, projects)
    }

    #[test]
    fn the_share_of_hils_time() {
        let cost = Cost { calls: 163, took: Span::from_millis(57_000) };
        assert_eq!(cost.shortest_period(20), Span::from_millis(285_000));
        assert_eq!(cost.shortest_period(100), Span::from_millis(57_000));
        assert_eq!(cost.shortest_period(0), cost.shortest_period(1));
        assert_eq!(advised(&report(), 285_000, Some(&[])), Vec::<String>::new());
        let said = advised(&report(), 60_000, Some(&[]));
        assert_eq!(said.len(), 1, "{said:?}");
        for part in ["163 requests and 57.0 s", "every 60 s", "20 %", "285 s or more", "database reader"] {
            assert!(said[0].contains(part), "{part}: {}", said[0]);
        }
    }

    #[test]
    fn advice_on_the_setup() {
        let mut r = report();
        r.user = Some("admin".into());
        r.url = "http://127.0.0.1:5000".into();
        r.extensions = vec!["hil.ext.auth.null".into(), "hil.ext.network_allocators.null".into()];
        r.anomalies = vec!["x".into()];
        let said = advised(&r, 1_000_000, Some(&["admin".into()])).join("\n");
        for part in [
            "1 anomalies",
            "null authentication",
            "no read-only role",
            "plain http",
            "\"admin\"",
            "cannot be assessed",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        r.extensions.clear();
        let said = advised(&r, 1_000_000, None).join("\n");
        assert!(said.contains("projects could not") && said.contains("extensions could not"), "{said}");
    }
}
