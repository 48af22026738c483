//! Reading a run, and waiting for its end.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use portcullis_store::{Job, JobName, Role, StoreError};
use tokio::sync::broadcast;
use tokio::time::{Instant, interval_at, sleep_until};

use super::detail::Detail;
use super::document::{RunView, WaitingRun};
use crate::call::run::StoredRun;
use crate::caller::{Caller, RUN_READERS};
use crate::engine::Engine;
use crate::error::Error;
use crate::runs::stored;
use crate::tenants::Tenant;

/// How often somebody who waits looks for what other processes did.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Reads a run, at once or when it has ended, at most after this many seconds.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for a wait that is too long, `not_found`, `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
    wait_s: u64,
) -> Result<RunView, Error> {
    caller.authorise(RUN_READERS, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let most = engine.limits().run_wait_s;
    if wait_s > most {
        let detail = format!("wait may be at most {most} seconds (limits.run_wait_s)");
        return Err(Error::new(Code::BadRequest, detail));
    }
    let name = name(tenant, id)?;
    // Why before it is read: an end in between is not missed.
    let ended = engine.jobs.ended.subscribe();
    let view = view(engine, &name).await?;
    // Why once: what a run calls does not change.
    view.check(caller)?;
    if wait_s == 0 || matches!(view, RunView::Ended(_)) {
        return told(engine, caller, tenant, view).await;
    }
    let Ok(_place) = Arc::clone(&engine.jobs.waiters).try_acquire_owned() else { return Ok(view) };
    let view = wait(engine, &name, view, ended, Instant::now() + Duration::from_secs(wait_s)).await?;
    told(engine, caller, tenant, view).await
}

/// A run as its reader may see it: the org is told which entries of its own list come nearest to a host that it refused.
async fn told(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    mut view: RunView,
) -> Result<RunView, Error> {
    if let (RunView::Ended(run), Role::Org) = (&mut view, caller.role) {
        let policy = engine.resources.cache.policy(tenant.org.as_str()).await?;
        run.tell_nearest(&policy.policy);
    }
    Ok(view)
}

async fn wait(
    engine: &Engine,
    name: &JobName,
    mut last: RunView,
    mut ended: broadcast::Receiver<JobName>,
    until: Instant,
) -> Result<RunView, Error> {
    let shared = engine.resources.records.store().is_shared();
    // Why one for all turns: the ends of other runs do not put the next look off.
    let mut looks = interval_at(Instant::now() + LOOK, LOOK);
    loop {
        tokio::select! {
            end = ended.recv() => match end {
                Ok(ended) if ended != *name => continue,
                // Why also after too many ends: this one may have been among them.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(last),
            },
            _ = looks.tick(), if shared => {}
            () = engine.jobs.stop.cancelled() => return Ok(last),
            () = sleep_until(until) => return view(engine, name).await,
        }
        last = view(engine, name).await?;
        if matches!(last, RunView::Ended(_)) {
            return Ok(last);
        }
    }
}

/// A run that is known to be there, for a caller who was authorised.
///
/// # Errors
/// `not_found` if it is gone, `store_unavailable`.
pub async fn known(engine: &Engine, tenant: &Tenant, run: &RunId) -> Result<RunView, Error> {
    view(engine, &name(tenant, run.as_str())?).await
}

/// The name of a run of a workspace.
///
/// # Errors
/// `not_found` for a text that is no id.
pub(super) fn name(tenant: &Tenant, id: &str) -> Result<JobName, Error> {
    let run_id = RunId::parse(id).map_err(|_| missing())?;
    Ok(JobName { org: tenant.org.clone(), workspace: tenant.workspace.clone(), run_id })
}

pub(super) fn missing() -> Error {
    Error::new(Code::NotFound, "there is no such run in this workspace")
}

/// A run as it is now.
///
/// # Errors
/// `not_found`, `store_unavailable`.
pub(super) async fn view(engine: &Engine, name: &JobName) -> Result<RunView, Error> {
    match engine.jobs.store.get(name).await? {
        Some(job) => view_of(engine, name, &job).await,
        None => {
            let found = engine.runs.get(&name.org, &name.workspace, &name.run_id).await?;
            Ok(RunView::Ended(Box::new(stored(&found.ok_or_else(missing)?)?)))
        }
    }
}

pub(super) async fn view_of(engine: &Engine, name: &JobName, job: &Job) -> Result<RunView, Error> {
    if job.state.is_open() {
        return WaitingRun::of(job).map(|run| RunView::Waiting(Box::new(run)));
    }
    let document = engine.jobs.store.document(name).await?;
    let Some(document) = document else {
        // Why: it was taken up again since the job was read.
        return WaitingRun::of(job).map(|run| RunView::Waiting(Box::new(run)));
    };
    let run: StoredRun = serde_json::from_str(&document).map_err(|error| {
        tracing::error!(run_id = %name.run_id, column = error.column(), "a run's document cannot be read");
        Error::new(Code::Internal, "the run's record cannot be read")
    })?;
    Ok(RunView::Ended(Box::new(run)))
}

/// A job with its detail; `None` if it is gone, or cannot be read: that keeps no other from being found.
pub(super) async fn readable(engine: &Engine, name: &JobName) -> Result<Option<(Job, Detail)>, Error> {
    let found = match engine.jobs.store.get(name).await {
        Err(error @ (StoreError::Damaged { .. } | StoreError::Unreadable { .. })) => {
            tracing::error!(run_id = %name.run_id, %error, "a job cannot be read");
            None
        }
        found => found?,
    };
    // Why not logged here: it is where it is read.
    Ok(found.and_then(|job| Detail::of(&job).ok().map(|detail| (job, detail))))
}
