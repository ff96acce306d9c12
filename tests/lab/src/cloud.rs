//! The one world, shared: who may change it, who is told, what was asked of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::fault::Service;
use crate::ovsdb::Database;
use crate::world::World;

/// Commands kept, the newest first to be kept; a lab that runs for a day must not fill the memory.
const COMMANDS_KEPT: usize = 1 << 17;

/// States of a database on their way to one monitor. A monitor that falls this far behind is disconnected, as the real
/// server does with a client that does not read.
const UPDATES_QUEUED: usize = 1024;

/// One request that reached an emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The service asked: `hil`, `ovsdb:HOST`, `openflow:HOST/BRIDGE`, `rest:SWITCH` or `console:SWITCH`.
    pub source: String,
    /// Who asked, where the protocol says so (HIL's user).
    pub by: Option<String>,
    /// What was asked: `GET /v0/networks`, `transact select Port`, `MULTIPART_REQUEST FLOW`.
    pub what: String,
    /// Whether it asks the service to change anything.
    pub write: bool,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <- {}", self.source, self.what)?;
        match &self.by {
            Some(by) => write!(f, " (by {by})"),
            None => Ok(()),
        }
    }
}

/// What one service was put to so far, in the bytes of its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections it accepted.
    pub connections: u64,
    /// Bytes it was sent. What TLS adds is not counted, what SSH adds is.
    pub heard: u64,
    /// Bytes it sent.
    pub said: u64,
}

/// [`Traffic`] while it runs.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    connections: AtomicU64,
    heard: AtomicU64,
    said: AtomicU64,
}

impl Meter {
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self, bytes: usize) {
        self.heard.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn said(&self, bytes: usize) {
        self.said.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn now(&self) -> Traffic {
        Traffic {
            connections: self.connections.load(Ordering::Relaxed),
            heard: self.heard.load(Ordering::Relaxed),
            said: self.said.load(Ordering::Relaxed),
        }
    }
}

/// Which request a hook waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The `n`-th request from now on; 1 is the next.
    Nth(u64),
    /// The first request whose [`Recorded::what`] contains this text.
    Asks(String),
}

type Change = Box<dyn FnOnce(&mut World) + Send>;

struct Hook {
    service: Service,
    when: When,
    change: Change,
}

struct Monitor {
    host: String,
    shown: Arc<Database>,
    updates: mpsc::Sender<Arc<Database>>,
}

struct State {
    world: World,
    commands: VecDeque<Recorded>,
    forgotten: u64,
    hooks: Vec<Hook>,
    monitors: Vec<Monitor>,
    meters: BTreeMap<String, Arc<Meter>>,
    /// Services that were asked something and have not answered it.
    asked: BTreeSet<String>,
    most_asked: usize,
}

impl State {
    /// Tells every monitor of a database that changed. A full or abandoned monitor is dropped.
    fn publish(&mut self) {
        let world = &self.world;
        self.monitors.retain_mut(|monitor| match world.host(&monitor.host) {
            Some(host) if Arc::ptr_eq(&host.database, &monitor.shown) => !monitor.updates.is_closed(),
            Some(host) => {
                monitor.shown = Arc::clone(&host.database);
                monitor.updates.try_send(Arc::clone(&host.database)).is_ok()
            }
            None => false,
        });
    }
}

struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// A handle on the shared world. Clones are the same world.
///
/// ```
/// use isoledger_lab::{Cloud, World};
///
/// let cloud = Cloud::new(World::two_tenants());
/// cloud.edit(|world| world.add_project("green"));
/// assert!(cloud.read(|world| world.projects.contains(&"green".to_owned())));
/// ```
#[derive(Clone)]
pub struct Cloud {
    inner: Arc<Inner>,
}

impl Cloud {
    /// Shares a world.
    pub fn new(world: World) -> Cloud {
        let state = State {
            world,
            commands: VecDeque::new(),
            forgotten: 0,
            hooks: Vec::new(),
            monitors: Vec::new(),
            meters: BTreeMap::new(),
            asked: BTreeSet::new(),
            most_asked: 0,
        };
        Cloud { inner: Arc::new(Inner { state: Mutex::new(state), changes: watch::Sender::new(0) }) }
    }

