//! Some workspaces of a firing: each gets its run, which is accepted as any durable run.
//!
//! Nobody reads an answer here. So what a caller would be told has a run that says it: one that was skipped, or one that
//! failed because the mapping lacks something or the workspace is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_store::{AutomationRecord, ScheduleFiring, ScheduleRecord, StoreError, WorkspaceRecord};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::plan::Batch;
use super::{ScheduleWorkspaces, event_id, shown};
use crate::automations::Destination;
use crate::call::Commitment;
use crate::call::run::{Progress, Run, RunEnd};
use crate::caller::Caller;
use crate::clock::{self, RANDOM_BYTES};
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::{Acceptance, accept, known};
use crate::runs::Firing;
use crate::tenants::{self, Tenant};
use crate::workers::Lane;

/// Workspaces of a firing before others have a turn.
pub(super) const BATCH: usize = 64;
/// Workspaces at a time: their commits share a write to disk.
const AT_ONCE: usize = 8;
/// Violations in the message of a run that could not be.
const VIOLATIONS_SHOWN: usize = 3;

/// A firing of an automation.
pub(super) struct Fired {
    pub(super) automation: Arc<AutomationRecord>,
    pub(super) firing: ScheduleFiring,
    /// Whether some of its runs may be there already.
    pub(super) is_again: bool,
}

impl Fired {
    pub(super) fn of(
        record: &ScheduleRecord,
        automation: Arc<AutomationRecord>,
        is_again: bool,
    ) -> Option<Self> {
        Some(Self { automation, firing: record.firing.clone()?, is_again })
    }

    fn org(&self) -> &OrgId {
        &self.automation.org
    }

    fn id(&self) -> &AutomationId {
        &self.automation.automation_id
    }

    /// The document that conditions and mapping read.
    fn source(&self) -> Map<String, Value> {
        let previous = self.firing.previous_at_ms.map(shown);
        let times = [("at", Value::String(shown(self.firing.at_ms))), ("previous_at", previous.into())];
        let times = times.into_iter().map(|(name, time)| (name.to_owned(), time)).collect();
        Map::from_iter([("schedule".to_owned(), Value::Object(times))])
    }

    /// The id of the run in a workspace: the same whoever makes it, and however often.
    fn run_id(&self, workspace: &WorkspaceId) -> Result<RunId, Error> {
        let mut hash = Context::new(&SHA256);
        for part in [self.org().as_str(), workspace.as_str(), self.id().as_str()] {
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(&self.firing.at_ms.to_be_bytes());
        let hash = hash.finish();
        let bytes: &[u8; RANDOM_BYTES] =
            hash.as_ref().first_chunk().ok_or_else(|| Error::plain(Code::Internal))?;
        Ok(RunId::parse(&clock::text_of("run", self.firing.begun_ms, bytes))?)
    }
}

/// Fires an automation in the next workspaces, for as long as the lease lasts. What it returns was done.
///
/// # Errors
/// What passes, such as `store_unavailable`: the same workspaces are fired again later, and have no second run.
pub(super) async fn fire_batch(
    engine: &Arc<Engine>,
    fired: &Arc<Fired>,
    workspaces: &ScheduleWorkspaces,
    lease: Duration,
) -> Result<Batch, Error> {
    let until = Instant::now() + lease;
    let (names, is_last) = next_workspaces(engine, fired, workspaces).await?;
    let mut batch = Batch { after: fired.firing.after.clone(), runs: 0, is_over: false };
    for names in names.chunks(AT_ONCE) {
        if Instant::now() >= until {
            return Ok(batch);
        }
        let mut tasks = JoinSet::new();
        for name in names {
            let (own, of, workspace) = (Arc::clone(engine), Arc::clone(fired), name.clone());
            let firing = Box::pin(async move { fire_in(&own, &of, &workspace).await });
            let lane = Lane::of(Some(fired.org().as_str()));
            tasks.spawn(engine.resources.workers.movable(lane, firing));
        }
        let mut made = 0;
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(|_| Error::plain(Code::Internal)).and_then(|ended| ended);
            match ended.and_then(|ended| ended) {
                Ok(is_made) => made += u64::from(is_made),
                // Why the others are not waited for: what they made is passed over the next time.
                Err(error) if batch.after == fired.firing.after => return Err(error),
                Err(_) => return Ok(batch),
            }
        }
        batch.runs += made;
        batch.after = names.last().cloned();
    }
    batch.is_over = is_last;
    Ok(batch)
}

