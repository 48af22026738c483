//! The ledger in files: one directory per org, a chain in segment files.
//!
//! A record is passed to the operating system before `append` returns, so it survives the death of
//! the process, and reaches the disk within 100 ms (or before returning, when strict). It is not in sled,
//! because a chain that only grows would never free its space there. Opened by the binary; used as
//! `dyn Ledger`.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use tokio::sync::broadcast;

use self::log_handle::LogHandle;
use self::open_orgs::OpenOrgs;
use super::error::LedgerError;
use super::line::{self, LedgerLine};
use super::query::{LedgerPage, LedgerQuery};
use super::report::{LedgerCut, LedgerLeft, PruneReport, VerifyReport};
use super::subscribers::Subscribers;
use super::{Ledger, LedgerSink, SEGMENT_BYTES, blocking};
use crate::disk_sync::Syncer;
use crate::head::HEADS;
use crate::task::BoxFuture;

mod chain_walk;
mod checkpoint;
mod importing;
mod log_handle;
mod open_orgs;
mod org_log;
mod reading;
mod recovery;
mod retention;
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
    threads: Vec<JoinHandle<()>>,
    /// Held for its lock.
    _lock: File,
}

struct Shared {
    dir: PathBuf,
    sync: LedgerSync,
    orgs: OpenOrgs,
    syncer: Syncer<LogHandle>,
    subscribers: Subscribers,
    /// Ends the look at all chains.
    stopping: AtomicBool,
}

impl FileLedger {
    /// Opens the ledgers below `dir` (one directory per org), creating it if there is none. A thread then looks at
    /// all chains, one after the other; a chain that is written to before its turn is looked at then. To one that is
    /// damaged nothing is appended.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyOpen`], and [`LedgerError::Unavailable`] if the directory cannot be used.
    pub fn open(dir: &Path, sync: LedgerSync) -> Result<Self, LedgerError> {
        Self::open_with_segments(dir, sync, SEGMENT_BYTES)
    }

    /// The same, with segments of another length.
    ///
    /// # Errors
    /// As for [`Self::open`].
    #[doc(hidden)]
    pub fn open_with_segments(dir: &Path, sync: LedgerSync, segment_bytes: u64) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| LedgerError::io("creating the ledger directory", &error))?;
        let lock = lock_directory(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            sync,
            orgs: OpenOrgs::new(dir.to_owned(), segment_bytes),
            syncer: Syncer::default(),
            subscribers: Subscribers::default(),
            stopping: AtomicBool::new(false),
        });
        let (syncing, looking) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            start("ledger-sync", move || syncing.syncer.run())?,
            start("ledger-check", move || looking.look_at_all())?,
        ];
        Ok(Self { shared, threads, _lock: lock })
    }

    fn org_dir(&self, org: &OrgId) -> PathBuf {
        self.shared.dir.join(org.as_str())
    }
}

impl Shared {
    /// Looks at every chain that there is or should be.
    fn look_at_all(&self) {
        for org in known_orgs(&self.dir) {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            match verify::check(&org, &self.dir.join(org.as_str())) {
                Ok((report, checked)) => self.orgs.looked(&org, report.bad.as_ref(), checked),
                Err(error) => tracing::error!(%org, %error, "the org's ledger cannot be read"),
            }
        }
    }

    /// Notes damage that a reader met.
    fn noting<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(LedgerError::Damaged { org, bad }) = &result {
            self.orgs.looked(org, Some(bad), None);
        }
        result
    }

    async fn opened(&self, handle: &Arc<LogHandle>) -> Result<(), LedgerError> {
        if handle.is_open() {
            return Ok(());
        }
        let _one_at_a_time = handle.opening.lock().await;
        if handle.is_open() {
            return Ok(());
        }
        let opening = Arc::clone(handle);
        blocking(move || opening.open()).await
    }
}

/// Orgs with a ledger below `dir`: those with a directory, and those whose directory is missing.
#[must_use]
pub fn known_orgs(dir: &Path) -> BTreeSet<OrgId> {
    let entries = [dir.to_owned(), dir.join(HEADS)].into_iter().filter_map(|dir| std::fs::read_dir(dir).ok());
    let names = entries.flatten().filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter_map(|name| OrgId::parse(name.to_str()?).ok()).collect()
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LedgerError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| LedgerError::io(&format!("starting the thread {name}"), &error))
}

