//! What people do with runs: cancel, run again, take up what was given up.

use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId, WorkspaceId};
use portcullis_core::violation::Violation;
use portcullis_store::{Changed, Job, JobName, JobState};

use super::accept::{Acceptance, Accepted, accept};
use super::backlog;
use super::detail::Detail;
use super::document::{JobStatus, RunView};
use super::keeping::keep_until_ms;
use super::payload::{Lost, Payload};
use super::reading::{missing, name, readable, view_of};
use super::settle::{Ending, Recording, Settled, keep, name_of, settled};
use super::work::repeat;
use crate::call::earlier::Pinned;
use crate::call::run::EndReason;
use crate::call::{CallRequest, Commitment};
use crate::caller::{Caller, ORG, RUN};
use crate::clock::{self, now_ms};
use crate::connection::is_asked;
use crate::engine::Engine;
use crate::error::Error;
use crate::runs::{CallIdentity, FireAutomation, Fired, accepted, fired};
use crate::tenants::Tenant;

/// Jobs read at a time.
const PAGE: usize = 100;

/// Ends a run: one that waits at once, one that is executed as soon as it can be. One that has ended stays as it is.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn cancel(engine: &Engine, caller: &Caller, tenant: &Tenant, id: &str) -> Result<RunView, Error> {
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let name = name(tenant, id)?;
    let Some(job) = engine.jobs.store.get(&name).await? else {
        let ended = super::reading::view(engine, &name).await?;
        return ended.check(caller).map(|()| ended);
    };
    Detail::of(&job)?.check(caller)?;
    let ending = Ending::cancelled(EndReason::Cancelled, None);
    let keep_until_ms = keep_until_ms(engine, &name.org, ending.state, now_ms()).await;
    let Settled { end, record, told } = settled(&job, Detail::of(&job)?, ending, keep_until_ms)?;
    let recording = Recording::new(engine, &name.run_id);
    match engine.jobs.store.cancel(&name, &end).await? {
        Changed::Done(job) => {
            let status = told.tell(engine);
            keep(engine, recording, &name, record, status).await;
            view_of(engine, &name, &job).await
        }
        Changed::Running(job) => {
            // Why only told: whether its request was carried out is known when the call has ended.
            engine.jobs.end_running(&job.run_id);
            view_of(engine, &name, &job).await
        }
        Changed::Not(job) => view_of(engine, &name, &job).await,
        Changed::Missing => Err(missing()),
    }
}

/// Which definition a run is made again with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RerunDefinition {
    /// The input as it was made then, for the action as it was in the revision of the definition that the run was made
    /// with. What the call may do is decided by the definition of now.
    #[default]
    Same,
    /// The definition of now; for the run of an automation, its source is mapped again by the automation of now.
    Newest,
}

