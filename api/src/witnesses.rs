//! The log's side of witnessing: asks the witnesses before the first signature, has checkpoints cosigned from then on,
//! and takes in what auditors cosigned.
//!
//! # In scope
//! - [`Witnesses::floor`]: how long a log the witnesses have seen. A shorter one is an older copy and must not sign.
//! - [`Witnesses::round`]: asks every witness once for a cosignature over the newest checkpoint; one request for each
//!   URL, however many keys answer there.
//! - [`Witnesses::inbox`]: cosigned checkpoints that were laid into the data directory.
//! - [`Witnesses::report`]: who cosigned what, for `status`, `healthz` and attestations.
//!
//! # Out of scope
//! Which cosignatures a tenant counts: that is the tenant's policy. Storing: the ledger's.
//!
//! # Trust
//! A witness is a stranger with a key. Its cosignature counts after that key verified it; its word that it has seen
//! more, or something else, is believed only against us: no more requests to it, an alarm that stays until a person has
//! looked, and both sides' words kept in the data directory.

use crate::config::Config;
use crate::failure::{Failure, fail};
use crate::keys;
use isoledger_collectors::{Clock as _, Stopwatch};
use isoledger_core::checkpoint::SignedCheckpoint;
use isoledger_core::note::{Note, NoteError, VerifierKey};
use isoledger_core::witness::{
    self, AddCheckpoint, Line, MAX_ANSWER, MAX_CHECKPOINT, Reply, RequestError, Watched,
};
use isoledger_core::{Hash, Span, Timestamp};
use isoledger_ledger::layout;
use isoledger_ledger::read::{ReadError, ReadLog};
use isoledger_ledger::reader::LogReader;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

/// How often a witness may name another size before it is left alone until the next round.
const RETRIES: usize = 3;
/// A witness in trouble is asked again after so many periods, doubled each time, at most.
const MAX_BACK_OFF: u32 = 32;
/// How many rounds a required witness may miss before health says so.
const MISSED: u32 = 3;
/// Files taken from the inbox at once.
const MAX_INBOX: usize = 64;

/// The witnesses and auditors of one log.
pub(crate) struct Witnesses {
    origin: String,
    data: PathBuf,
    key: PathBuf,
    period: Duration,
    deadline: Duration,
    fail_open: bool,
    asked: Vec<Asked>,
    auditors: Vec<(String, VerifierKey)>,
    since: Instant,
    http: OnceCell<reqwest::Client>,
}

/// One URL and who answers there.
struct Asked {
    url: String,
    who: Vec<Who>,
    state: Mutex<State>,
}

struct Who {
    name: String,
    key: VerifierKey,
    required: bool,
}

#[derive(Default)]
struct State {
    /// The size it last cosigned, once it said so.
    stands: Option<u64>,
    /// The newest cosignature taken: size, its time, and when it came.
    last: Option<(u64, Timestamp, Instant)>,
    failures: u32,
    not_before: Option<Instant>,
    /// Why the last request brought nothing, in a word: whoever asks `/healthz` may be anybody.
    trouble: Option<&'static str>,
    /// Why it is asked no more.
    alarm: Option<&'static str>,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answers {0}: overloaded or in trouble; asked again later")]
    Busy(u16),
    #[error(
        "it answers {0}: it does not watch this log, or not with this key. Have its operator put the log's vkey on its list"
    )]
    NotWatched(u16),
    #[error("it answers 400, the request is malformed: {0}. Please report this defect")]
    Malformed(String),
    #[error("it answers {0} and nothing that a witness says; is its URL right?")]
    Odd(u16),
    #[error("its cosignature does not count: {0}")]
    Cosignature(#[from] NoteError),
    #[error("it named another size {RETRIES} times and more; does another program ask it for this log?")]
    Restless,
    #[error("our checkpoint cannot be sent: {0}")]
    Request(#[from] RequestError),
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("asking it failed: {0}")]
    Task(String),
    /// It has seen a longer log of this name.
    #[error(
        "it has cosigned {seen} entries of this log, and there are {size} here{}. Both heads are in {}",
        if *.proven { ": another copy of this log has signed more, this one must not go on" } else { " (its word only)" },
        saved.display()
    )]
    Ahead { seen: u64, size: u64, proven: bool, saved: PathBuf },
    /// It says that our checkpoint and what it cosigned are not of one history.
    #[error(
        "POSSIBLE FORK: it answers {status}, what it cosigned and our checkpoint of {size} entries contradict each other{}. Both heads are in {}",
        if *.proven { ", and both are signed by this log's key" } else { " (its word only)" },
        saved.display()
    )]
    Contradicts { status: u16, size: u64, proven: bool, saved: PathBuf },
}

