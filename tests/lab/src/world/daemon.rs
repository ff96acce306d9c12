//! `hil-admin serve-networks`: the process that carries out networking actions, one at a time, in order.
//!
//! Each action is two steps, and the order is HIL's: the switch is written, then the database is committed. What stops in
//! between leaves a switch that differs from the database, with nobody to blame.

use std::time::Duration;

use super::World;
use super::driver::Driver;
use super::hil::{ActionStatus, PortAt};
use crate::ovsdb::Uuid;

/// When the daemon is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonDeath {
    /// With the next action, before it writes to the switch.
    BeforeWrite,
    /// With the next action, after it wrote to the switch and before it commits to the database.
    BeforeCommit,
}

/// The daemon and its pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Whether it runs.
    pub alive: bool,
    /// When it is to die.
    pub dies: Option<DaemonDeath>,
    /// Whether the switch refuses the next action, which becomes ERROR.
    pub fail_next: bool,
    /// What it writes to switches.
    pub driver: Driver,
    /// Whether drivers of command-line switches save the configuration after writing it. `save` in HIL's configuration.
    pub saves: bool,
    /// In a running lab: leaves the steps to [`World::daemon_step`].
    pub by_hand: bool,
    /// In a running lab: from an action's queueing to the switch being written. The real daemon polls every 2 s.
    pub write_after: Duration,
    /// In a running lab: from the switch being written to the database being committed.
    pub commit_after: Duration,
}

impl Default for Daemon {
    fn default() -> Daemon {
        Daemon {
            alive: true,
            dies: None,
            fail_next: false,
            driver: Driver::default(),
            saves: true,
            by_hand: false,
            write_after: Duration::ZERO,
            commit_after: Duration::ZERO,
        }
    }
}

/// What one step of the daemon did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonStep {
    /// The switch was written; the database still says the old thing.
    Wrote(Uuid),
    /// The database was committed: the action is DONE.
    Committed(Uuid),
    /// The switch refused: the action is ERROR.
    Failed(Uuid),
    /// The daemon died on this action, which stays PENDING.
    Died(Uuid),
}

impl World {
    /// The action the daemon would work on next, and whether its switch is written already.
    pub(crate) fn next_action(&self) -> Option<(Uuid, bool)> {
        if !self.daemon.alive {
            return None;
        }
        self.actions.iter().find(|a| a.status == ActionStatus::Pending).map(|a| (a.uuid, a.written))
    }

    /// Lets the daemon take one step. `None` when it is dead or has nothing to do.
    ///
    /// ```
    /// # use isoledger_lab::{DaemonStep, World};
    /// let mut world = World::two_tenants();
    /// let action = world.begin_detach("node02", "eth0", "red-net").unwrap();
    /// assert_eq!(world.daemon_step(), Some(DaemonStep::Wrote(action)));
    /// assert!(world.attachments.iter().any(|a| a.node == "node02"), "the switch has moved, HIL has not");
    /// assert_eq!(world.daemon_step(), Some(DaemonStep::Committed(action)));
    /// assert!(!world.attachments.iter().any(|a| a.node == "node02"));
    /// ```
    pub fn daemon_step(&mut self) -> Option<DaemonStep> {
        let (uuid, written) = self.next_action()?;
        let index = self.actions.iter().position(|a| a.uuid == uuid)?;
        let action = self.actions[index].clone();
        let at_write =
            self.daemon.dies == Some(DaemonDeath::BeforeWrite) || self.ambiguous(&action.node, &action.nic);
        let at_commit = self.daemon.dies == Some(DaemonDeath::BeforeCommit);
        if (written && at_commit) || (!written && at_write) {
            self.daemon.alive = false;
            self.daemon.dies = None;
            return Some(DaemonStep::Died(uuid));
        }
        if written {
            self.record(&action);
            self.actions[index].status = ActionStatus::Done;
            return Some(DaemonStep::Committed(uuid));
        }
        if std::mem::take(&mut self.daemon.fail_next) {
            self.actions[index].status = ActionStatus::Error;
            return Some(DaemonStep::Failed(uuid));
        }
        match self.drive(&action) {
            Ok(()) => {
                self.actions[index].written = true;
                Some(DaemonStep::Wrote(uuid))
            }
            Err(error) => {
                tracing::debug!(%error, "the switch refused a networking action");
                self.actions[index].status = ActionStatus::Error;
                Some(DaemonStep::Failed(uuid))
            }
        }
    }

    /// Lets the daemon work until there is nothing left to do or it dies.
    pub fn run_daemon(&mut self) {
        while self.daemon_step().is_some() {}
    }

    /// Starts a new daemon. Whatever was PENDING is begun anew, the switch written again.
    pub fn restart_daemon(&mut self) {
        self.daemon.alive = true;
        self.daemon.dies = None;
        for action in &mut self.actions {
            action.written = false;
        }
    }

    /// HIL's Open vSwitch driver looks a port up by label alone, over all switches; two of one name kill the daemon.
    fn ambiguous(&self, node: &str, nic: &str) -> bool {
        let port = self
            .node(node)
            .and_then(|n| n.nics.iter().find(|i| i.label == nic))
            .and_then(|i| i.port.as_ref());
        let Some(PortAt { switch, port }) = port else { return false };
        let is_ovs = self.bridge_of(switch).is_ok();
        is_ovs && self.switches.iter().flat_map(|s| &s.ports).filter(|p| *p == port).count() > 1
    }
}
