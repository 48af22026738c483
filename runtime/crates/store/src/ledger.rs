//! The outbound ledger: what left, and what was refused, as an append-only chain of records for each org.
//!
//! It stores what it receives and decides nothing; secrets, queries and bodies must not get here.
//! Implemented in files and in memory; the same conformance suite runs over both. Called by the engine.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use tokio::sync::broadcast;

use crate::task::{self, BoxFuture};

pub(crate) mod chains;
pub(crate) mod error;
mod export;
mod file;
pub(crate) mod line;
mod memory;
pub(crate) mod query;
mod report;
pub(crate) mod subscribers;

pub use error::{BadRecord, LedgerError};
pub use export::verify_export;
pub use file::{FileLedger, LedgerSync, known_orgs, verify_directory};
pub use line::LedgerLine;
pub use memory::MemoryLedger;
pub use query::{LEDGER_PAGE_ENTRIES_MAX, LedgerCursor, LedgerPage, LedgerPlace, LedgerQuery};
pub use report::{ChainReport, LedgerCut, LedgerLeft, PruneReport, VerifyReport};

/// A segment is closed at this length, so that reading one backwards takes bounded memory.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Receives the records of an export; breaking ends the export.
pub type LedgerSink = Box<dyn FnMut(&LedgerLine) -> ControlFlow<()> + Send>;

/// The ledgers of all orgs. The chain of an org without records is intact and empty. Where several nodes write, an org has a
/// chain for each, and what is said of its chain is meant of every one; lists and exports mix them as they were written.
///
/// Errors of all methods: [`LedgerError::Damaged`] if a record is not what was written,
/// [`LedgerError::Unavailable`] if the storage cannot be used.
pub trait Ledger: Send + Sync + 'static {
    /// Appends one record to its org's chain and returns its sequence, from 1 without gaps.
    ///
    /// Every request writes two, so this should be cheap. Errors besides the common ones:
    /// [`LedgerError::TooLarge`]. The chain has not moved after an error, unless the storage failed after
    /// the record was written; it then refuses everything until the records are on disk.
    fn append<'a>(&'a self, event: &'a LedgerEvent) -> BoxFuture<'a, Result<u64, LedgerError>>;

    /// One page of an org's entries, newest first; see [`LedgerQuery`]. It ends early where a look at more would take
    /// too long, at a place that the next page goes on from.
    ///
    /// Errors besides the common ones: [`LedgerError::UnknownCursor`].
    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
    ) -> BoxFuture<'a, Result<LedgerPage, LedgerError>>;

    /// The org's records as they are appended from now on, in the chain's order. A subscriber that falls
    /// 1,024 lines behind learns how many it missed.
    fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>>;

    /// Passes the org's matching records to `sink`, oldest first, as they were written: `begin` and
    /// `complete` separately, cursor and limit ignored. Returns their number. Runs on a blocking
    /// thread, so `sink` may block.
    fn export<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
        sink: LedgerSink,
    ) -> BoxFuture<'a, Result<u64, LedgerError>>;

    /// Verifies the org's chain from what is stored. Damage is in the report and is not an error.
    fn verify<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<VerifyReport, LedgerError>>;

    /// Drops the oldest segments of an org, keeping at least `keep_segments` and never less than one.
    /// The chain is anchored at the cut. After an error some may be deleted; pruning again completes it.
    fn prune<'a>(
        &'a self,
        org: &'a OrgId,
        keep_segments: usize,
    ) -> BoxFuture<'a, Result<PruneReport, LedgerError>>;

    /// The orgs that have a ledger, also those that were deleted.
    fn orgs<'a>(&'a self) -> BoxFuture<'a, Result<BTreeSet<OrgId>, LedgerError>>;

    /// Drops the org's old segments, whole and from the oldest on; the last one with records stays. The chain is anchored
    /// at the cut, and calls go on meanwhile. After an error some may be deleted; doing it again completes it.
    fn retain<'a>(
        &'a self,
        org: &'a OrgId,
        cut: &'a LedgerCut,
    ) -> BoxFuture<'a, Result<LedgerLeft, LedgerError>>;

    /// Bytes of an org's ledger as it is stored.
    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, LedgerError>>;

    /// Appends records that another backend wrote, as they are: the lines of one chain, oldest first, which go on from
    /// the last one here. A chain that has none here begins after the record before the first line. For a ledger that
    /// nobody else uses meanwhile; some of the lines may be stored after an error.
    ///
    /// Errors besides the common ones: [`LedgerError::Unavailable`] for a line that is none, or does not continue.
    fn import<'a>(&'a self, _org: &'a OrgId, _lines: Vec<String>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async { Err(LedgerError::Unavailable("this ledger takes no other's records".to_owned())) })
    }

    /// The directory that it is in, if it is in files.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Whether records can be written, as far as the last attempts showed.
    fn is_well(&self) -> bool {
        true
    }

    /// Whether the chain of some org was found to be damaged.
    fn is_damaged(&self) -> bool {
        false
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    task::blocking(|| LedgerError::Unavailable("a ledger task ended early".to_owned()), work).await
}

#[cfg(test)]
pub(crate) mod tests;