/// Runs the input of an ended run again, as a new run with a key of its own: it may do the same a second time.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `in_use` for a run that has not ended, `input_not_kept`,
/// `definition_changed` if it cannot be made with the same definition, and those of accepting a run.
pub async fn rerun(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
    definition: RerunDefinition,
) -> Result<Accepted, Error> {
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let name = name(tenant, id)?;
    let Some(job) = engine.jobs.store.get(&name).await? else {
        super::reading::view(engine, &name).await?.check(caller)?;
        return Err(Error::plain(Code::InputNotKept));
    };
    let detail = Detail::of(&job)?;
    detail.check(caller)?;
    if job.state.is_open() {
        let detail = "the run has not ended; cancel it first, or wait for its end";
        return Err(Error::new(Code::InUse, detail));
    }
    let payload = Payload::open(engine, &name).await.map_err(|lost| match lost {
        Lost::Gone | Lost::Shredded => Error::plain(Code::InputNotKept),
        Lost::Failed(error) => error,
    })?;
    let rerun_of = Some(name.run_id);
    if let (RerunDefinition::Newest, Some(automation), Some(source)) =
        (definition, &detail.automation_id, &payload.source)
    {
        let wish = FireAutomation {
            automation_id: automation.as_str().to_owned(),
            source: source.clone(),
            dry_run: false,
            identity: CallIdentity::default(),
            commitment: Commitment::default(),
        };
        let Fired { call, compiled, source } = fired(engine, caller, tenant, wish).await?;
        let with =
            Acceptance { rerun_of, ..Acceptance::of_source(&compiled, &call, source, engine.limits())? };
        let taken = accept(engine, call, with).await.and_then(accepted);
        return taken.map_err(|error| compiled.explained(error));
    }
    let call = CallRequest {
        org: tenant.org.clone(),
        workspace: tenant.workspace.clone(),
        workspace_commit: tenant.commit,
        seen: tenant.seen,
        connector_id: detail.connector_id.as_str().to_owned(),
        connection: detail.connection,
        action_id: detail.action_id.as_str().to_owned(),
        run_id: None,
        input: payload.input,
        automation_id: detail.automation_id,
        event_id: detail.event_id,
        token_id: caller.token_id.clone(),
        skip: None,
        dry_run: false,
        key: None,
        commitment: Commitment::default(),
    };
    // Why in the same line: it is accepted now, and the key is the same.
    let line = job.line.map(|place| place.name);
    let pinned = match definition {
        RerunDefinition::Same => {
            Some(Pinned { revision: detail.revision, before: detail.ended_at.unwrap_or_else(clock::now) })
        }
        RerunDefinition::Newest => None,
    };
    let with = Acceptance { source: payload.source, rerun_of, line, pinned, not_before: None };
    accept(engine, call, with).await.and_then(accepted)
}

/// Which of an org's dead and skipped runs are taken up again. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct Redrive {
    /// The workspace.
    pub workspace: Option<String>,
    /// `dead` or `skipped`.
    pub status: Option<JobStatus>,
    /// Code of the last try.
    pub code: Option<String>,
    pub connector_id: Option<String>,
    /// The name of a connection; `default` for those without one.
    pub connection: Option<String>,
    pub action_id: Option<String>,
    pub automation_id: Option<String>,
    /// Why they were given up or skipped.
    pub reason: Option<EndReason>,
    /// Ended at this time or later, RFC 3339.
    pub since: Option<String>,
    /// Ended before this time, RFC 3339.
    pub until: Option<String>,
    /// Whether the vendor gets another key than before: it may do what it did before.
    pub new_key: bool,
}

/// What came of taking runs up again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Those that were taken up.
    pub count: u64,
    /// Those that were met and left as they are: they may have been carried out, and a repeat with the key that they had
    /// may do harm.
    pub not_repeatable: u64,
}

/// Takes up an org's dead and skipped runs again, in order of workspace and run, at most `limits.redrive_runs`. A run
/// keeps its id, and the key that goes to the vendor unless a new one is asked for.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` for a time that is none, `workspace_busy` if none was taken up
/// because its workspace has no room, `store_unavailable`; some runs may have been taken up after the last one.
pub async fn redrive(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wish: &Redrive,
) -> Result<Redriven, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let since = normal("since", wish.since.as_deref())?;
    let until = normal("until", wish.until.as_deref())?;
    let workspace = match wish.workspace.as_deref().map(WorkspaceId::parse) {
        Some(Ok(workspace)) => Some(workspace),
        // Why none: no workspace has such a name.
        Some(Err(_)) => return Ok(Redriven::default()),
        None => None,
    };
    let mut after: Option<JobName> = None;
    let (mut done, mut full, mut is_recorded) = (Redriven::default(), Full::default(), false);
    loop {
        let mut page = engine.jobs.store.given_up(org, workspace.as_ref(), after.as_ref(), PAGE).await?;
        for name in &page {
            let Some((job, detail)) = readable(engine, name).await? else { continue };
            if !wish.wants(&job, &detail, since.as_deref(), until.as_deref()) || full.is(&name.workspace) {
                continue;
            }
            // Why left: it would be given up again at once, and nobody would be told why.
            if !wish.new_key && detail.maybe_done && !repeat(engine, &detail).await?.holds() {
                done.not_repeatable += 1;
                continue;
            }
            match backlog::admit(engine, &name.org, &name.workspace).await {
                Err(error) if error.code == Code::WorkspaceBusy => {
                    full.note(&name.workspace, error);
                    continue;
                }
                admitted => admitted?,
            }
            if !is_recorded {
                // Why before the first of them: what cannot be recorded is not done.
                engine.resources.record_act(org, wish.target(org)).await?;
                is_recorded = true;
            }
            done.count += u64::from(revive(engine, &job, detail, wish.new_key).await?);
            if done.count >= engine.limits().redrive_runs {
                return Ok(done);
            }
        }
        let is_full = page.len() == PAGE;
        let Some(last) = page.pop().filter(|_| is_full) else { return full.or(done) };
        after = Some(last);
    }
}

