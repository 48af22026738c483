//! Runs in append-only files, one directory per workspace.
//!
//! A record is passed to the operating system before `append` returns, so it survives the death of the
//! process, and reaches the disk within 100 ms. It is not in sled, where every record would cost a
//! transaction and wait for the disk: there are more runs than all other records together, they are written
//! once and rarely read. Records are linked by hash, and each is checked when it is read. Opened by the binary;
//! used as `dyn Runs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use self::chain::Place;
use self::log::Log;
use super::{RunRecord, Runs};
use crate::disk_sync::Syncer;
use crate::error::StoreError;
use crate::task::{self, BoxFuture};
use portcullis_core::sync::lock;

mod chain;
mod earlier;
mod log;
mod reading;
mod segment;

/// A file is closed at this length: reading all of it takes little time and memory.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Workspaces whose file is kept open; with sockets, below the usual limit of 1,024 descriptors.
const OPEN_LOGS_MAX: usize = 256;

/// Runs below one directory.
pub struct FileRuns {
    dir: PathBuf,
    segment_bytes: u64,
    logs: Mutex<HashMap<(OrgId, WorkspaceId), Arc<Log>>>,
    syncer: Arc<Syncer<Log>>,
    thread: Option<JoinHandle<()>>,
}

impl FileRuns {
    /// Opens the runs below `dir` (`<org>/<workspace>/`), creating it if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the directory cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with_segments(dir, SEGMENT_BYTES)
    }

    fn open_with_segments(dir: &Path, segment_bytes: u64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| StoreError::io("creating the runs' directory", &error))?;
        let syncer: Arc<Syncer<Log>> = Arc::default();
        let syncing = Arc::clone(&syncer);
        let thread = std::thread::Builder::new()
            .name("run-sync".to_owned())
            .spawn(move || syncing.run())
            .map_err(|error| StoreError::io("starting the runs' sync thread", &error))?;
        let logs = Mutex::default();
        Ok(Self { dir: dir.to_owned(), segment_bytes, logs, syncer, thread: Some(thread) })
    }

    fn log(&self, org: &OrgId, workspace: &WorkspaceId) -> Arc<Log> {
        let mut logs = self.logs();
        let key = (org.clone(), workspace.clone());
        if let Some(log) = logs.get(&key) {
            return Arc::clone(log);
        }
        if logs.len() >= OPEN_LOGS_MAX {
            // Held by this map only: nothing appends to it, and the sync thread is done with it.
            logs.retain(|_, log| Arc::strong_count(log) > 1);
        }
        let place = Place { org: org.clone(), workspace: workspace.clone() };
        let log = Arc::new(Log::new(&self.dir, place, self.segment_bytes));
        logs.insert(key, Arc::clone(&log));
        log
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<(OrgId, WorkspaceId), Arc<Log>>> {
        lock(&self.logs)
    }
}

impl FileRuns {
    /// Drops the oldest files of a workspace except `keep`; the current one always stays. The chain is anchored at
    /// the cut. Returns how many were dropped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; some may be deleted then, and calling it again completes it.
    pub async fn prune(
        &self,
        org: &OrgId,
        workspace: &WorkspaceId,
        keep: usize,
    ) -> Result<usize, StoreError> {
        let log = self.log(org, workspace);
        blocking(move || log.prune(keep)).await
    }
}

impl Runs for FileRuns {
    fn append<'a>(&'a self, record: &'a RunRecord) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let text = record.checked_json()?;
            let log = self.log(&record.org, &record.workspace);
            let opened = if log.is_open() {
                Ok(())
            } else {
                let opening = Arc::clone(&log);
                blocking(move || opening.open()).await
            };
            // Not in a blocking task: a write into the page cache takes microseconds.
            let first_unsynced =
                opened.and_then(|()| log.append(record, &text)).inspect_err(|_| self.syncer.failed(&log))?;
            if first_unsynced {
                self.syncer.ask(&log, false);
            }
            Ok(())
        })
    }

    fn get<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        let (log, run) = (self.log(org, workspace), run.clone());
        Box::pin(blocking(move || reading::get(&log, &run)))
    }

    fn list<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        after: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<RunRecord>>, StoreError>> {
        let (log, after) = (self.log(org, workspace), after.cloned());
        Box::pin(blocking(move || reading::list(&log, after.as_ref(), limit)))
    }

    fn is_well(&self) -> bool {
        self.syncer.is_well()
    }

    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let log = self.log(org, workspace);
            blocking(move || log.remove()).await?;
            self.logs().remove(&(org.clone(), workspace.clone()));
            Ok(())
        })
    }
}

/// When a run started: the first 48 bits of its UUIDv7 (RFC 9562 section 5.7), milliseconds since 1970.
fn started_ms(run: &str) -> Option<u64> {
    let (_, uuid) = run.split_once('_')?;
    u64::from_str_radix(uuid.get(..12)?, 16).ok()
}

impl Drop for FileRuns {
    fn drop(&mut self) {
        self.syncer.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the runs' sync thread ended with a panic");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    task::blocking(|| StoreError::Unavailable("a task of the runs ended early".to_owned()), work).await
}

#[cfg(test)]
mod tests;
