//! Runs: what was asked of an action and what came of it, in append-only files of each workspace.
//!
//! A record is handed to the operating system before `append` returns, so it survives the death of the
//! process, and reaches the disk within 100 ms. It is not in sled, where every record would cost a
//! transaction and wait for the disk: there are more runs than everything else together, they are written
//! once, and read by few.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_core::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::log::Log;
use crate::disk_sync::Syncer;
use crate::error::StoreError;
use crate::lock::lock;

mod log;
#[cfg(test)]
mod tests;

/// A file is closed once it is this long: reading one whole takes little time and memory.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Longest record in bytes, as JSON.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Room for what stands around a record's body.
const AROUND_BYTES: usize = 320;

/// Workspaces whose file is kept open; under the usual limit of 1,024 descriptors with room for sockets.
const OPEN_LOGS_MAX: usize = 256;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The run. First, because records are found by how their line begins.
    pub run_id: RunId,
    /// Whose it is.
    pub org: OrgId,
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// When it ended, RFC 3339.
    pub created_at: String,
    /// State, request and result: a JSON object, as the runtime writes it.
    pub body: Box<RawValue>,
}

impl RunRecord {
    /// The record as `serde_json` writes it, without detours: every call writes one.
    fn to_json(&self) -> String {
        // Taken apart, so that a field which is not written does not compile.
        let Self { run_id, org, workspace, created_at, body } = self;
        let mut out = String::with_capacity(body.get().len().saturating_add(AROUND_BYTES));
        out.push_str("{\"run_id\":");
        json::push_plain(run_id.as_str(), &mut out);
        out.push_str(",\"org\":");
        json::push_plain(org.as_str(), &mut out);
        out.push_str(",\"workspace\":");
        json::push_plain(workspace.as_str(), &mut out);
        out.push_str(",\"created_at\":");
        json::push_text(created_at, &mut out);
        out.push_str(",\"body\":");
        out.push_str(body.get());
        out.push('}');
        out
    }
}

/// The runs of all workspaces.
pub struct FileRuns {
    dir: PathBuf,
    segment_bytes: u64,
    logs: Mutex<HashMap<(OrgId, WorkspaceId), Arc<Log>>>,
    syncer: Arc<Syncer<Log>>,
    thread: Option<JoinHandle<()>>,
}

impl FileRuns {
    /// Opens the runs below `dir` (`<org>/<workspace>/`), making it when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the directory cannot be used.
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

    /// Keeps a record.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for a record of more than 64 KiB, [`StoreError::Unavailable`]; nothing of it
    /// is kept then.
    pub async fn append(&self, record: &RunRecord) -> Result<(), StoreError> {
        let mut line = record.to_json();
        if line.len() > RECORD_BYTES_MAX {
            let key = record.run_id.as_str().to_owned();
            return Err(StoreError::TooLarge { key, bytes: line.len(), limit: RECORD_BYTES_MAX });
        }
        line.push('\n');
        let log = self.log(&record.org, &record.workspace);
        if !log.is_open() {
            let opening = Arc::clone(&log);
            blocking(move || opening.open()).await?;
        }
        // In line: a write into the page cache takes microseconds.
        if log.append(line.as_bytes())? {
            self.syncer.ask(&log, false);
        }
        Ok(())
    }

    /// A run of a workspace.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreadable`].
    pub async fn get(
        &self,
        org: &OrgId,
        workspace: &WorkspaceId,
        run: &RunId,
    ) -> Result<Option<RunRecord>, StoreError> {
        let (log, run) = (self.log(org, workspace), run.clone());
        blocking(move || log.get(&run)).await
    }

    /// Runs of a workspace in the order of their ends, after the run `after`, at most `limit`. `None` when
    /// there is no run `after`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn list(
        &self,
        org: &OrgId,
        workspace: &WorkspaceId,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Option<Vec<RunRecord>>, StoreError> {
        let (log, after) = (self.log(org, workspace), after.cloned());
        blocking(move || log.list(after.as_ref(), limit)).await
    }

    /// Deletes the runs of a workspace. A call that ends meanwhile may leave its record behind.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; some may be gone then.
    pub async fn remove(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), StoreError> {
        let log = self.log(org, workspace);
        blocking(move || log.remove()).await?;
        self.logs().remove(&(org.clone(), workspace.clone()));
        Ok(())
    }

    fn log(&self, org: &OrgId, workspace: &WorkspaceId) -> Arc<Log> {
        let mut logs = self.logs();
        let place = (org.clone(), workspace.clone());
        if let Some(log) = logs.get(&place) {
            return Arc::clone(log);
        }
        if logs.len() >= OPEN_LOGS_MAX {
            // Held by this map alone: nobody appends to it, and the sync thread is done with it.
            logs.retain(|_, log| Arc::strong_count(log) > 1);
        }
        let dir = self.dir.join(org.as_str()).join(workspace.as_str());
        let log = Arc::new(Log::new(dir, self.segment_bytes));
        logs.insert(place, Arc::clone(&log));
        log
    }

    fn logs(&self) -> std::sync::MutexGuard<'_, HashMap<(OrgId, WorkspaceId), Arc<Log>>> {
        lock(&self.logs)
    }
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
    let stopped = |_| StoreError::Unavailable("a task of the runs ended early".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}
