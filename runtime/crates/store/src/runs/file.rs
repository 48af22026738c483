//! Runs in append-only files, one directory per workspace.
//!
//! A record is passed to the operating system before `append` returns, so it survives the death of the
//! process, and reaches the disk within 100 ms. It is not in sled, where every record would cost a
//! transaction and wait for the disk: there are more runs than all other records together, they are written
//! once and rarely read. Records are linked by hash, and each is checked when it is read. Opened by the binary;
//! used as `dyn Runs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use self::chain::Place;
use self::indexer::{Indexer, orgs, workspaces};
use self::latest::Latest;
use self::log::Log;
use super::query::{RunPage, RunQuery, RunScope};
use super::{RunCut, RunRecord, Runs, RunsLeft};
use crate::disk_sync::Syncer;
use crate::error::StoreError;
use crate::task::{self, BoxFuture};
use portcullis_core::sync::lock;

mod chain;
mod earlier;
mod examining;
mod index;
mod indexer;
mod latest;
mod listing;
mod log;
mod outline;
mod reading;
mod retention;
mod segment;

pub(crate) use self::examining::examine_runs;

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
    latest: Arc<Latest>,
    /// Logs of which a file was closed, for the indexer.
    rolled: Option<Sender<Arc<Log>>>,
    /// Ends the indexer's look at what there is.
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FileRuns {
    /// Opens the runs below `dir` (`<org>/<workspace>/`), creating it if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the directory cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with_segments(dir, SEGMENT_BYTES)
    }

    /// The same, with files of another length.
    ///
    /// # Errors
    /// As for [`Self::open`].
    #[doc(hidden)]
    pub fn open_with_segments(dir: &Path, segment_bytes: u64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| StoreError::io("creating the runs' directory", &error))?;
        let syncer: Arc<Syncer<Log>> = Arc::default();
        let (latest, stopping): (Arc<Latest>, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        let (sender, rolled) = mpsc::channel();
        let indexer = Indexer {
            dir: dir.to_owned(),
            segment_bytes,
            latest: Arc::clone(&latest),
            stopping: Arc::clone(&stopping),
            rolled,
        };
        let syncing = Arc::clone(&syncer);
        let mut runs = Self {
            dir: dir.to_owned(),
            segment_bytes,
            logs: Mutex::default(),
            syncer,
            latest,
            rolled: Some(sender),
            stopping,
            threads: Vec::new(),
        };
        runs.threads.push(start("run-sync", move || syncing.run())?);
        runs.threads.push(start("run-index", move || indexer.run())?);
        Ok(runs)
    }

    /// The workspaces of a scope.
    async fn names(&self, scope: &RunScope) -> Result<Vec<(OrgId, WorkspaceId)>, StoreError> {
        let (dir, scope) = (self.dir.clone(), scope.clone());
        if let RunScope::Workspace(org, workspace) = scope {
            return Ok(vec![(org, workspace)]);
        }
        blocking(move || {
            let all = match scope {
                RunScope::Org(org) => vec![org],
                RunScope::Workspace(..) | RunScope::All => orgs(&dir).into_iter().collect(),
            };
            let of = |org: OrgId| {
                let names = workspaces(&dir, &org).into_iter();
                names.map(move |workspace| (org.clone(), workspace))
            };
            Ok(all.into_iter().flat_map(of).collect())
        })
        .await
    }

    /// The logs of these workspaces; one that is not in use is made for this read alone.
    fn logs_for_reading(&self, names: Vec<(OrgId, WorkspaceId)>) -> Vec<Arc<Log>> {
        let logs = self.logs();
        let log = |key: (OrgId, WorkspaceId)| {
            if let Some(log) = logs.get(&key) {
                return Arc::clone(log);
            }
            let (org, workspace) = key;
            Arc::new(Log::new(&self.dir, Place { org, workspace }, self.segment_bytes))
        };
        names.into_iter().map(log).collect()
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
            if log.take_rolled()
                && let Some(indexer) = &self.rolled
            {
                // Why ignored: without the indexer, a list makes the index.
                let _ = indexer.send(log);
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

    fn query<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, Result<Option<RunPage>, StoreError>> {
        let (wanted, latest) = (query.clone(), Arc::clone(&self.latest));
        Box::pin(async move {
            let names = self.names(&query.scope).await?;
            let logs = self.logs_for_reading(names);
            blocking(move || reading::looked(|| listing::page(&logs, &latest, &wanted))).await
        })
    }

    fn retain<'a>(&'a self, org: &'a OrgId, cut: &'a RunCut) -> BoxFuture<'a, Result<RunsLeft, StoreError>> {
        let (wanted, latest) = (cut.clone(), Arc::clone(&self.latest));
        Box::pin(async move {
            let names = self.names(&RunScope::Org(org.clone())).await?;
            // Why not those that are made for a read alone: only the log that is written to may drop its files.
            let logs: Vec<_> = names.iter().map(|(org, workspace)| self.log(org, workspace)).collect();
            blocking(move || retention::retain(&logs, &latest, &wanted)).await
        })
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let names = self.names(&RunScope::Org(org.clone())).await?;
            let dirs: Vec<_> = self.logs_for_reading(names).iter().map(|log| log.dir.clone()).collect();
            blocking(move || Ok(dirs.iter().map(|dir| retention::bytes(dir)).sum())).await
        })
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.dir)
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
            self.latest.forget(org, workspace);
            Ok(())
        })
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| StoreError::io(&format!("starting the thread {name}"), &error))
}

impl Drop for FileRuns {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.rolled = None;
        self.syncer.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the runs ended with a panic");
            }
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
