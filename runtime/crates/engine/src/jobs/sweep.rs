//! Erases ended jobs, with their inputs, once they need not be kept any more. Their records stay.

use portcullis_core::fault::Code;
use portcullis_store::{JobName, JobState, RunRecord, WorkspaceRecord};
use serde_json::value::RawValue;

use super::detail::Detail;
use super::now_ms;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Jobs erased in one go; the rest has its turn in the next.
const AT_ONCE: usize = 200;

/// Erases some of the jobs whose time is over.
///
/// # Errors
/// Those of the store; what is left is erased the next time.
pub(super) async fn sweep(engine: &Engine) -> Result<(), Error> {
    for name in engine.jobs.store.outdated(now_ms(), AT_ONCE).await? {
        record(engine, &name).await?;
        engine.jobs.store.erase(&name).await?;
    }
    Ok(())
}

/// Makes sure that the run has a record: one that was given up has none before, because it might have been taken up.
async fn record(engine: &Engine, name: &JobName) -> Result<(), Error> {
    let JobName { org, workspace, run_id } = name;
    let parts = [org.as_str(), workspace.as_str()];
    let Some(job) = engine.jobs.store.get(name).await? else { return Ok(()) };
    let found = engine.resources.records.get_shared::<WorkspaceRecord>(&parts).await?;
    if found.is_none_or(|(_, commit)| commit != job.workspace_commit) || job.state.is_open() {
        return Ok(());
    }
    let Some(document) = engine.jobs.store.document(name).await? else { return Ok(()) };
    let is_final = matches!(job.state, JobState::Ended | JobState::Cancelled);
    if is_final && engine.runs.get(org, workspace, run_id).await?.is_some() {
        return Ok(());
    }
    let body = RawValue::from_string(document).map_err(|_| Error::plain(Code::Internal))?;
    let created_at = Detail::of(&job)?.ended_at.unwrap_or_else(clock::now);
    let (run_id, org, workspace) = (run_id.clone(), org.clone(), workspace.clone());
    engine.runs.append(&RunRecord { run_id, org, workspace, created_at, body }).await?;
    Ok(())
}
