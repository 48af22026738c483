//! Accepting a run: everything that a caller can mend is found before the answer, and the job is on disk before it.

use jiff::Timestamp;
use portcullis_action::budget::Budget;
use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use portcullis_core::input::check_input;
use portcullis_core::limits::Limits;
use portcullis_core::violation::Violation;
use portcullis_store::{Job, JobState, NewJob, StoreError};
use serde_json::{Map, Value};

use super::backlog;
use super::detail::Detail;
use super::document::{WaitingRun, shown};
use super::payload::Payload;
use crate::call::CallRequest;
use crate::call::pipeline::invoke;
use crate::call::prepare::name;
use crate::call::run::Run;
use crate::clock::{self, DAY_MS, HOUR_MS, now_ms};
use crate::engine::Engine;
use crate::error::Error;

/// That a run is executed later.
#[derive(Debug, Clone, Default)]
pub struct Asynchronously {
    /// Before when it is not begun, RFC 3339.
    pub not_before: Option<String>,
}

impl Asynchronously {
    /// Whether its time can be used.
    ///
    /// # Errors
    /// `validation_failed` for one that is no time or too far ahead.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Error> {
        due(self.not_before.as_deref(), now_ms(), limits.job_ahead_days).map(drop)
    }
}

/// What became of a run that was to be executed later.
pub enum Accepted {
    /// It is on disk, and will be executed.
    Queued(Box<WaitingRun>),
    /// It has ended already: there was nothing to execute.
    Ended(Box<Run>),
}

/// What is accepted besides the call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acceptance {
    /// The document that an automation's mapping read.
    pub(crate) source: Option<Map<String, Value>>,
    /// Before when it is not begun, RFC 3339.
    pub(crate) not_before: Option<String>,
    /// The run whose input it has.
    pub(crate) rerun_of: Option<RunId>,
}

/// Accepts a call that was authorised: it belongs to the org from now on, and no longer to the caller's token.
///
/// # Errors
/// `connector_not_found`, `action_not_found`, `input_invalid`, `validation_failed` for a `not_before` that is no time or
/// too far ahead, `body_too_large`, `workspace_busy`, `workspace_not_found`, `store_unavailable`. Nothing is stored then.
pub(crate) async fn accept(engine: &Engine, call: CallRequest, with: Acceptance) -> Result<Accepted, Error> {
    if call.skip.is_some() {
        return invoke(engine, call).await.map(|run| Accepted::Ended(Box::new(run)));
    }
    let resources = &engine.resources;
    let named = name(resources, &call).await?;
    let action = named.action()?;
    let steps = Budget::matching(resources.limits.matching_steps);
    check_input(&action.inputs, &call.input, &steps)
        .map_err(|violations| Error::violations(Code::InputInvalid, violations))?;
    backlog::admit(engine, &call.org, &call.workspace).await?;
    let now = now_ms();
    let due_ms = due(with.not_before.as_deref(), now, resources.limits.job_ahead_days)?;
    let run_id = call.run_id.clone().map_or_else(|| clock::fresh("run", RunId::parse), Ok)?;
    let detail = Detail {
        connector_id: named.loaded.connector.id.clone(),
        action_id: action.id.clone(),
        revision: named.loaded.revision,
        automation_id: call.automation_id.clone(),
        event_id: call.event_id.clone(),
        key: call.key.clone(),
        accepted_at: clock::now(),
        not_before: with.not_before.map(|_| shown(due_ms)),
        deadline_ms: due_ms.saturating_add(resources.limits.job_deadline_hours.saturating_mul(HOUR_MS)),
        first_try_ms: None,
        maybe_done: false,
        rerun_of: with.rerun_of,
        is_sensitive: action.inputs.iter().any(|input| input.sensitive),
        failure: None,
        reason: None,
        ended_at: None,
    };
    let payload = Payload { input: call.input, source: with.source };
    let sealed = payload.seal(engine, &call.org, &call.workspace, &run_id).await?;
    backlog::admit_bytes(engine, &call.org, &call.workspace, sealed.len()).await?;
    let job = NewJob {
        run_id,
        org: call.org,
        workspace: call.workspace,
        workspace_commit: call.workspace_commit,
        due_ms,
        detail: detail.text()?,
    };
    // Why: what is being stored must not be forgotten because its caller left.
    if !call.commitment.commit() {
        return Err(Error::plain(Code::CallEnded));
    }
    engine.jobs.store.enqueue(&job, &sealed).await.map_err(|error| match error {
        // Why: the name is new, so the workspace is not the one that it was.
        StoreError::Conflict { .. } => Error::plain(Code::WorkspaceNotFound),
        other => other.into(),
    })?;
    engine.jobs.wake.notify_one();
    WaitingRun::of(&queued(job, sealed.len())).map(|run| Accepted::Queued(Box::new(run)))
}

/// A job as it was just stored.
fn queued(job: NewJob, input_bytes: usize) -> Job {
    Job {
        run_id: job.run_id,
        org: job.org,
        workspace: job.workspace,
        workspace_commit: job.workspace_commit,
        state: JobState::Queued,
        stored_ms: 0,
        at_ms: job.due_ms,
        tries: 0,
        fence: 0,
        sent: false,
        cancel: false,
        input_parts: 1,
        input_bytes: input_bytes as u64,
        detail: job.detail,
    }
}

/// When a run is due; a time that has passed means now.
fn due(not_before: Option<&str>, now_ms: u64, days_max: u64) -> Result<u64, Error> {
    let Some(text) = not_before else { return Ok(now_ms) };
    let wrong = |rule, message: String| {
        Error::violations(Code::ValidationFailed, vec![Violation::new("/not_before", rule, message)])
    };
    let at: Timestamp = text.parse().map_err(|_| {
        wrong("not_a_time", "not_before must be a time such as 2026-01-31T09:00:00Z (RFC 3339)".to_owned())
    })?;
    let at_ms = u64::try_from(at.as_millisecond()).unwrap_or_default();
    let latest = now_ms.saturating_add(days_max.saturating_mul(DAY_MS));
    if at_ms > latest {
        let message = format!("not_before may be at most {days_max} days ahead (limits.job_ahead_days)");
        return Err(wrong("too_far_ahead", message));
    }
    Ok(at_ms.max(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_past_or_near_and_not_far_ahead() {
        let now = 1_800_000_000_000;
        assert_eq!(due(None, now, 30).unwrap(), now);
        assert_eq!(due(Some("2001-01-01T00:00:00Z"), now, 30).unwrap(), now);
        for (ahead, accepted) in [(30 * DAY_MS, true), (30 * DAY_MS + 1, false)] {
            let found = due(Some(&shown(now + ahead)), now, 30);
            assert_eq!(found.is_ok(), accepted, "{ahead}");
            assert_eq!(found.unwrap_or(now + ahead), now + ahead);
        }
        for text in ["", "tomorrow", "2026-02-30T00:00:00Z", "1800000000"] {
            let error = due(Some(text), now, 30).unwrap_err();
            assert_eq!((error.code, error.pointer.as_deref()), (Code::ValidationFailed, Some("/not_before")));
        }
    }
}