impl Ledger for FileLedger {
    fn append<'a>(&'a self, event: &'a LedgerEvent) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let text = line::serialise(event)?;
            let handle = self.shared.orgs.handle(&event.org);
            let opened = self.shared.opened(&handle).await;
            // Not in a blocking task: a write into the page cache takes microseconds.
            let appended = opened.and_then(|()| {
                handle.append(&text, |written| {
                    let line = || Arc::new(LedgerLine::from_written(written, event.clone()));
                    self.shared.subscribers.publish(&event.org, line);
                })
            });
            let appended = appended.inspect_err(|error| {
                // Damage is looked at again when the org calls again: that reads all of its chain.
                if !matches!(error, LedgerError::Damaged { .. }) {
                    self.shared.syncer.failed(&handle);
                }
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
        let (org, query, dir, shared) = (org.clone(), query.clone(), self.org_dir(org), self.shared.clone());
        Box::pin(blocking(move || shared.noting(reading::read(&org, &dir, &query))))
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
        let (org, query, dir, shared) = (org.clone(), query.clone(), self.org_dir(org), self.shared.clone());
        Box::pin(blocking(move || shared.noting(reading::export(&org, &dir, &query, sink))))
    }

    fn verify<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<VerifyReport, LedgerError>> {
        let (org, dir, shared) = (org.clone(), self.org_dir(org), self.shared.clone());
        Box::pin(blocking(move || {
            let (report, checked) = verify::check(&org, &dir)?;
            shared.orgs.looked(&org, report.bad.as_ref(), checked);
            Ok(report)
        }))
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.shared.dir)
    }

    fn is_well(&self) -> bool {
        self.shared.syncer.is_well()
    }

    fn is_damaged(&self) -> bool {
        self.shared.orgs.is_damaged()
    }

    fn prune<'a>(
        &'a self,
        org: &'a OrgId,
        keep_segments: usize,
    ) -> BoxFuture<'a, Result<PruneReport, LedgerError>> {
        Box::pin(async move {
            let dir = self.org_dir(org);
            if !dir.exists() {
                return Ok(PruneReport::default());
            }
            let (handle, org) = (self.shared.orgs.handle(org), org.clone());
            blocking(move || {
                handle.open()?;
                let _cutting = handle.cutting();
                let first = retention::first_of_last(&org, &dir, keep_segments)?;
                retention::drop_before(&org, &dir, &handle.to_sync()?, first)
            })
            .await
        })
    }

    fn import<'a>(&'a self, org: &'a OrgId, lines: Vec<String>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            let (handle, dir, org) = (self.shared.orgs.handle(org), self.org_dir(org), org.clone());
            let appending = Arc::clone(&handle);
            let appended = blocking(move || {
                let Some(first) = lines.first() else { return Ok(()) };
                importing::begin(&org, &dir, first)?;
                appending.open()?;
                importing::append(&org, &appending, &lines)
            });
            appended.await?;
            self.shared.syncer.ask(&handle, true);
            Ok(())
        })
    }

    fn orgs<'a>(&'a self) -> BoxFuture<'a, Result<BTreeSet<OrgId>, LedgerError>> {
        let dir = self.shared.dir.clone();
        Box::pin(blocking(move || Ok(known_orgs(&dir))))
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let dir = self.org_dir(org);
            blocking(move || if dir.exists() { retention::bytes(&dir) } else { Ok(0) }).await
        })
    }

    fn retain<'a>(
        &'a self,
        org: &'a OrgId,
        cut: &'a LedgerCut,
    ) -> BoxFuture<'a, Result<LedgerLeft, LedgerError>> {
        Box::pin(async move {
            let dir = self.org_dir(org);
            if !dir.exists() {
                return Ok(LedgerLeft::default());
            }
            let handle = self.shared.orgs.handle(org);
            let (org, cut) = (org.clone(), cut.clone());
            blocking(move || {
                handle.open()?;
                let _cutting = handle.cutting();
                if let Some(before) = &cut.close_before
                    && retention::is_to_be_closed(&dir, before)?
                {
                    handle.close_segment()?;
                }
                let first = retention::first_to_keep(&org, &dir, &cut)?;
                let dropped = retention::drop_before(&org, &dir, &handle.to_sync()?, first)?;
                let segments_dropped = dropped.segments_dropped;
                Ok(LedgerLeft { segments_dropped, bytes: retention::bytes(&dir)? })
            })
            .await
        })
    }
}

impl Drop for FileLedger {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.syncer.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the ledger ended with a panic");
            }
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
