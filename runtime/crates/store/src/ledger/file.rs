//! The ledger in files: one directory per org, a chain in segment files.
//!
//! A record is passed to the operating system before `append` returns, so it survives the death of
//! the process, and reaches the disk within 100 ms (or before returning, when strict). It is not in sled,
//! because a chain that only grows would never free its space there. Opened by the binary; used as
//! `dyn Ledger`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use tokio::sync::broadcast;

use self::log_handle::LogHandle;
use self::open_orgs::OpenOrgs;
use super::error::LedgerError;
use super::line::{self, LedgerLine};
use super::query::{LedgerPage, LedgerQuery};
use super::report::{PruneReport, VerifyReport};
use super::subscribers::Subscribers;
use super::{Ledger, LedgerSink, SEGMENT_BYTES, blocking};
use crate::disk_sync::Syncer;
use crate::task::BoxFuture;

mod chain_walk;
mod checkpoint;
mod log_handle;
mod open_orgs;
mod org_log;
mod reading;
mod recovery;
mod segment;
mod verify;

pub use verify::verify_directory;

/// When a record must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerSync {
    /// Within 100 ms, many records at once.
    Group,
    /// Before `append` returns.
    Strict,
}

/// The ledgers below one directory.
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
    subscribers: Subscribers,
}

impl FileLedger {
    /// Opens the ledgers below `dir` (one directory per org), creating it if there is none. Orgs are
    /// opened and checked when first written to.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyOpen`], and [`LedgerError::Unavailable`] if the directory cannot be used.
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
            subscribers: Subscribers::default(),
        });
        let syncing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ledger-sync".to_owned())
            .spawn(move || syncing.syncer.run())
            .map_err(|error| LedgerError::io("starting the ledger's sync thread", &error))?;
        Ok(Self { shared, thread: Some(thread), _lock: lock })
    }

    fn org_dir(&self, org: &OrgId) -> PathBuf {
        self.shared.dir.join(org.as_str())
    }
}

impl Ledger for FileLedger {
    fn append<'a>(&'a self, event: &'a LedgerEvent) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let text = line::serialise(event)?;
            let handle = self.shared.orgs.handle(&event.org);
            if !handle.is_open() {
                let opening = Arc::clone(&handle);
                blocking(move || opening.open()).await?;
            }
            // Not in a blocking task: a write into the page cache takes microseconds.
            let appended = handle.append(&text, |written| {
                let line = || Arc::new(LedgerLine::from_written(written, event.clone()));
                self.shared.subscribers.publish(&event.org, line);
            })?;
            let strict = self.shared.sync == LedgerSync::Strict;
            if appended.first_unsynced || strict {
                self.shared.syncer.ask(&handle, strict);
            }
            if strict {
                handle.synced(appended.seq).await?;
            }
            Ok(appended.seq)
        })
    }

    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
    ) -> BoxFuture<'a, Result<LedgerPage, LedgerError>> {
        let (org, query, dir) = (org.clone(), query.clone(), self.org_dir(org));
        Box::pin(blocking(move || reading::read(&org, &dir, &query)))
    }

    fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        self.shared.subscribers.subscribe(org)
    }

    fn export<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
        sink: LedgerSink,
    ) -> BoxFuture<'a, Result<u64, LedgerError>> {
        let (org, query, dir) = (org.clone(), query.clone(), self.org_dir(org));
        Box::pin(blocking(move || reading::export(&org, &dir, &query, sink)))
    }

    fn verify<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<VerifyReport, LedgerError>> {
        let (org, dir) = (org.clone(), self.org_dir(org));
        Box::pin(blocking(move || verify::verify(&org, &dir)))
    }

    fn prune<'a>(
        &'a self,
        org: &'a OrgId,
        keep_segments: usize,
    ) -> BoxFuture<'a, Result<PruneReport, LedgerError>> {
        Box::pin(async move {
            if !self.org_dir(org).exists() {
                return Ok(PruneReport::default());
            }
            let handle = self.shared.orgs.handle(org);
            blocking(move || {
                handle.open()?;
                handle.prune(keep_segments)
            })
            .await
        })
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

#[cfg(test)]
mod tests;
