//! The projection's rows: canonical JSON under plain names, in any map that can put and get.

use super::Divergence;
use super::fold::Divergences;
use super::query::Run;
use super::track::{Head, ManagerTrack, SwitchTrack};
use crate::projection::{Projection, ProjectionError};
use isoledger_core::{Digest, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

const MAX_ROW: usize = 64 << 20;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RowName {
    /// The last poll, and how many rows there are. Last, so that it is written after the others.
    Head,
    Manager,
    /// By name; numbered by the order the tracks came.
    Switch(String),
    Divergence(usize),
    Run(usize),
}

/// Which rows changed since they were taken, and the digests of those that were.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    changed: BTreeSet<RowName>,
    digests: BTreeMap<String, Digest>,
    // Exclusive or of the digests: changes with every row, whatever their number.
    sum: [u8; 32],
}

impl Rows {
    pub(super) fn touch(&mut self, row: RowName) {
        self.changed.insert(row);
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        let digest = Digest::of(&[name.as_bytes(), b"\0", bytes].concat());
        let old = self.digests.insert(name.to_owned(), digest);
        for d in old.iter().chain([&digest]) {
            self.sum.iter_mut().zip(d.0).for_each(|(s, b)| *s ^= b);
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadRow {
    head: Head,
    switches: usize,
    divergences: usize,
    runs: usize,
    /// Exclusive or of the digests of all other rows: rows of different moments do not add up.
    sum: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchRow<'a> {
    name: Cow<'a, str>,
    track: Cow<'a, SwitchTrack>,
}

fn switch(at: usize) -> String {
    format!("divergences/switch/{at}")
}

fn divergence(at: usize) -> String {
    format!("divergences/divergence/{at}")
}

fn run(at: usize) -> String {
    format!("divergences/run/{at}")
}

const HEAD: &str = "divergences/head";
const MANAGER: &str = "divergences/manager";

impl Divergences {
    fn switch_row(&self, at: usize) -> Option<(String, Vec<u8>)> {
        let name = self.order.get(at)?;
        let row = SwitchRow { name: Cow::Borrowed(name), track: Cow::Borrowed(self.switches.get(name)?) };
        Some((switch(at), json::to_canonical(&row)))
    }

    fn row(&self, row: &RowName) -> Option<(String, Vec<u8>)> {
        match row {
            RowName::Head => None,
            RowName::Manager => Some((MANAGER.to_owned(), json::to_canonical(&self.manager))),
            RowName::Switch(name) => self.switch_row(self.order.iter().position(|n| n == name)?),
            RowName::Divergence(at) => {
                Some((divergence(*at), json::to_canonical(self.divergences.get(*at)?)))
            }
            RowName::Run(at) => Some((run(*at), json::to_canonical(self.runs.get(*at)?))),
        }
    }

    fn head_row(&self, sum: [u8; 32]) -> Option<(String, Vec<u8>)> {
        let row = HeadRow {
            head: self.head.clone()?,
            switches: self.order.len(),
            divergences: self.divergences.len(),
            runs: self.runs.len(),
            sum: Digest(sum),
        };
        Some((HEAD.to_owned(), json::to_canonical(&row)))
    }
}

impl Projection for Divergences {
    fn folded(&self) -> Option<u64> {
        self.head.as_ref().map(|h| h.seq)
    }

    fn rows(&self) -> BTreeMap<String, Vec<u8>> {
        let mut rows = Rows::default();
        let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        if self.head.is_some() {
            all.extend(self.row(&RowName::Manager));
        }
        all.extend((0..self.order.len()).filter_map(|at| self.switch_row(at)));
        all.extend((0..self.divergences.len()).filter_map(|at| self.row(&RowName::Divergence(at))));
        all.extend((0..self.runs.len()).filter_map(|at| self.row(&RowName::Run(at))));
        for (name, bytes) in &all {
            rows.put(name, bytes);
        }
        all.extend(self.head_row(rows.sum));
        all
    }

    fn take_changes(&mut self) -> Vec<(String, Vec<u8>)> {
        let changed = std::mem::take(&mut self.rows.changed);
        let mut out = Vec::with_capacity(changed.len());
        for row in &changed {
            if let Some((name, bytes)) = self.row(row) {
                self.rows.put(&name, &bytes);
                out.push((name, bytes));
            }
        }
        if !changed.is_empty() {
            out.extend(self.head_row(self.rows.sum));
        }
        out
    }

    fn restore<E>(
        get: &mut dyn FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Divergences>, ProjectionError<E>> {
        let mut read = Reader { get, rows: Rows::default() };
        let Some(bytes) = (read.get)(HEAD).map_err(ProjectionError::Store)? else { return Ok(None) };
        let head: HeadRow = parse(HEAD, &bytes)?;
        let mut all = Divergences { head: Some(head.head), ..Divergences::default() };
        all.manager = read.row::<ManagerTrack>(MANAGER)?;
        for at in 0..head.switches {
            let row: SwitchRow<'static> = read.row(&switch(at))?;
            let name = row.name.into_owned();
            all.order.push(name.clone());
            all.switches.insert(name, row.track.into_owned());
        }
        for at in 0..head.divergences {
            let d: Divergence = read.row(&divergence(at))?;
            if d.is_open() {
                all.open.insert(d.key.clone(), at);
            }
            all.divergences.push(d);
        }
        for at in 0..head.runs {
            let r: Run = read.row(&run(at))?;
            if r.last.is_none() {
                all.current.insert(r.network.clone());
            }
            all.by_network.entry(r.network.clone()).or_default().push(at);
            all.runs.push(r);
        }
        if Digest(read.rows.sum) != head.sum {
            return Err(ProjectionError::Torn);
        }
        all.rows = read.rows;
        Ok(Some(all))
    }
}

struct Reader<'a, E> {
    get: &'a mut dyn FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    rows: Rows,
}

impl<E> Reader<'_, E> {
    fn row<T: Serialize + DeserializeOwned>(&mut self, name: &str) -> Result<T, ProjectionError<E>> {
        let bytes = (self.get)(name).map_err(ProjectionError::Store)?.ok_or(ProjectionError::Torn)?;
        let value = parse(name, &bytes)?;
        self.rows.put(name, &bytes);
        Ok(value)
    }
}

fn parse<T: Serialize + DeserializeOwned, E>(name: &str, bytes: &[u8]) -> Result<T, ProjectionError<E>> {
    json::from_canonical("a row of the projection", bytes, MAX_ROW)
        .map_err(|source| ProjectionError::Row { name: name.to_owned(), source })
}