/// The workspace that has no room for more. They are met in order, so the last one is enough.
#[derive(Default)]
struct Full(Option<(WorkspaceId, Error)>);

impl Full {
    fn is(&self, workspace: &WorkspaceId) -> bool {
        self.0.as_ref().is_some_and(|(full, _)| full == workspace)
    }

    fn note(&mut self, workspace: &WorkspaceId, error: Error) {
        self.0 = Some((workspace.clone(), error));
    }

    /// What was done; an error where that is nothing for want of room, because 0 says that nothing is left to do.
    fn or(self, done: Redriven) -> Result<Redriven, Error> {
        match self.0 {
            Some((_, error)) if done.count == 0 => Err(error),
            _ => Ok(done),
        }
    }
}

fn normal(name: &str, text: Option<&str>) -> Result<Option<String>, Error> {
    let Some(text) = text else { return Ok(None) };
    clock::normal(text).map(Some).ok_or_else(|| {
        let message = format!("{name} must be a time such as 2026-01-31T09:00:00Z (RFC 3339)");
        Error::violations(
            Code::ValidationFailed,
            vec![Violation::new(format!("/{name}"), "not_a_time", message)],
        )
    })
}

impl Redrive {
    /// Whose runs are taken up, for the audit log.
    fn target(&self, org: &OrgId) -> String {
        match &self.workspace {
            Some(workspace) => format!("run/{org}/{workspace}"),
            None => format!("run/{org}"),
        }
    }

    fn wants(&self, job: &Job, detail: &Detail, since: Option<&str>, until: Option<&str>) -> bool {
        let status: JobStatus = job.state.into();
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let ended_at = detail.ended_at.as_deref();
        matches!(job.state, JobState::Dead | JobState::Skipped)
            && job.keeps_input()
            && self.status.is_none_or(|wanted| wanted == status)
            && is(&self.code, detail.failure.as_ref().map(|failure| failure.code.as_str()))
            && is(&self.connector_id, Some(detail.connector_id.as_str()))
            && is_asked(detail.connection.as_ref(), self.connection.as_deref())
            && is(&self.action_id, Some(detail.action_id.as_str()))
            && is(&self.automation_id, detail.automation_id.as_ref().map(AutomationId::as_str))
            && self.reason.is_none_or(|wanted| detail.reason == Some(wanted))
            && since.is_none_or(|since| ended_at.is_some_and(|at| at >= since))
            && until.is_none_or(|until| ended_at.is_some_and(|at| at < until))
    }
}

/// Takes up one run again; false if another did something with it meanwhile.
async fn revive(engine: &Engine, job: &Job, mut detail: Detail, new_key: bool) -> Result<bool, Error> {
    let now = now_ms();
    let hours = engine.limits().job_deadline_hours;
    detail.deadline_ms = now.saturating_add(hours.saturating_mul(3_600_000));
    (detail.reason, detail.ended_at, detail.failure) = (None, None, None);
    if new_key {
        detail.key = Some(clock::fresh_text("key"));
        (detail.first_try_ms, detail.maybe_done) = (None, false);
    }
    let name: JobName = name_of(job);
    let changed = engine.jobs.store.revive(&name, now, detail.text()?).await?;
    engine.jobs.wake.notify_one();
    Ok(matches!(changed, Changed::Done(_)))
}
