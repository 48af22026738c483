//! How many runs of a workspace were accepted and have not ended: bounded, because each is kept on disk with its input.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::sync::lock;

use crate::engine::Engine;
use crate::error::Error;

/// How long a count is used; what this process accepts or ends meanwhile is added and taken off.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// Workspaces whose count is remembered.
const WORKSPACES_MAX: usize = 10_000;

/// When a workspace that has no room for an input is asked again: what makes room is a sweep, each minute.
const RETRY_AFTER_S: u64 = 60;

type Place = (OrgId, WorkspaceId);

/// The last counts.
#[derive(Default)]
pub(super) struct Backlogs(Mutex<HashMap<Place, (u64, Instant)>>);

impl Backlogs {
    /// Whether there is room for one more by the count of a moment ago, which has it then; `None` without such a count.
    fn add(&self, place: &Place, most: u64, now: Instant) -> Option<bool> {
        let mut counts = lock(&self.0);
        let (count, at) = counts.get_mut(place)?;
        if now.saturating_duration_since(*at) >= COUNTED_FOR {
            return None;
        }
        let has_room = *count < most;
        *count = count.saturating_add(u64::from(has_room));
        Some(has_room)
    }

    fn set(&self, place: Place, count: u64, now: Instant) {
        let mut counts = lock(&self.0);
        if counts.len() >= WORKSPACES_MAX && !counts.contains_key(&place) {
            counts.clear();
        }
        counts.insert(place, (count, now));
    }

    /// A run of a workspace has ended.
    pub(super) fn take_off(&self, org: &OrgId, workspace: &WorkspaceId) {
        if let Some((count, _)) = lock(&self.0).get_mut(&(org.clone(), workspace.clone())) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Refuses a run that its workspace has no room for.
///
/// # Errors
/// `workspace_busy`, `store_unavailable`.
pub(super) async fn admit(engine: &Engine, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Error> {
    let (most, backlogs) = (engine.limits().workspace_open_jobs, &engine.jobs.backlogs);
    let place = (org.clone(), workspace.clone());
    // Why believed also where there is no room: a count reads as many keys as there are runs, and those that are refused
    // are many.
    let has_room = match backlogs.add(&place, most, Instant::now()) {
        Some(has_room) => has_room,
        None => {
            let at_most = usize::try_from(most).unwrap_or(usize::MAX);
            let open = engine.jobs.store.open(org, workspace, at_most).await? as u64;
            backlogs.set(place.clone(), open, Instant::now());
            backlogs.add(&place, most, Instant::now()).unwrap_or(open < most)
        }
    };
    if has_room {
        return Ok(());
    }
    let detail = format!(
        "the workspace has {most} accepted runs that have not ended, which is its limit (limits.workspace_open_jobs)"
    );
    Err(Error { retry_after_s: Some(1), ..Error::new(Code::WorkspaceBusy, detail) })
}

/// Refuses a run whose sealed input has this size and that its workspace has no room for. What is accepted at the same
/// moment may go beyond the limit together.
///
/// # Errors
/// `workspace_busy`, `store_unavailable`.
pub(super) async fn admit_bytes(
    engine: &Engine,
    org: &OrgId,
    workspace: &WorkspaceId,
    bytes: usize,
) -> Result<(), Error> {
    let most = engine.limits().workspace_job_bytes;
    let kept = engine.jobs.store.input_bytes(org, workspace).await?;
    if kept.saturating_add(bytes as u64) <= most {
        return Ok(());
    }
    let detail = format!(
        "the inputs of the workspace's accepted runs are {kept} bytes, and its limit is {most} \
         (limits.workspace_job_bytes); an input is kept until its run has ended, and then for the org's input_days"
    );
    Err(Error { retry_after_s: Some(RETRY_AFTER_S), ..Error::new(Code::WorkspaceBusy, detail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_believed_for_a_second_also_when_there_is_no_room() {
        let (backlogs, now) = (Backlogs::default(), Instant::now());
        let place = (OrgId::parse("acme").unwrap(), WorkspaceId::parse("main").unwrap());
        assert_eq!(backlogs.add(&place, 2, now), None, "nobody has counted");
        backlogs.set(place.clone(), 1, now);
        assert_eq!(backlogs.add(&place, 2, now), Some(true));
        for _ in 0..3 {
            assert_eq!(backlogs.add(&place, 2, now), Some(false), "nothing is counted for it");
        }
        backlogs.take_off(&place.0, &place.1);
        assert_eq!(backlogs.add(&place, 2, now), Some(true), "one has ended");
        assert_eq!(backlogs.add(&place, 2, now + COUNTED_FOR), None, "it is counted again");
    }
}
