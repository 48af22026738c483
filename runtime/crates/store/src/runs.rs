//! Runs: what was requested of an action, and the result.
//!
//! It stores records and looks no further into them than their heads, by which they are found. Implemented in files and in memory; the same conformance
//! suite runs over both. Called by the engine.

use std::path::Path;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_core::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::StoreError;
use crate::task::BoxFuture;

mod file;
mod memory;
pub(crate) mod query;
mod report;
mod retention;

pub use file::FileRuns;
pub(crate) use file::examine_runs;
pub use memory::MemoryRuns;
pub use query::{RunCursor, RunFilter, RunOrder, RunPage, RunPlace, RunQuery, RunScope};
pub use report::{RunsFault, RunsReport};
pub use retention::{RunCut, RunsLeft};

/// Longest record in bytes, as JSON.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a record besides its body.
const AROUND_BYTES: usize = 320;

/// Is told how many records a look at all runs has read.
pub type RunsProgress<'a> = &'a mut (dyn FnMut(u64) + Send);

/// The runs of all workspaces.
///
/// Errors of all methods: [`StoreError::Unavailable`] if the storage cannot be used, and of reads
/// [`StoreError::DamagedFile`] if records are not what was written, or are missing.
pub trait Runs: Send + Sync + 'static {
    /// Stores a record. Every call writes one, so this should be cheap.
    ///
    /// Errors besides the common ones: [`StoreError::TooLarge`] for a record of more than 64 KiB. Nothing of
    /// it is stored after an error.
    fn append<'a>(&'a self, record: &'a RunRecord) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A run of a workspace.
    fn get<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>>;

    /// One page of runs; `None` if its cursor is none of these runs. A page may be short, or empty, and go on.
    fn query<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, Result<Option<RunPage>, StoreError>>;

    /// Deletes the runs of a workspace; it may have none. A call that ends meanwhile may leave its record behind,
    /// and after an error some may be deleted.
    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Drops old runs of an org, whole files and from the oldest of each workspace on, while others are stored. After an
    /// error some may be deleted; doing it again completes it.
    fn retain<'a>(&'a self, org: &'a OrgId, cut: &'a RunCut) -> BoxFuture<'a, Result<RunsLeft, StoreError>>;

    /// Reads all runs, and finds those that are not what was written, and those that are missing as far as the storage can
    /// tell. Others may use it meanwhile. Damage is in the report and is not an error.
    fn verify<'a>(&'a self, each: RunsProgress<'a>) -> BoxFuture<'a, Result<RunsReport, StoreError>> {
        Box::pin(report::verify_pages(self, each))
    }

    /// Bytes of an org's runs as they are stored.
    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The directory that it is in, if it is in files.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Whether records can be stored, as far as the last attempts showed.
    fn is_well(&self) -> bool {
        true
    }
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The first field, because records are found by their beginning.
    pub run_id: RunId,
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// When it ended, RFC 3339.
    pub created_at: String,
    /// State, request and result: a JSON object, as the engine writes it.
    pub body: Box<RawValue>,
}

impl RunRecord {
    /// The record's JSON, if it is within the limit.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn checked_json(&self) -> Result<String, StoreError> {
        let text = self.to_json();
        if text.len() > RECORD_BYTES_MAX {
            let key = self.run_id.as_str().to_owned();
            return Err(StoreError::TooLarge { key, bytes: text.len(), limit: RECORD_BYTES_MAX });
        }
        Ok(text)
    }

    /// The record as `serde_json` writes it, written directly because every call writes one.
    #[doc(hidden)]
    #[must_use]
    pub fn to_json(&self) -> String {
        // Destructured, so that a field which is not written does not compile.
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

#[cfg(test)]
pub(crate) mod tests;
