//! How many runs of a workspace were accepted and have not ended: bounded, because each is kept on disk with its input.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::sync::lock;

use crate::engine::Engine;
use crate::error::Error;

/// How long a count is used; what is accepted meanwhile is added to it.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// Workspaces whose count is remembered.
const WORKSPACES_MAX: usize = 10_000;

/// The last counts.
#[derive(Default)]
pub(super) struct Backlogs(Mutex<HashMap<(OrgId, WorkspaceId), (u64, Instant)>>);

impl Backlogs {
    /// The count of a moment ago, this run included.
    fn add(&self, place: &(OrgId, WorkspaceId)) -> Option<u64> {
        let mut counts = lock(&self.0);
        let (count, at) = counts.get_mut(place)?;
        if at.elapsed() >= COUNTED_FOR {
            return None;
        }
        *count = count.saturating_add(1);
        Some(*count)
    }

    fn set(&self, place: (OrgId, WorkspaceId), count: u64) {
        let mut counts = lock(&self.0);
        if counts.len() >= WORKSPACES_MAX && !counts.contains_key(&place) {
            counts.clear();
        }
        counts.insert(place, (count, Instant::now()));
    }
}

/// Refuses a run that its workspace has no room for.
///
/// # Errors
/// `workspace_busy`, `store_unavailable`.
pub(super) async fn admit(engine: &Engine, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Error> {
    let most = engine.limits().workspace_open_jobs;
    let place = (org.clone(), workspace.clone());
    let count = match engine.jobs.backlogs.add(&place) {
        // Why counted again: some may have ended since.
        Some(count) if count <= most => count,
        _ => {
            let at_most = usize::try_from(most).unwrap_or(usize::MAX);
            let open = engine.jobs.store.open(org, workspace, at_most).await? as u64;
            engine.jobs.backlogs.set(place, open.saturating_add(1));
            open.saturating_add(1)
        }
    };
    if count <= most {
        return Ok(());
    }
    let detail = format!(
        "the workspace has {most} accepted runs that have not ended, which is its limit (limits.workspace_open_jobs)"
    );
    Err(Error { retry_after_s: Some(1), ..Error::new(Code::WorkspaceBusy, detail) })
}