/// The next workspaces in order of name, and whether there are no more after them.
async fn next_workspaces(
    engine: &Engine,
    fired: &Fired,
    workspaces: &ScheduleWorkspaces,
) -> Result<(Vec<WorkspaceId>, bool), StoreError> {
    let after = fired.firing.after.as_ref();
    let names: Vec<WorkspaceId> = match workspaces {
        ScheduleWorkspaces::All => {
            let after = after.map(|id| vec![id.as_str().to_owned()]);
            let records = &engine.resources.records;
            let org = fired.org().as_str();
            let keys = records.keys::<WorkspaceRecord>(&[org], after.as_deref(), BATCH).await?;
            keys.iter().filter_map(|parts| WorkspaceId::parse(parts.first()?).ok()).collect()
        }
        ScheduleWorkspaces::Listed(listed) => {
            let mut names: Vec<_> = listed.iter().filter_map(|name| WorkspaceId::parse(name).ok()).collect();
            names.sort();
            names.dedup();
            names.into_iter().filter(|name| after.is_none_or(|after| name > after)).take(BATCH).collect()
        }
    };
    let is_last = names.len() < BATCH;
    Ok((names, is_last))
}

/// Fires in one workspace. Returns whether it has a run: one that was deleted has none.
///
/// # Errors
/// What passes.
async fn fire_in(engine: &Engine, fired: &Fired, workspace: &WorkspaceId) -> Result<bool, Error> {
    let tenant = match tenants::find_workspace(engine, fired.org().as_str(), workspace.as_str()).await {
        Err(error) if matches!(error.code, Code::WorkspaceNotFound | Code::OrgNotFound) => return Ok(false),
        found => found?,
    };
    let run_id = fired.run_id(workspace)?;
    if fired.is_again && is_known(engine, &tenant, &run_id).await? {
        return Ok(true);
    }
    match accepted(engine, fired, &tenant, &run_id).await {
        Ok(()) => Ok(true),
        Err(error) => match error.code {
            Code::StoreUnavailable
            | Code::LedgerUnavailable
            | Code::Overloaded
            | Code::AutomationNotFound => Err(error),
            // Why looked up: a name that is taken, by a run that is there already, looks the same.
            Code::WorkspaceNotFound => is_known(engine, &tenant, &run_id).await,
            _ => refused(engine, fired, &tenant, run_id, &error).await.map(|()| true),
        },
    }
}

async fn is_known(engine: &Engine, tenant: &Tenant, run: &RunId) -> Result<bool, Error> {
    match known(engine, tenant, run).await {
        Ok(_) => Ok(true),
        Err(error) if error.code == Code::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Accepts the run of a workspace, or stores that it was skipped.
async fn accepted(engine: &Engine, fired: &Fired, tenant: &Tenant, run_id: &RunId) -> Result<(), Error> {
    let source = fired.source();
    let document = Value::Object(source.clone());
    // Why the operator, who has no token: the run belongs to the org.
    let (caller, commitment) = (Caller::operator(), Commitment::default());
    let firing = Firing { caller: &caller, tenant, source: &document, commitment: &commitment };
    let (mut call, compiled) = firing.call_of(engine, fired.id()).await?;
    let event = event_id(fired.id(), fired.firing.at_ms);
    call.run_id = Some(run_id.clone());
    // Why the automation is not in it: it is part of the key in any case.
    call.key = Some(format!("schedule:{}", fired.firing.at_ms));
    call.event_id = Some(event);
    let with = Acceptance { source: Some(source), ..Acceptance::default() };
    accept(engine, call, with).await.map(drop).map_err(|error| compiled.explained(error))
}

/// Stores a run that could not be, and why: nobody else is told.
async fn refused(
    engine: &Engine,
    fired: &Fired,
    tenant: &Tenant,
    run_id: RunId,
    error: &Error,
) -> Result<(), Error> {
    if error.is_ours() {
        tracing::error!(automation_id = %fired.id(), code = %error.code, "an automation could not be fired");
    }
    let destination = Destination::of(&fired.automation.definition);
    let connector_id = ConnectorId::parse(destination.connector_id)?;
    let loaded = engine.resources.cache.connector(connector_id.as_str()).await?;
    let run = Run {
        id: run_id,
        action_id: ActionId::parse(destination.action_id)?,
        revision: loaded.map_or(0, |loaded| loaded.revision),
        connector_id,
        connection: destination.connection()?,
        automation_id: Some(fired.id().clone()),
        event_id: Some(event_id(fired.id(), fired.firing.at_ms)),
        end: RunEnd::plain(error.code).explained(Some(&message(error))),
        progress: Progress::default(),
    };
    let record = run.record(&tenant.org, &tenant.workspace)?;
    Ok(engine.runs.append(&record).await?)
}

/// An error as one sentence: a run has no list of violations.
fn message(error: &Error) -> String {
    if error.violations.len() < 2 {
        return error.detail.clone();
    }
    let shown = error.violations.iter().take(VIOLATIONS_SHOWN);
    let mut texts: Vec<String> = shown.map(|one| format!("{}: {}", one.pointer, one.message)).collect();
    if error.violations.len() > VIOLATIONS_SHOWN {
        texts.push(format!("{} more", error.violations.len() - VIOLATIONS_SHOWN));
    }
    texts.join("; ")
}