impl Trouble {
    /// In a word.
    fn word(&self) -> &'static str {
        match self {
            Trouble::Unreachable(_) => "unreachable",
            Trouble::Busy(_) => "busy",
            Trouble::NotWatched(_) => "not-watched",
            Trouble::Malformed(_) | Trouble::Request(_) => "malformed",
            Trouble::Odd(_) => "odd-answer",
            Trouble::Cosignature(_) => "bad-cosignature",
            Trouble::Restless => "restless",
            Trouble::Read(_) | Trouble::Task(_) => "failed-here",
            Trouble::Ahead { .. } => "has-seen-more",
            Trouble::Contradicts { .. } => "possible-fork",
        }
    }

    /// Whether a person has to look before this witness is asked again.
    fn is_alarm(&self) -> bool {
        matches!(self, Trouble::Ahead { .. } | Trouble::Contradicts { .. })
    }
}

/// Nothing more may be signed by this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "witness {name}: {why}. Nothing more is signed. Find out which copy is the log, and retire the other; docs/OPERATING.md, \"A restored log must not sign blindly\", says how"
)]
pub(crate) struct Stop {
    name: String,
    why: String,
}

/// An answer as it came.
struct Answer {
    status: u16,
    content_type: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    fn reply(&self) -> Reply {
        Reply::read(self.status, self.content_type.as_deref(), &self.body)
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// What the witnesses have seen of this log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    /// The largest size that any of them has seen.
    pub(crate) size: u64,
    /// Whether there is one that is required, and all that are have said so.
    pub(crate) agreed: bool,
}

/// A size, and who cosigned it when.
type Newest = (u64, Vec<(String, Timestamp)>);

/// A cosigned checkpoint to be archived, and the file it came in, if it did.
pub(crate) struct Cosigned {
    pub(crate) note: SignedCheckpoint,
    file: Option<PathBuf>,
}

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> String {
        self.who.iter().map(|w| w.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn required(&self) -> bool {
        self.who.iter().any(|w| w.required)
    }
}

impl Witnesses {
    /// Those of the configuration; asks nobody.
    pub(crate) fn new(config: &Config) -> Result<Arc<Witnesses>, Failure> {
        let of = &config.witness;
        let wrong = |(key, found, allowed)| Failure(format!("{key} is {found:?}; {allowed}"));
        let asked = of.by_url().map_err(wrong)?.into_iter().map(|(url, who)| Asked {
            url,
            who: who.into_iter().map(|(name, key, required)| Who { name, key, required }).collect(),
            state: Mutex::default(),
        });
        Ok(Arc::new(Witnesses {
            origin: config.log.origin.clone(),
            data: config.data(),
            key: config.key(),
            period: duration(of.period),
            deadline: duration(of.deadline),
            fail_open: of.fail_open,
            asked: asked.collect(),
            auditors: of.auditors().map_err(wrong)?,
            since: Instant::now(),
            http: OnceCell::new(),
        }))
    }

    /// From the start of one round to the start of the next.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// The auditors' keys.
    pub(crate) fn auditors(&self) -> Vec<VerifierKey> {
        self.auditors.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Why times and history are the operator's word, whatever a policy says; `None` when a witness is required.
    pub(crate) fn caveat(&self) -> Option<String> {
        let required = self.asked.iter().any(Asked::required);
        match (required, self.fail_open) {
            (true, false) => None,
            (true, true) => Some(
                "witness.fail-open is set: this log signs although required witnesses are silent, so where no \
                 cosignature covers them, times and history are the operator's word"
                    .into(),
            ),
            (false, _) => {
                Some("no witness is required here: times and history are the operator's word".into())
            }
        }
    }

    // ---- before the first signature ------------------------------------------------------------------------------

    /// Asks every witness how many entries of this log it has seen, by sending what was signed last. The log must have
    /// at least as many as the answer, or it is not opened for writing.
    ///
    /// # Errors
    /// A sentence, when a required witness does not say (unless `witness.fail-open`), or any contradicts what is here.
    pub(crate) async fn floor(self: &Arc<Self>) -> Result<Floor, Failure> {
        if self.asked.is_empty() {
            return Ok(Floor::default());
        }
        let last = self.signed_last()?;
        let mut tasks = JoinSet::new();
        for i in 0..self.asked.len() {
            let (this, last) = (self.clone(), last.clone());
            tasks.spawn(async move {
                let asked = &this.asked[i];
                let seen = match &last {
                    Some(note) => this.probe(asked, note).await,
                    None => this.unseen(asked).await,
                };
                (i, seen)
            });
        }
        let mut floor = Floor { size: 0, agreed: self.asked.iter().any(Asked::required) };
        while let Some(done) = tasks.join_next().await {
            let (i, seen) = done.map_err(|e| Failure(format!("asking the witnesses failed: {e}")))?;
            let asked = &self.asked[i];
            match seen {
                Ok(size) => floor.size = floor.size.max(size),
                Err(e) if e.is_alarm() => {
                    return fail(format!(
                        "witness {}: {e}. Nothing was signed. Is this a restored backup or a clone? \
                         docs/OPERATING.md, \"A restored log must not sign blindly\", says what to do",
                        asked.names()
                    ));
                }
                Err(e) if !asked.required() => {
                    tracing::warn!(witness = asked.names(), error = %e, "a witness that is not required does not answer");
                }
                Err(e) if self.fail_open => {
                    floor.agreed = false;
                    tracing::warn!(
                        witness = asked.names(),
                        error = %e,
                        "a required witness does not answer; signing all the same, for witness.fail-open is set: \
                         times and history are the operator's word"
                    );
                }
                Err(e) => {
                    return fail(format!(
                        "witness {} is required and did not say how long a log it has seen: {e}. Without that a \
                         restored backup could sign a second history. Nothing was signed. Try again when it \
                         answers, or set witness.fail-open = true, which everybody will see",
                        asked.names()
                    ));
                }
            }
        }
        Ok(floor)
    }

    /// The checkpoint that was signed and published last; `None` for a log that has published nothing.
    fn signed_last(&self) -> Result<Option<SignedCheckpoint>, Failure> {
        if !layout::journal(&self.data).exists() && !layout::high_water(&self.data).exists() {
            return Ok(None);
        }
        let key = keys::load(&self.key, &self.origin)?;
        // The file is written in place and may be torn; its signature tells.
        let file = read_capped(&layout::checkpoint(&self.data), MAX_CHECKPOINT);
        let note = file.ok().and_then(|bytes| SignedCheckpoint::parse(&bytes).ok());
        if let Some(note) = note.filter(|n| n.open(key.verifier()).is_ok()) {
            return Ok(Some(note));
        }
        match LogReader::open(&self.data) {
            Ok(log) => Ok(Some(log.published()?.checkpoint)),
            // Made, and interrupted before anything was published.
            Err(ReadError::NoLog { .. } | ReadError::NoCheckpoint { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends the last checkpoint as if nothing were known of the witness. It cosigns what it has not seen, and says
    /// where it stands otherwise; standing here, it is asked again to see whether it means the same root.
    async fn probe(&self, asked: &Asked, last: &SignedCheckpoint) -> Result<u64, Trouble> {
        let size = last.unverified().size;
        let checkpoint = ours_only(last)?;
        let mut old = 0;
        for _ in 0..2 {
            let request = AddCheckpoint { old, proof: Vec::new(), checkpoint: checkpoint.clone() };
            let answer = self.post(asked, &request).await?;
            if let Reply::Stands(n) = answer.reply()
                && n > size
                && self.journal_has(n).await
            {
                // What was signed last stands in a file that a full disk keeps from being written; the journal counts.
                return Ok(n);
            }
            match self.stands(asked, &request, &answer).await? {
                Some(n) => {
                    asked.state().stands = Some(n);
                    if n != size {
                        return Ok(n);
                    }
                    old = n;
                }
                None => {
                    // Whoever is in between could say so too; only the witness can sign it.
                    counted(asked, &checkpoint, &answer)?;
                    asked.state().stands = Some(size);
                    return Ok(size);
                }
            }
        }
        Err(Trouble::Restless)
    }

    async fn journal_has(&self, size: u64) -> bool {
        let data = self.data.clone();
        let read = tokio::task::spawn_blocking(move || LogReader::open(&data).map(|log| log.head().size));
        read.await.is_ok_and(|found| found.is_ok_and(|found| found >= size))
    }

    /// For a log that has published nothing: whether the witness has nevertheless seen one of this name.
    async fn unseen(&self, asked: &Asked) -> Result<u64, Trouble> {
        let Some(theirs) = self.theirs(asked).await? else { return Ok(0) };
        let seen = theirs.head().size;
        let proven = self.is_ours(&theirs);
        let saved = self.save(asked, None, None, Some(&theirs));
        Err(Trouble::Ahead { seen, size: 0, proven, saved })
    }

    // ---- the rounds ----------------------------------------------------------------------------------------------

    /// Asks each witness that may be asked now for a cosignature over the newest checkpoint; the checkpoint with those
    /// that came, if any did.
    ///
    /// # Errors
    /// [`Stop`] when a witness shows that another copy of this log has signed more.
    pub(crate) async fn round<L>(self: &Arc<Self>, log: &L) -> Result<Option<Cosigned>, Stop>
    where
        L: ReadLog + Clone + Send + Sync + 'static,
    {
        let head = match log.published() {
            Ok(published) => published.checkpoint,
            Err(e) => {
                tracing::error!(error = %e, "the log cannot be read, so no witness is asked");
                return Ok(None);
            }
        };
        let mut tasks = JoinSet::new();
        for i in 0..self.asked.len() {
            if !self.is_due(&self.asked[i], head.unverified().size) {
                continue;
            }
            let (this, log, head) = (self.clone(), log.clone(), head.clone());
            tasks.spawn(async move { (i, this.ask(&this.asked[i], &log, &head).await) });
        }
        let mut lines: Vec<Line> = Vec::new();
        let mut stop = None;
        while let Some(done) = tasks.join_next().await {
            let (i, result) = match done {
                Ok(done) => done,
                Err(e) => {
                    tracing::error!(error = %e, "asking a witness failed; please report this defect");
                    continue;
                }
            };
            let asked = &self.asked[i];
            match result {
                Ok(found) => {
                    let mut state = asked.state();
                    (state.failures, state.not_before, state.trouble) = (0, None, None);
                    if let Some(time) = found.iter().map(|l| l.time).min() {
                        state.last = Some((head.unverified().size, time, Instant::now()));
                    }
                    lines.extend(found);
                }
                Err(e) => {
                    if let Trouble::Ahead { proven: true, .. } = &e {
                        stop = Some(Stop { name: asked.names(), why: e.to_string() });
                    }
                    self.put_off(asked, &e);
                }
            }
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        Ok(with_lines(&head, &lines).map(|note| Cosigned { note, file: None }))
    }

    fn is_due(&self, asked: &Asked, size: u64) -> bool {
        let state = asked.state();
        let waits = state.not_before.is_some_and(|at| Instant::now() < at);
        let done = state.last.is_some_and(|(of, ..)| of == size);
        state.alarm.is_none() && !waits && !done
    }

    fn put_off(&self, asked: &Asked, e: &Trouble) {
        let mut state = asked.state();
        state.failures = state.failures.saturating_add(1);
        let periods = 1u32.checked_shl(state.failures - 1).unwrap_or(MAX_BACK_OFF).min(MAX_BACK_OFF);
        // Half a period less, or the round at that very moment would find it too early.
        state.not_before = Some(Instant::now() + self.period * periods - self.period / 2);
        let name = asked.names();
        if e.is_alarm() {
            tracing::error!(witness = name, error = %e, "ALARM; this witness is asked no more until the service is restarted");
            state.alarm = Some(e.word());
        } else {
            tracing::warn!(witness = name, error = %e, "no cosignature");
        }
        state.trouble = Some(e.word());
    }

    async fn ask<L>(&self, asked: &Asked, log: &L, head: &SignedCheckpoint) -> Result<Vec<Line>, Trouble>
    where
        L: ReadLog + Clone + Send + Sync + 'static,
    {
        let checkpoint = ours_only(head)?;
        let size = head.unverified().size;
        // Not known: from nothing, and the answer says where it stands.
        let mut old = asked.state().stands.unwrap_or(0).min(size);
        for _ in 0..=RETRIES {
            let proof = match old {
                0 => Vec::new(),
                _ if old == size => Vec::new(),
                _ => self.proof(log, old, size).await?,
            };
            let request = AddCheckpoint { old, proof, checkpoint: checkpoint.clone() };
            let answer = self.post(asked, &request).await?;
            match self.stands(asked, &request, &answer).await? {
                Some(n) => {
                    asked.state().stands = Some(n);
                    old = n;
                }
                None => {
                    let lines = counted(asked, &checkpoint, &answer)?;
                    asked.state().stands = Some(size);
                    return Ok(lines);
                }
            }
        }
        Err(Trouble::Restless)
    }

    async fn proof<L>(&self, log: &L, old: u64, size: u64) -> Result<Vec<Hash>, Trouble>
    where
        L: ReadLog + Clone + Send + Sync + 'static,
    {
        let log = log.clone();
        let made = tokio::task::spawn_blocking(move || log.consistency(old, size)).await;
        Ok(made.map_err(|e| Trouble::Task(e.to_string()))??)
    }

    /// What an answer means: `None` for cosignatures, or the size at which the witness stands.
    async fn stands(
        &self,
        asked: &Asked,
        request: &AddCheckpoint,
        answer: &Answer,
    ) -> Result<Option<u64>, Trouble> {
        let size = request.checkpoint.head().size;
        match answer.reply() {
            Reply::Cosigned(_) => Ok(None),
            Reply::Stands(n) if n <= size => Ok(Some(n)),
            Reply::Stands(seen) => {
                let theirs = self.theirs(asked).await.ok().flatten();
                let proven = theirs.as_ref().is_some_and(|t| self.is_ours(t) && t.head().size > size);
                let saved = self.save(asked, Some(request), Some(answer), theirs.as_ref());
                Err(Trouble::Ahead { seen, size, proven, saved })
            }
            Reply::Contradicts => {
                let theirs = self.theirs(asked).await.ok().flatten();
                let ours = request.checkpoint.head();
                let differs = |t: &Watched| t.head().size == ours.size && t.head().root != ours.root;
                let proven = theirs.as_ref().is_some_and(|t| self.is_ours(t) && differs(t));
                let saved = self.save(asked, Some(request), Some(answer), theirs.as_ref());
                Err(Trouble::Contradicts { status: answer.status, size, proven, saved })
            }
            Reply::NotWatched => Err(Trouble::NotWatched(answer.status)),
            Reply::Busy => Err(Trouble::Busy(answer.status)),
            Reply::Malformed => Err(Trouble::Malformed(answer.words())),
            Reply::Odd => Err(Trouble::Odd(answer.status)),
        }
    }

    // ---- the wire ------------------------------------------------------------------------------------------------

    async fn http(&self) -> Result<&reqwest::Client, Trouble> {
        let make = || async {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .timeout(self.deadline)
                .build()
                .map_err(|e| Trouble::Unreachable(e.to_string()))
        };
        self.http.get_or_try_init(make).await
    }

    async fn post(&self, asked: &Asked, request: &AddCheckpoint) -> Result<Answer, Trouble> {
        let url = format!("{}/add-checkpoint", asked.url);
        answer(self.http().await?.post(url).body(request.to_string())).await
    }

    /// The checkpoint that a witness shows for this log. Showing is optional, so there may be none.
    async fn theirs(&self, asked: &Asked) -> Result<Option<Watched>, Trouble> {
        let url = format!("{}/{}/checkpoint", asked.url, witness::origin_hash(&self.origin));
        let answer = answer(self.http().await?.get(url)).await?;
        let shown = Watched::parse(&answer.body).ok();
        Ok(shown.filter(|w| answer.status == 200 && w.head().origin == self.origin))
    }

    /// Whether this log's own key signed it.
    fn is_ours(&self, theirs: &Watched) -> bool {
        let Ok(key) = keys::load(&self.key, &self.origin) else { return false };
        theirs.lines_of(std::slice::from_ref(key.verifier())).is_ok_and(|lines| !lines.is_empty())
    }

    /// Keeps what both sides said, for people and for proof. Best effort: the alarm does not depend on it.
    fn save(
        &self,
        asked: &Asked,
        request: Option<&AddCheckpoint>,
        answer: Option<&Answer>,
        theirs: Option<&Watched>,
    ) -> PathBuf {
        let now = Stopwatch::from_system().map(|c| c.now().to_string()).unwrap_or_default();
        let name = asked.who.first().map_or("witness", |w| w.name.as_str());
        let dir = forks(&self.data).join(format!("{}-{name}", now.replace(':', "")));
        let mut files = Vec::new();
        if let Some(request) = request {
            files.push(("ours.checkpoint", request.checkpoint.as_str().to_owned()));
            files.push(("request.txt", request.to_string()));
        }
        if let Some(answer) = answer {
            let kind = answer.content_type.as_deref().unwrap_or("-");
            let body = String::from_utf8_lossy(&answer.body);
            files.push(("answer.txt", format!("{} {kind}\n\n{body}", answer.status)));
        }
        if let Some(theirs) = theirs {
            files.push(("theirs.checkpoint", theirs.as_str().to_owned()));
        }
        let mut about = format!("witness {} at {}\nkeys:\n", asked.names(), asked.url);
        for w in &asked.who {
            // Writing to a String cannot fail.
            let _ = writeln!(about, "  {}", w.key);
        }
        files.push(("about.txt", about));
        let kept = make_dir(&dir).and_then(|()| {
            files.iter().try_for_each(|(name, text)| keys::write_secret(&dir.join(name), text.as_bytes()))
        });
        if let Err(e) = kept {
            tracing::error!(dir = %dir.display(), error = %e, "what the witness said could not be kept");
        }
        dir
    }

    // ---- what others bring ---------------------------------------------------------------------------------------

    /// Cosigned checkpoints that lie in the data directory's `cosignatures`: an auditor's, as `isoledger audit --cosign`
    /// writes them. Lines of keys that the configuration does not name are dropped.
    pub(crate) fn inbox(&self, keys: &[(u64, VerifierKey)]) -> Vec<Cosigned> {
        let dir = inbox(&self.data);
        let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "checkpoint"))
            .take(MAX_INBOX)
            .collect();
        files.sort();
        let mut out = Vec::new();
        for file in files {
            match self.brought(&file, keys) {
                Ok(note) => out.push(Cosigned { note, file: Some(file) }),
                Err(why) => refuse(&file, &why),
            }
        }
        out
    }

    fn brought(&self, file: &Path, keys: &[(u64, VerifierKey)]) -> Result<SignedCheckpoint, String> {
        let bytes = read_capped(file, MAX_CHECKPOINT).map_err(|e| e.to_string())?;
        let brought = Watched::parse(&bytes).map_err(|e| e.to_string())?;
        let logs: Vec<VerifierKey> = keys.iter().map(|(_, key)| key.clone()).collect();
        let mut lines = brought.lines_of(&logs).map_err(|e| e.to_string())?;
        if lines.is_empty() {
            return Err("this log has not signed it".into());
        }
        let known: Vec<VerifierKey> =
            self.auditors().into_iter().chain(self.cosigners().map(|w| w.key.clone())).collect();
        let found = brought.lines_of(&known).map_err(|e| e.to_string())?;
        if found.is_empty() {
            return Err("nobody whom the configuration names has cosigned it; auditors' keys stand in witness.auditors".into());
        }
        lines.extend(found);
        let note = brought.with_lines(&lines).map_err(|e| e.to_string())?;
        SignedCheckpoint::parse(note.as_str().as_bytes()).map_err(|e| e.to_string())
    }

    fn cosigners(&self) -> impl Iterator<Item = &Who> {
        self.asked.iter().flat_map(|a| &a.who)
    }

    // ---- what is told --------------------------------------------------------------------------------------------

    /// Who cosigned what, and what is wrong. `log` says what was archived, whoever asked for it; this process's own
    /// rounds, if it makes any, say the rest.
    pub(crate) fn report(&self, log: &impl ReadLog) -> Report {
        let mut report = Report { ok: true, value: Value::Null, words: Vec::new() };
        let newest = match self.newest(log) {
            Ok(newest) => newest,
            Err(e) => {
                report.amiss(format!("cosigned checkpoints cannot be read: {e}"));
                None
            }
        };
        if let Some(caveat) = self.caveat() {
            report.words.push(caveat);
        }
        let mut rows = Vec::new();
        for asked in &self.asked {
            let state = asked.state();
            let missed = state.last.map_or(self.since.elapsed(), |(.., at)| at.elapsed());
            let late = state.trouble.is_some() && missed > self.period * MISSED + self.deadline;
            for w in &asked.who {
                if let Some(alarm) = &state.alarm {
                    report.amiss(format!("ALARM, witness {}: {alarm}; the service's log says more", w.name));
                } else if let (true, true, Some(trouble)) = (w.required, late, &state.trouble) {
                    report.amiss(format!(
                        "witness {} is required and has not cosigned: {trouble}; the service's log says more",
                        w.name
                    ));
                }
                rows.push(json!({
                    "name": w.name,
                    "key": w.key.to_string(),
                    "required": w.required,
                    "size": state.last.map(|(size, ..)| size),
                    "time": state.last.map(|(_, time, _)| time),
                    "trouble": state.trouble,
                    "alarm": state.alarm,
                }));
            }
        }
        let forks = kept_forks(&self.data);
        for fork in &forks {
            report.amiss(format!(
                "ALARM: a witness contradicted this log; what was said is in forks/{fork} of the data directory. Move \
                 it away when you know why"
            ));
        }
        report.value = json!({
            "failOpen": self.fail_open,
            "witnesses": rows,
            "auditors": self.auditors.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "newest": newest.map(|(size, by)| json!({
                "size": size,
                "by": by.into_iter().map(|(name, time)| json!({ "name": name, "time": time })).collect::<Vec<_>>(),
            })),
            "forks": forks,
            "caveat": self.caveat(),
        });
        report
    }

    /// The newest archived checkpoint and which of those we know cosigned it.
    fn newest(&self, log: &impl ReadLog) -> Result<Option<Newest>, ReadError> {
        let Some(size) = log.cosigned_sizes(0, log.size()?)?.pop() else { return Ok(None) };
        let Some(note) = log.cosigned(size, size, 1)?.pop() else { return Ok(None) };
        let known: Vec<(&str, &VerifierKey)> = self
            .cosigners()
            .map(|w| (w.name.as_str(), &w.key))
            .chain(self.auditors.iter().map(|(n, k)| (n.as_str(), k)))
            .collect();
        let mut by = Vec::new();
        for (name, key) in known {
            let found = note.cosignatures(std::slice::from_ref(key)).unwrap_or_default();
            by.extend(found.into_iter().map(|c| (name.to_owned(), c.time)));
        }
        Ok(Some((size, by)))
    }
}

/// What is told of witnesses.
pub(crate) struct Report {
    /// Whether nothing is wrong.
    pub(crate) ok: bool,
    pub(crate) value: Value,
    /// Sentences for people.
    pub(crate) words: Vec<String>,
}

impl Report {
    fn amiss(&mut self, words: String) {
        self.ok = false;
        self.words.push(words);
    }
}

impl Cosigned {
    /// Says in the inbox what became of it, if it came from there.
    pub(crate) fn done(&self, result: Result<(), String>) {
        let Some(file) = &self.file else { return };
        match result {
            Ok(()) => set_aside(file, "taken"),
            Err(why) => refuse(file, &why),
        }
    }
}

/// Where cosigned checkpoints are laid for the service.
pub(crate) fn inbox(data: &Path) -> PathBuf {
    data.join("cosignatures")
}

/// Where both heads are kept when a witness contradicts this log.
fn forks(data: &Path) -> PathBuf {
    data.join("forks")
}

fn kept_forks(data: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(forks(data)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).take(64).collect();
    names.sort();
    names
}

fn make_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a cosigned checkpoint where the service picks it up; whole or not at all.
pub(crate) fn lay(file: &Path, note: &str) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        make_dir(dir)?;
    }
    let temporary = file.with_extension(hex::encode(&keys::entropy()[..8]));
    keys::write_secret(&temporary, note.as_bytes()).and_then(|()| std::fs::rename(&temporary, file))
}

fn refuse(file: &Path, why: &str) {
    tracing::warn!(file = %file.display(), why, "a cosigned checkpoint was not taken");
    set_aside(file, "refused");
}

fn set_aside(file: &Path, as_what: &str) {
    let mut to = file.as_os_str().to_owned();
    to.push(".");
    to.push(as_what);
    // When this fails it is read once more, which changes nothing.
    if let Err(e) = std::fs::rename(file, &to) {
        tracing::warn!(file = %file.display(), error = %e, "it keeps its name");
    }
}

fn read_capped(path: &Path, max: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is longer than a checkpoint"));
    }
    Ok(bytes)
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(span.millis())
}

/// The cosignatures of all keys that answer at a URL, checked.
fn counted(asked: &Asked, checkpoint: &Watched, answer: &Answer) -> Result<Vec<Line>, Trouble> {
    let Reply::Cosigned(lines) = answer.reply() else { return Err(Trouble::Odd(answer.status)) };
    let keys: Vec<VerifierKey> = asked.who.iter().map(|w| w.key.clone()).collect();
    Ok(witness::cosignatures(checkpoint.text(), &lines, &keys)?)
}

/// A checkpoint with the log's own line only: what others said of it is nothing to a witness.
fn ours_only(head: &SignedCheckpoint) -> Result<Watched, RequestError> {
    let note = Note::parse(head.as_bytes())?;
    let origin = &head.unverified().origin;
    let lines: Vec<_> = note.signatures().iter().filter(|l| l.name == *origin).cloned().collect();
    Watched::parse(head.as_bytes())?.with_lines(&lines)
}

/// A checkpoint with these cosignatures; the ledger adds those it has.
fn with_lines(head: &SignedCheckpoint, lines: &[Line]) -> Option<SignedCheckpoint> {
    if lines.is_empty() {
        return None;
    }
    let mut note = SignedCheckpoint::parse(ours_only(head).ok()?.as_str().as_bytes()).ok()?;
    for line in lines {
        note = note.with(&line.line).ok()?;
    }
    Some(note)
}

/// An answer, its body read up to what an answer can have.
async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, Trouble> {
    let unreachable = |e: reqwest::Error| Trouble::Unreachable(chain(&e));
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Trouble::Odd(status));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, body })
}

// reqwest's own sentence names the URL and not the cause.
fn chain(e: &reqwest::Error) -> String {
    let mut out = e.to_string();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        let _ = write!(out, ": {cause}");
        next = cause.source();
    }
    out
}
