//! Projections: what follows from the log and is kept only to be quick.
//!
//! A projection is a fold over entries. It can be kept as rows, names and bytes, in any map that can put and get; it
//! can be lost at any time and folded again, to the same bytes. Nothing it says is signed, and no verdict of an
//! attestation rests on it.

use isoledger_core::json::JsonError;
use std::collections::BTreeMap;

/// A fold that can be kept as rows.
pub trait Projection: Sized {
    /// The last entry folded; fold on from the next.
    fn folded(&self) -> Option<u64>;

    /// All rows. Equal logs give equal rows.
    fn rows(&self) -> BTreeMap<String, Vec<u8>>;

    /// The rows that changed since they were last taken, to be put in this order. Rows are never removed. A crash
    /// between two puts is found out by [`restore`](Projection::restore).
    fn take_changes(&mut self) -> Vec<(String, Vec<u8>)>;

    /// From rows that were kept. `None` when nothing was.
    ///
    /// # Errors
    /// See [`ProjectionError`]. The remedy for all but the store's own is to fold from the beginning.
    fn restore<E>(
        get: &mut dyn FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Self>, ProjectionError<E>>;
}

/// Why rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError<E> {
    /// The map failed.
    #[error("the rows of the projection could not be fetched: {0}")]
    Store(E),
    /// A row is malformed.
    #[error("row {name:?}: {source}; fold the projection again")]
    Row {
        /// The row.
        name: String,
        /// Why.
        source: JsonError,
    },
    /// Rows of different moments.
    #[error("the rows of the projection are not of one moment: putting them was interrupted; fold it again")]
    Torn,
}
