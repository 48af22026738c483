//! The sled engine: the embedded default, one directory, one process.
//!
//! sled alone neither fsyncs nor notices that it lost its newest writes, so this wraps it: one writer
//! thread commits in groups and syncs before it acknowledges, every record carries a checksum, a
//! digest over all of them is checked at open, and a watermark outside sled shows when the whole
//! store is older than it should be. It does not use sled's subscriptions, generated ids or background flushes.
//! Called through `dyn Store`; opened by the runtime and by `portcullis restore`.

use std::fs::File;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::backend::versions::Versions;
use crate::backend::{Batch, Change, SnapshotReport, Store, StoreStats, Versioned, check_key};
use crate::error::StoreError;
use crate::task::BoxFuture;

use self::watermark::Watermark;
use self::writer::{Job, Writer};

mod layout;
mod reading;
mod recovery;
#[cfg(test)]
mod tests;
mod transaction;
mod watermark;
mod writer;

/// Less than sled's default of 1 GiB, which is more than the whole product should need.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Commits waiting for the writer thread; further ones wait in their own tasks.
const QUEUED_JOBS_MAX: usize = 1024;

/// How long to wait for an earlier handle of the same directory to close inside sled.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(10);
const CLOSING_POLL: Duration = Duration::from_millis(2);

/// A store in one directory on disk.
pub struct SledStore {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// State shared by the writer thread and reading tasks.
struct Shared {
    db: sled::Db,
    dir: PathBuf,
    versions: Versions,
    /// Set when a write or a sync failed: memory and disk may then differ.
    broken: AtomicBool,
    /// Held for its lock; after `db`, so that sled closes first.
    _lock: File,
}

impl Shared {
    fn usable(&self) -> Result<&sled::Db, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable(
                "an earlier write did not reach the disk; restart after looking at the disk".to_owned(),
            ));
        }
        Ok(&self.db)
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
        std::fs::create_dir_all(dir)
            .map_err(|error| StoreError::io(&format!("creating {}", dir.display()), &error))?;
        let lock = lock_directory(dir)?;
        let opened = catch_unwind(AssertUnwindSafe(|| open_checked(dir)));
        // Why: sled panics on some damaged pages, and an error that names the repair is better than that.
        let (db, watermark) = opened.unwrap_or_else(|_| {
            Err(StoreError::damaged(format!("the store in {} cannot be read", dir.display())))
        })?;
        let db_file = File::open(dir.join("sled").join("db"))
            .map_err(|error| StoreError::io("opening sled's file for syncing", &error))?;
        let shared = Arc::new(Shared {
            db,
            dir: dir.to_owned(),
            versions: Versions::default(),
            broken: AtomicBool::new(false),
            _lock: lock,
        });
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        let mut writer = Writer::new(Arc::clone(&shared), db_file, watermark);
        // Why: sled syncs neither what its recovery wrote nor the directory entries it made.
        writer.make_durable()?;
        sync_directory(&dir.join("sled"))?;
        sync_directory(dir)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| StoreError::io("starting the writer thread", &error))?;
        Ok(Self { shared, jobs: Some(jobs), writer: Some(thread) })
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
        tokio::task::spawn_blocking(move || read(shared.usable()?))
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
            reading::get(self.shared.usable()?, key)
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
        Box::pin(self.ask(|reply| Job::Snapshot { to, reply }))
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
        self.shared.usable().ok().map(|_| self.shared.versions.of(key))
    }

    fn is_shared(&self) -> bool {
        // The directory's lock ensures it.
        false
    }
}

fn lock_directory(dir: &Path) -> Result<File, StoreError> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(|error| StoreError::io(&format!("opening {}/lock", dir.display()), &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StoreError::AlreadyOpen { dir: dir.display().to_string() })
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(StoreError::io(&format!("locking {}", dir.display()), &error))
        }
    }
}

/// Opens sled and compares its content with the digest and the watermark.
fn open_checked(dir: &Path) -> Result<(sled::Db, Watermark), StoreError> {
    let (watermark, mark) = Watermark::open(&dir.join("watermark"))?;
    let db = open_sled(dir)?;
    recovery::examine(&db, mark)?;
    Ok((db, watermark))
}

/// Opens sled, waiting for an earlier handle of this process to close.
fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir.join("sled")).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let started = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // Why: sled's thread pool may hold its file for a moment after the last handle is dropped,
            // and reports its lock by this error kind. Our own lock shows that no other process is there.
            Err(sled::Error::Io(error))
                if error.kind() == std::io::ErrorKind::Other && started.elapsed() < CLOSING_WAIT_MAX =>
            {
                std::thread::sleep(CLOSING_POLL);
            }
            Err(sled::Error::Corruption { .. } | sled::Error::ReportableBug(_)) => {
                return Err(StoreError::damaged(format!("sled cannot read {}", dir.display())));
            }
            Err(other) => {
                return Err(StoreError::Unavailable(format!("opening {}: {other}", dir.display())));
            }
        }
    }
}

fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| StoreError::io(&format!("syncing {}", dir.display()), &error))
}
