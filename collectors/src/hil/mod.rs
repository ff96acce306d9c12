//! HIL over REST: what the Hardware Isolation Layer declares, read with GET alone.
//!
//! # In scope
//! - [`Hil`], the reader: a crawl of every network, node and switch, one request at a time; [`Hil::check`], what an
//!   operator should know before relying on it; [`Hil::switch_kind`], which driver HIL uses for a switch.
//! - [`normalise`]: evidence in, [`Declared`] out, pure.
//!
//! # Out of scope
//! Keystone. The pending-action list, switch hosts and dummy VLANs, which only HIL's database has. Any request that
//! is not in [`ask`].
//!
//! # Where to start reading
//! [`ask`] has every URL. `crawl` is the order of questions, `answer` what is kept of an answer, `normal` what it
//! means, `http` how it is fetched. Quirks and bounds are in `docs/dialects/hil.md`.

pub mod answer;
pub mod ask;
pub(crate) mod channel;
mod check;
mod crawl;
mod http;
mod json;
mod normal;

#[cfg(test)]
mod tests;

pub use check::Report;
pub use http::{Auth, Config, ConfigError, MAX_BODY};

use crate::evidence::{Evidence, Exchange, MAX_EVIDENCE};
use crate::net::web::Unanswered;
use crate::source::{Clock, CloudManager, Part, Pending, Reading, SourceError};
use answer::{Answer, Pages, quote};
use ask::Ask;
use crawl::Crawl;
use http::Http;
use isoledger_core::model::{Anomaly, Declared, Failure, Reader, Window};
use isoledger_core::time::Span;
use normal::Doubt;
use std::time::Instant;

/// The dialect's name.
pub const DIALECT: &str = "hil-rest";
/// The version of its normaliser.
pub const VERSION: u32 = 1;
/// The share of HIL's time, in percent, that readings may take unless configured otherwise.
pub const DUTY_PERCENT: u32 = 20;
/// The most requests one crawl sends.
const MAX_CALLS: usize = 20_000;
/// The most bytes of bodies one crawl keeps. Encoded as evidence, a byte takes six at the worst.
const MAX_CRAWL: usize = 10 << 20;

const GET: &str = "GET ";
/// What HIL declared, from the evidence of one reading of it. Pure.
///
/// Fails when HIL did not answer, refused us, or gave a list that cannot be read, as the reading itself failed then.
/// Whatever else is not understood is among [`Declared::anomalies`].
pub fn normalise(evidence: &Evidence) -> Result<Declared, SourceError> {
    let mut pages = Pages::new();
    let mut strange = Vec::new();
    for exchange in &evidence.exchanges {
        let path = exchange.asked.strip_prefix(GET);
        let mut note = |what: &str| {
            let about = quote(exchange.asked.as_bytes());
            strange.push(Doubt { anomaly: Anomaly { about, what: what.into() }, again: Vec::new() });
        };
        match (path.and_then(Ask::from_path), exchange.status) {
            (None, _) => note("found an answer to a question this reader never asks"),
            (Some(ask), None) => {
                return Err(http::error(&Unanswered::from_told(&exchange.answer), &ask.path()));
            }
            (Some(ask), Some(status)) => {
                let answer = Answer { status, body: exchange.answer.clone() };
                if let Some(refusal) = answer.refusal(evidence.auth != Auth::None.told()) {
                    return Err(SourceError::unreadable(format!("GET {}: {refusal}", ask.path())));
                }
                if pages.insert(ask, answer).is_some() {
                    note("found two answers to one question; one was expected");
                }
            }
        }
    }
    let (declared, doubts) = normal::read(&pages);
    for (list, ask) in normal::listed(&pages).iter().zip([Ask::Switches, Ask::Nodes, Ask::Networks]) {
        if list.is_none() {
            let path = ask.path();
            let why =
                doubts.iter().find(|d| d.anomaly.about == path).map_or("was not read", |d| &d.anomaly.what);
            return Err(SourceError::unreadable(format!(
                "GET {path}: {why}; check that `url` is HIL's API and look into HIL's log"
            )));
        }
    }
    strange.extend(doubts);
    Ok(normal::settle(declared, strange))
}

/// What the last complete crawl cost HIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Requests.
    pub calls: u64,
    /// From the first request to the last answer.
    pub took: Span,
}

impl Cost {
    /// The shortest period at which such crawls take no more than `percent` of HIL's time. Zero percent is taken for
    /// one.
    pub fn shortest_period(self, percent: u32) -> Span {
        Span::from_millis(self.took.millis().saturating_mul(100).div_ceil(u64::from(percent.max(1))))
    }
}

/// Reads one HIL.
#[derive(Debug)]
pub struct Hil {
    http: Http,
    actions: Vec<String>,
    cost: Option<Cost>,
}

impl Hil {
    /// A reader for this HIL. Nothing is sent yet.
    pub fn new(config: &Config) -> Result<Hil, ConfigError> {
        Ok(Hil { http: Http::new(config)?, actions: config.actions.clone(), cost: None })
    }

    /// What the last complete crawl cost, so that the caller can keep to a share of HIL's time.
    pub fn cost(&self) -> Option<Cost> {
        self.cost
    }