    /// A test that panics while it holds the world has failed already; the emulators need not fail with it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world. Every monitor, fault and connection sees the change when this returns.
    ///
    /// The closure must not use a `Cloud` of the same world: it holds the lock.
    pub fn edit<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state.world);
        state.publish();
        drop(state);
        self.inner.changes.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    /// Looks at the world.
    pub fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.state().world)
    }

    /// Runs `change` when `service` gets the request `when` says, before it is answered. Each hook runs once.
    ///
    /// ```
    /// # use isoledger_lab::{Cloud, Service, When, World};
    /// # let cloud = Cloud::new(World::two_tenants());
    /// // The tenant moves while the auditor is in the middle of its poll.
    /// cloud.on(Service::Hil, When::Asks("/v0/node/node02".into()), |world| {
    ///     world.detach("node02", "eth0", "red-net").expect("it was attached");
    /// });
    /// ```
    pub fn on(&self, service: Service, when: When, change: impl FnOnce(&mut World) + Send + 'static) {
        self.state().hooks.push(Hook { service, when, change: Box::new(change) });
    }

    /// Every request received so far, oldest first, by all emulators of this world.
    pub fn commands(&self) -> Vec<Recorded> {
        self.state().commands.iter().cloned().collect()
    }

    /// Forgets the requests received so far.
    pub fn clear_commands(&self) {
        let mut state = self.state();
        state.commands.clear();
        state.forgotten = 0;
    }

    /// What each service was put to so far, by the name it has in [`Recorded::source`].
    pub fn traffic(&self) -> BTreeMap<String, Traffic> {
        self.state().meters.iter().map(|(name, meter)| (name.clone(), meter.now())).collect()
    }

    /// The most services at one moment that had been asked something and had not answered it, since this was last called.
    pub fn take_most_at_once(&self) -> usize {
        let mut state = self.state();
        let now = state.asked.len();
        std::mem::replace(&mut state.most_asked, now)
    }

    /// Asserts that nothing but reads arrived, and that something did.
    ///
    /// # Panics
    /// Panics, naming the requests, when one was a write; or when no request was recorded at all, since then the
    /// assertion would hold for a reader that never ran; or when so many arrived that some are forgotten.
    pub fn assert_only_reads(&self) {
        let state = self.state();
        assert_eq!(state.forgotten, 0, "more requests than the lab keeps: clear_commands() more often");
        assert!(
            !state.commands.is_empty(),
            "no request reached the lab, so there is nothing to assert about"
        );
        let writes: Vec<String> =
            state.commands.iter().filter(|c| c.write).map(ToString::to_string).collect();
        drop(state);
        assert!(writes.is_empty(), "the lab was asked to change something:\n  {}", writes.join("\n  "));
    }

    /// Records a request and runs the hooks that waited for it.
    pub(crate) fn arrived(&self, service: &Service, by: Option<String>, what: &str, write: bool) {
        let mut state = self.state();
        if state.commands.len() == COMMANDS_KEPT {
            state.commands.pop_front();
            state.forgotten += 1;
        }
        let source = service.to_string();
        state.asked.insert(source.clone());
        state.most_asked = state.most_asked.max(state.asked.len());
        state.commands.push_back(Recorded { source, by, what: what.to_owned(), write });
        let mut due = Vec::new();
        let mut waiting = Vec::new();
        for mut hook in std::mem::take(&mut state.hooks) {
            let fires = hook.service == *service
                && match &mut hook.when {
                    When::Nth(n) => {
                        *n = n.saturating_sub(1);
                        *n == 0
                    }
                    When::Asks(text) => what.contains(text.as_str()),
                };
            if fires { due.push(hook.change) } else { waiting.push(hook) }
        }
        state.hooks = waiting;
        if due.is_empty() {
            return;
        }
        for change in due {
            change(&mut state.world);
        }
        state.publish();
        drop(state);
        self.inner.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// A service answered what it was asked, or will not.
    pub(crate) fn answered(&self, service: &str) {
        self.state().asked.remove(service);
    }

    /// The meter of a service.
    pub(crate) fn meter(&self, service: &str) -> Arc<Meter> {
        Arc::clone(self.state().meters.entry(service.to_owned()).or_default())
    }

    /// Wakes at every change of the world.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// The database of `host` now, and every later state of it, none skipped. `None` when there is no such host.
    pub(crate) fn watch_database(
        &self,
        host: &str,
    ) -> Option<(Arc<Database>, mpsc::Receiver<Arc<Database>>)> {
        let mut state = self.state();
        let shown = Arc::clone(&state.world.host(host)?.database);
        let (updates, receiver) = mpsc::channel(UPDATES_QUEUED);
        state.monitors.push(Monitor { host: host.to_owned(), shown: Arc::clone(&shown), updates });
        Some((shown, receiver))
    }
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud").finish_non_exhaustive()
    }
}
