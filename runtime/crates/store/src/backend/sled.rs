//! The sled engine: the embedded default, one directory, one process.
//!
//! sled alone neither fsyncs nor notices that it lost its newest writes, so this wraps it: one writer
//! thread commits in groups and syncs before it acknowledges, every record carries a checksum, a
//! digest over all of them is checked at open, and a watermark outside sled shows when the whole
//! store is older than it should be. It does not use sled's subscriptions, generated ids or background flushes.
//! Called through `dyn Store`; opened by the runtime and by `portcullis restore`.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use portcullis_core::sync::read;
use tokio::sync::{mpsc, oneshot};

use crate::backend::versions::Versions;
use crate::backend::{AtSnapshot, Batch, Change, SnapshotReport, Store, StoreStats, Versioned, check_key};
use crate::error::StoreError;
use crate::task::BoxFuture;

use self::opening::{lock_directory, open_checked};
use self::scanning::{KeptBounds, Scanning};
use self::writer::{Job, Writer};

pub use self::compacting::{CompactStep, Compacted, compact_store};
pub use self::examining::{StoreBad, StoreSeen, examine_store};

mod anchor;
mod compacting;
mod examining;
mod layout;
mod opening;
mod reading;
mod recovery;
mod scanning;
#[cfg(test)]
mod tests;
mod transaction;
mod watermark;
mod writer;

/// Commits waiting for the writer thread; further ones wait in their own tasks.
const QUEUED_JOBS_MAX: usize = 1024;

/// A store in one directory on disk.
pub struct SledStore {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// One snapshot at a time.
    snapshots: Arc<tokio::sync::Mutex<()>>,
}

/// State shared by the writer thread and reading tasks.
struct Shared {
    /// `None` while the writer thread reads the disk again after a failure.
    db: RwLock<Option<sled::Db>>,
    dir: PathBuf,
    versions: Versions,
    /// Set when a write or a sync failed: memory and disk may then differ.
    broken: AtomicBool,
    /// Whether the last write of the anchor failed.
    anchor_failing: Arc<AtomicBool>,
    /// The snapshot that is under way.
    scanning: Scanning,
    /// Bytes that the records take.
    live_bytes: AtomicU64,
    /// Held for its lock; after `db`, so that sled closes first.
    _lock: File,
}

impl Shared {
    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn usable(&self) -> Result<sled::Db, StoreError> {
        let db = if self.is_broken() { None } else { read(&self.db).clone() };
        db.ok_or_else(|| {
            StoreError::Unavailable(
                "an earlier write did not reach the disk; the store is used again as soon as it can be written"
                    .to_owned(),
            )
        })
    }
}

impl SledStore {
    /// Opens the store in `dir`, creating it if there is none. Reads everything once, to compare it
    /// with the digest; blocking, so call it before serving.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`]; [`StoreError::Damaged`] if anything is not as it was
    /// acknowledged; [`StoreError::Unavailable`] if the directory cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_anchored(dir, None)
    }

    /// The same, with a file outside the data directory that says what was acknowledged: a store that is older is
    /// refused, also if its own watermark is as old.
    ///
    /// # Errors
    /// As for [`Self::open`], and [`StoreError::OlderThanAnchor`].
    pub fn open_anchored(dir: &Path, anchor: Option<&Path>) -> Result<Self, StoreError> {
        Self::open_bounded(dir, anchor, KeptBounds::default())
    }

    /// The same, with bounds of what is kept for a snapshot.
    fn open_bounded(dir: &Path, anchor: Option<&Path>, kept: KeptBounds) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| StoreError::io(&format!("creating {}", dir.display()), &error))?;
        let lock = lock_directory(dir)?;
        let (db, files, live_bytes) = open_checked(dir)?;
        let anchor_failing = Arc::new(AtomicBool::new(false));
        let meta = reading::meta(&db)?;
        let anchor = anchor.map(|path| anchor::Keeper::open(path, &meta, Arc::clone(&anchor_failing)));
        let shared = Arc::new(Shared {
            db: RwLock::new(Some(db)),
            dir: dir.to_owned(),
            versions: Versions::default(),
            broken: AtomicBool::new(false),
            anchor_failing,
            scanning: Scanning::new(dir.to_owned(), kept),
            live_bytes: AtomicU64::new(live_bytes),
            _lock: lock,
        });
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        let mut writer = Writer::new(Arc::clone(&shared), files, anchor.transpose()?, jobs.downgrade());
        // Why: sled syncs neither what its recovery wrote nor the directory entries it made.
        writer.make_durable()?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| StoreError::io("starting the writer thread", &error))?;
        Ok(Self { shared, jobs: Some(jobs), writer: Some(thread), snapshots: Arc::default() })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable("the writer thread has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&sled::Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || read(&shared.usable()?))
            .await
            .map_err(|_| StoreError::damaged("reading the store failed"))?
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer thread ended with a panic");
        }
    }
}

impl Store for SledStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            // Not in a blocking task: almost always a memory read, and at worst a few reads of 4 KiB.
            reading::get(&self.shared.usable()?, key)
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        let prefix = prefix.to_owned();
        let after = after.map(str::to_owned);
        Box::pin(self.read_blocking(move |db| reading::list(db, &prefix, after.as_deref(), limit)))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            batch.check()?;
            self.ask(|reply| Job::Commit { batch, reply }).await
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(self.read_blocking(move |db| reading::changes(db, since, limit)))
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        self.snapshot_at(Box::new(|| Ok(())), to)
    }

    fn snapshot_at(
        &self,
        at: AtSnapshot,
        to: Box<dyn Write + Send>,
    ) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move {
            let stopped = || StoreError::Unavailable("the writer thread has stopped".to_owned());
            let alone = Arc::clone(&self.snapshots).lock_owned().await;
            let (shared, jobs) = (Arc::clone(&self.shared), self.jobs.clone().ok_or_else(stopped)?);
            // Why all of it on a thread: a snapshot that was begun must be ended, also if whoever asked is gone.
            let written = tokio::task::spawn_blocking(move || {
                let _alone = alone;
                let (reply, begun) = oneshot::channel();
                jobs.blocking_send(Job::BeginSnapshot { at, reply }).map_err(|_| stopped())?;
                drop(jobs);
                let begun = begun.blocking_recv().map_err(|_| stopped())??;
                scanning::write(&shared, &begun, &mut BufWriter::new(to))
            });
            written.await.map_err(|_| StoreError::damaged("reading the store failed"))?
        })
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(self.ask(|reply| Job::Restore { from, reply }))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        Box::pin(self.read_blocking(|db| {
            let meta = reading::meta(db)?;
            let disk_bytes =
                db.size_on_disk().map_err(|error| StoreError::Unavailable(format!("measuring: {error}")))?;
            Ok(StoreStats { engine: "sled", seq: meta.seq, records: meta.records, disk_bytes })
        }))
    }

    fn version(&self, key: &str) -> Option<u64> {
        // Why none when broken: cached reads must not hide that the store can no longer be read.
        if self.shared.is_broken() { None } else { self.shared.versions.of(key) }
    }

    fn live_bytes(&self) -> Option<u64> {
        Some(self.shared.live_bytes.load(Ordering::Relaxed))
    }

    fn is_well(&self) -> bool {
        !self.shared.is_broken()
    }

    fn is_anchored(&self) -> bool {
        !self.shared.anchor_failing.load(Ordering::Acquire)
    }

    fn is_shared(&self) -> bool {
        // The directory's lock ensures it.
        false
    }
}
