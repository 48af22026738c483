//! Accepting a run: everything that a caller can mend is found before the answer, and the job is on disk before it.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use portcullis_action::budget::Budget;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, ConnectionName, RunId};
use portcullis_core::input::{self, check_input};
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::violation::Violation;
use portcullis_store::{LineName, NewJob, StoreError};
use serde_json::{Map, Value};

use super::backlog;
use super::detail::Detail;
use super::document::{WaitingRun, shown};
use super::payload::Payload;
use crate::automations::Compiled;
use crate::call::CallRequest;
use crate::call::earlier::{Pinned, named};
use crate::call::org_rules;
use crate::call::pipeline::invoke;
use crate::call::run::Run;
use crate::clock::{self, DAY_MS, HOUR_MS, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::org_limits;
use crate::request_mark::RequestMark;

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
    /// The line of those that are executed one after the other.
    pub(crate) line: Option<LineName>,
    /// The revision of the definition that it is made with; the one in force if there is none.
    pub(crate) pinned: Option<Pinned>,
}

impl Acceptance {
    /// What is accepted with the call that an automation makes of a source.
    ///
    /// # Errors
    /// `input_invalid` if the automation orders its runs by what the source does not have.
    pub(crate) fn of_source(
        compiled: &Compiled,
        call: &CallRequest,
        source: Map<String, Value>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let source = Value::Object(source);
        // Why not of a skipped one: it ends at once.
        let key = if call.skip.is_none() { compiled.order_key(&source, limits)? } else { None };
        let line = key.zip(call.automation_id.as_ref()).map(|(key, id)| line_of(call, id, &key));
        let source = if let Value::Object(source) = source { Some(source) } else { None };
        Ok(Self { source, line, ..Self::default() })
    }
}

/// The line of a key. A hash, because the key is a part of the source, which is kept sealed.
fn line_of(call: &CallRequest, automation: &AutomationId, key: &str) -> LineName {
    let parts = [call.org.as_str(), call.workspace.as_str(), automation.as_str(), key];
    // Why only of a named one: lines that stand stay the same.
    let connection = call.connection.as_ref().map(ConnectionName::as_str);
    hashed(&parts.into_iter().chain(connection).collect::<Vec<_>>())
}

fn hashed(parts: &[&str]) -> LineName {
    let mut context = Context::new(&SHA256);
    context.update(b"portcullis order v1");
    for part in parts {
        // Why with their lengths: no two lists of parts give the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut half = [0; 16];
    half.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    LineName::of(half)
}

/// Accepts a call that was authorised: it belongs to the org from now on, and no longer to the caller's token.
///
/// # Errors
/// `connector_not_found`, `action_not_found`, `input_invalid`, `validation_failed` for a `not_before` that is no time or
/// too far ahead, `body_too_large`, `workspace_busy`, `org_storage_full`, `workspace_not_found`, `store_unavailable`.
/// Nothing is stored then.
pub(crate) async fn accept(engine: &Engine, call: CallRequest, with: Acceptance) -> Result<Accepted, Error> {
    // Why refused now: its caller is still there.
    if call.skip.is_some() || org_rules::is_refused(&engine.resources, &call).await? {
        return invoke(engine, call).await.map(|run| Accepted::Ended(Box::new(run)));
    }
    let resources = &engine.resources;
    let named = named(resources, &call, with.pinned.as_ref()).await?;
    let action = named.action()?;
    let steps = Budget::matching(resources.limits.matching_steps);
    offload::over(input::effort(&action.inputs, &call.input)).await;
    check_input(&action.inputs, &call.input, &steps)
        .map_err(|violations| Error::violations(Code::InputInvalid, violations))?;
    backlog::admit(engine, &call.org, &call.workspace).await?;
    let now = now_ms();
    let due_ms = due(with.not_before.as_deref(), now, resources.limits.job_ahead_days)?;
    let run_id = call.run_id.clone().map_or_else(|| clock::fresh("run", RunId::parse), Ok)?;
    let mark = RequestMark::current();
    let mark = mark.as_deref();
    let detail = Detail {
        connector_id: named.loaded.connector.id.clone(),
        connection: call.connection.clone(),
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
        pinned: with.pinned.map(|pinned| (pinned.revision, pinned.before)),
        is_sensitive: action.inputs.iter().any(|input| input.sensitive),
        failure: None,
        reason: None,
        ended_at: None,
        request_id: mark.and_then(RequestMark::request_id).map(|id| id.as_ref().to_owned()),
        trace_id: mark.and_then(RequestMark::trace_id).map(|id| id.as_ref().to_owned()),
    };
    let payload = Payload { input: call.input, source: with.source };
    let sealed = payload.seal(engine, &call.org, &call.workspace, &run_id).await?;
    backlog::admit_bytes(engine, &call.org, &call.workspace, sealed.len()).await?;
    org_limits::admit_bytes(engine, &call.org, sealed.len()).await?;
    let job = NewJob {
        run_id,
        org: call.org,
        workspace: call.workspace,
        workspace_commit: call.workspace_commit,
        due_ms,
        line: with.line,
        detail: detail.text()?,
    };
    // Why: what is being stored must not be forgotten because its caller left.
    if !call.commitment.commit() {
        return Err(Error::plain(Code::CallEnded));
    }
    let stored = engine.jobs.store.enqueue(&job, &sealed).await.map_err(|error| match error {
        // Why: the name is new, so the workspace is not the one that it was.
        StoreError::Conflict { .. } => Error::plain(Code::WorkspaceNotFound),
        other => other.into(),
    })?;
    engine.jobs.wake.notify_one();
    WaitingRun::of(&stored).map(|run| Accepted::Queued(Box::new(run)))
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
    fn a_line_is_of_one_workspace_one_automation_and_one_key() {
        let parts = ["acme", "main", "auto_1", "7"];
        assert_eq!(hashed(&parts), hashed(&parts));
        for other in [
            ["other", "main", "auto_1", "7"],
            ["acme", "side", "auto_1", "7"],
            ["acme", "main", "auto_2", "7"],
            ["acme", "main", "auto_1", "8"],
            ["acme", "main", "auto_", "17"],
        ] {
            assert_ne!(hashed(&parts), hashed(&other), "{other:?}");
        }
    }

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