    /// The name of HIL's driver class for a switch, e.g. `Ovs`, `PowerConnect55xx`, `Brocade`; `None` when the answer
    /// does not tell. HIL has no question for this: it is read off the refusal to show a port that does not exist.
    /// For `check` and `scope propose`; nothing that is judged depends on it.
    pub async fn switch_kind(
        &mut self,
        label: &str,
        deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        let ask = Ask::SwitchKind(label.to_owned());
        if ask.unaskable().is_some() {
            return Ok(None);
        }
        Ok(check::switch_kind(label, &self.single(ask, deadline).await?))
    }

    /// One question outside a crawl.
    async fn single(&mut self, ask: Ask, deadline: Instant) -> Result<Answer, SourceError> {
        let path = ask.path();
        let answer = self.http.ask(&ask, deadline).await.map_err(|failed| http::error(&failed, &path))?;
        match answer.refusal(self.has_credentials()) {
            Some(refusal) => Err(SourceError::unreadable(format!("GET {path}: {refusal}"))),
            None => Ok(answer),
        }
    }

    fn has_credentials(&self) -> bool {
        !matches!(self.http.auth(), Auth::None)
    }

    async fn crawl(
        &mut self,
        mut crawl: Crawl,
        whole: bool,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Reading<Declared> {
        let started = clock.now();
        let sent_before = self.http.sent();
        let failed = self.answers(&mut crawl, deadline).await;
        let ended = clock.now();
        let sent = self.http.sent() - sent_before;
        let mut evidence = self.evidence(crawl.finish(), failed);
        let outcome = if evidence.to_bytes().len() > MAX_EVIDENCE {
            evidence.exchanges.clear();
            Err(SourceError::unreadable(format!(
                "HIL's answers need more than {MAX_EVIDENCE} bytes of evidence"
            )))
        } else {
            normalise(&evidence)
        };
        if whole && outcome.is_ok() {
            self.cost = Some(Cost { calls: sent, took: ended.since(started) });
        }
        Reading { window: Window { started, ended }, reader: reader(), evidence, outcome, sent }
    }

    /// Asks until the crawl is done or cannot go on; the latter comes back as an exchange without an answer.
    async fn answers(&mut self, crawl: &mut Crawl, deadline: Instant) -> Option<Exchange> {
        let (mut calls, mut kept) = (0, 0);
        while let Some(ask) = crawl.next() {
            calls += 1;
            let answered = if calls + crawl.open() > MAX_CALLS {
                let why = format!(
                    "a crawl would take more than {MAX_CALLS} requests, which no HIL can answer in time"
                );
                Err(Unanswered { failure: Failure::Unreadable, why })
            } else if kept > MAX_CRAWL {
                let why = format!("the answers of one crawl have more than {MAX_CRAWL} bytes");
                Err(Unanswered { failure: Failure::Unreadable, why })
            } else {
                self.http.ask(&ask, deadline).await
            };
            match answered {
                Ok(answer) => {
                    kept += answer.body.len();
                    let refused = answer.refusal(self.has_credentials()).is_some();
                    crawl.answer(ask, answer);
                    if refused {
                        return None;
                    }
                }
                Err(failed) => {
                    tracing::debug!(path = %ask.path(), why = %failed.why, "HIL did not answer");
                    let asked = format!("{GET}{}", ask.path());
                    return Some(Exchange { asked, status: None, answer: failed.told().into_bytes() });
                }
            }
        }
        None
    }

    fn evidence(&self, pages: Pages, failed: Option<Exchange>) -> Evidence {
        let exchanges = pages.into_iter().map(|(ask, answer)| Exchange {
            asked: format!("{GET}{}", ask.path()),
            status: Some(answer.status),
            answer: answer.body,
        });
        let mut exchanges: Vec<Exchange> = exchanges.collect();
        if let Some(failed) = failed {
            // An older answer to the same question did not hold together and is not evidence of anything.
            exchanges.retain(|x| x.asked != failed.asked);
            exchanges.push(failed);
        }
        Evidence {
            subject: self.http.base().to_owned(),
            auth: self.http.auth().told(),
            identity: self.http.identity(),
            exchanges,
        }
    }

    /// The pages of an earlier reading; `None` when they are of no use to this one.
    fn earlier(&self, evidence: &Evidence) -> Option<Pages> {
        if evidence.subject != self.http.base() || evidence.auth != self.http.auth().told() {
            return None;
        }
        let mut pages = Pages::new();
        for exchange in &evidence.exchanges {
            let ask = Ask::from_path(exchange.asked.strip_prefix(GET)?)?;
            let answer = Answer { status: exchange.status?, body: exchange.answer.clone() };
            pages.insert(ask, answer);
        }
        Some(pages)
    }
}

fn reader() -> Reader {
    Reader { dialect: DIALECT.into(), version: VERSION }
}

impl CloudManager for Hil {
    fn reader(&self) -> Reader {
        reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Declared>> {
        let crawl = Crawl::whole(&self.actions);
        Box::pin(self.crawl(crawl, true, clock, deadline))
    }

    /// Evidence of another HIL or another user, or of a reading that broke off, is not merged: everything is read.
    fn reread<'a>(
        &'a mut self,
        part: &'a Part,
        previous: &'a Evidence,
        clock: &'a dyn Clock,
        deadline: Instant,
    ) -> Pending<'a, Reading<Declared>> {
        let (crawl, whole) = match self.earlier(previous) {
            Some(pages) => (Crawl::part(pages, part, &self.actions), false),
            None => (Crawl::whole(&self.actions), true),
        };
        Box::pin(self.crawl(crawl, whole, clock, deadline))
    }

    fn calls_per_crawl(&self) -> Option<u64> {
        self.cost.map(|cost| cost.calls)
    }
}
