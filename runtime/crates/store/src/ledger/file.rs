//! The outbound ledger: per org, an append-only chain of records in segment files.
//!
//! A record is handed to the operating system before `append` returns, so it survives the death of
//! the process, and reaches the disk within 100 ms (or before returning, when strict). It stores what
//! it is given and decides nothing; secrets, queries and bodies must not get here. It is not in sled,
//! because a chain that only grows would never give its space back there. Called by the runtime.

use std::collections::HashMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use tokio::sync::broadcast;

use self::log_handle::LogHandle;
use self::open_orgs::OpenOrgs;
use crate::disk_sync::Syncer;
use crate::ledger::error::LedgerError;
use crate::ledger::line::{self, LedgerLine};
use crate::lock::lock;

mod chain_walk;
mod checkpoint;
mod log_handle;
mod open_orgs;
mod org_log;
mod reading;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod verify;

pub use org_log::PruneReport;
pub use reading::{LEDGER_PAGE_ENTRIES_MAX, LedgerPage, LedgerQuery};
pub use verify::{VerifyReport, verify_directory};

/// A segment is closed once it is this long, so that reading one backwards takes bounded memory.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Lines a subscriber may fall behind before it is told that it missed some.
const SUBSCRIBER_LINES: usize = 1024;

/// When a record must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerSync {
    /// Within 100 ms, many records at once.
    Group,
    /// Before `append` returns.
    Strict,
}

/// The ledgers of all orgs.
pub struct FileLedger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Held for its lock.
    _lock: File,
}

struct Shared {
    dir: PathBuf,
    sync: LedgerSync,
    orgs: OpenOrgs,
    syncer: Syncer<LogHandle>,
    subscribers: Mutex<HashMap<OrgId, broadcast::Sender<Arc<LedgerLine>>>>,
}

impl FileLedger {
    /// Opens the ledgers below `dir` (one directory per org), making it when there is none. Orgs are
    /// opened and checked when first written to.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyOpen`], and [`LedgerError::Unavailable`] when the directory cannot be used.
    pub fn open(dir: &Path, sync: LedgerSync) -> Result<Self, LedgerError> {
        Self::open_with_segments(dir, sync, SEGMENT_BYTES)
    }

    fn open_with_segments(dir: &Path, sync: LedgerSync, segment_bytes: u64) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| LedgerError::io("creating the ledger directory", &error))?;
        let lock = lock_directory(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            sync,
            orgs: OpenOrgs::new(dir.to_owned(), segment_bytes),
            syncer: Syncer::default(),
            subscribers: Mutex::default(),
        });
        let syncing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ledger-sync".to_owned())
            .spawn(move || syncing.syncer.run())
            .map_err(|error| LedgerError::io("starting the ledger's sync thread", &error))?;
        Ok(Self { shared, thread: Some(thread), _lock: lock })
    }

    /// Appends one record to its org's chain and returns its sequence.
    ///
    /// # Errors
    /// The chain has not moved after [`LedgerError::TooLarge`], [`LedgerError::Damaged`] and a failed
    /// write; after a failed sync the record may or may not be on disk, and the org's ledger refuses
    /// everything until a restart.
    pub async fn append(&self, event: &LedgerEvent) -> Result<u64, LedgerError> {
        let text = line::serialise(event)?;
        let handle = self.shared.orgs.handle(&event.org);
        if !handle.is_open() {
            let opening = Arc::clone(&handle);
            blocking(move || opening.open()).await?;
        }
        // In line: a write into the page cache takes microseconds.
        let appended = handle.append(&text, |line| self.publish(&event.org, event, line))?;
        let strict = self.shared.sync == LedgerSync::Strict;
        if appended.first_unsynced || strict {
            self.shared.syncer.ask(&handle, strict);
        }
        if strict {
            handle.synced(appended.seq).await?;
        }
        Ok(appended.seq)
    }

    /// One page of an org's entries, newest first; see [`LedgerQuery`].
    ///
    /// # Errors
    /// [`LedgerError::UnknownCursor`], [`LedgerError::Damaged`], [`LedgerError::Unavailable`].
    pub async fn read(&self, org: &OrgId, query: &LedgerQuery) -> Result<LedgerPage, LedgerError> {
        let (org, query, dir) = (org.clone(), query.clone(), self.org_dir(org));
        blocking(move || reading::read(&org, &dir, &query)).await
    }

    /// The org's records as they are appended from now on. A subscriber that falls 1,024 lines behind
    /// is told how many it missed.
    #[must_use]
    pub fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        let mut subscribers = self.subscribers();
        subscribers.retain(|_, sender| sender.receiver_count() > 0);
        subscribers.entry(org.clone()).or_insert_with(|| broadcast::channel(SUBSCRIBER_LINES).0).subscribe()
    }

    /// Gives the org's records that match to `sink`, oldest first, as they were written: `begin` and
    /// `complete` apart, cursor and limit ignored. Returns how many were given; `sink` ends it early
    /// by breaking. Runs on a blocking thread, so `sink` may block.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] at the first record that does not verify, [`LedgerError::Unavailable`].
    pub async fn export<F>(&self, org: &OrgId, query: &LedgerQuery, sink: F) -> Result<u64, LedgerError>
    where
        F: FnMut(&LedgerLine) -> ControlFlow<()> + Send + 'static,
    {
        let (org, query, dir) = (org.clone(), query.clone(), self.org_dir(org));
        blocking(move || reading::export(&org, &dir, &query, sink)).await
    }

    /// Proves the org's chain from its files, as [`verify_directory`] does. An org without a ledger
    /// has an intact one of no records.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when the files cannot be read; damage is in the report.
    pub async fn verify(&self, org: &OrgId) -> Result<VerifyReport, LedgerError> {
        let (org, dir) = (org.clone(), self.org_dir(org));
        blocking(move || verify::verify(&org, &dir)).await
    }

    /// Drops the oldest segments of an org, keeping at least `keep_segments` and never less than one.
    /// The chain is anchored at the cut.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`], [`LedgerError::Unavailable`]; a prune that was cut short is finished
    /// when the org is opened next.
    pub async fn prune(&self, org: &OrgId, keep_segments: usize) -> Result<PruneReport, LedgerError> {
        if !self.org_dir(org).exists() {
            return Ok(PruneReport::default());
        }
        let handle = self.shared.orgs.handle(org);
        blocking(move || {
            handle.open()?;
            handle.prune(keep_segments)
        })
        .await
    }

    fn org_dir(&self, org: &OrgId) -> PathBuf {
        self.shared.dir.join(org.as_str())
    }

    fn subscribers(&self) -> std::sync::MutexGuard<'_, HashMap<OrgId, broadcast::Sender<Arc<LedgerLine>>>> {
        lock(&self.shared.subscribers)
    }

    fn publish(&self, org: &OrgId, event: &LedgerEvent, written: &line::Written<'_>) {
        if let Some(sender) = self.subscribers().get(org) {
            // No receiver any more is fine.
            drop(sender.send(Arc::new(LedgerLine::from_written(written, event.clone()))));
        }
    }
}

impl Drop for FileLedger {
    fn drop(&mut self) {
        self.shared.syncer.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's sync thread ended with a panic");
        }
    }
}

fn lock_directory(dir: &Path) -> Result<File, LedgerError> {
    // No org can have this name: ids do not start with a dot.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(".lock"))
        .map_err(|error| LedgerError::io("opening the ledger's lock file", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(LedgerError::AlreadyOpen { dir: dir.display().to_string() })
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(LedgerError::io("locking the ledger directory", &error))
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| LedgerError::Unavailable("a ledger task ended early".to_owned()))?
}
