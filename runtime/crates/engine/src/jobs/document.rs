//! A run that has not ended, as JSON.

use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, RunId};
use portcullis_store::{Job, JobState};
use schemars::JsonSchema;
use serde::Serialize;

use super::detail::Detail;
use crate::call::run::{Called, EndReason, StoredRun};
use crate::caller::Caller;
use crate::clock;
use crate::error::Error;

/// What becomes of an accepted run, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted, not begun.
    Queued,
    /// A worker executes it.
    Running,
    /// It is tried again at `next_try_at`.
    Waiting,
    /// Given up; it can be taken up again.
    Dead,
    /// Nothing may be called; it can be taken up again.
    Skipped,
    /// A person ended it.
    Cancelled,
    /// It has ended.
    Ended,
}

impl From<JobState> for JobStatus {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Waiting => Self::Waiting,
            JobState::Running => Self::Running,
            JobState::Dead => Self::Dead,
            JobState::Skipped => Self::Skipped,
            JobState::Cancelled => Self::Cancelled,
            JobState::Ended => Self::Ended,
        }
    }
}

/// A run that was accepted to be executed later.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WaitingRun {
    pub run_id: RunId,
    pub status: JobStatus,
    pub connector_id: ConnectorId,
    /// Which of the workspace's connections it is made through; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    pub action_id: ActionId,
    /// Revision of the connector's definition when it was accepted, then when it was tried last.
    pub revision: u64,
    /// The automation that fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automation_id: Option<AutomationId>,
    /// The event that fired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Tries that were begun.
    pub tries: u32,
    /// When it is tried next, RFC 3339. One that waits for its turn in the order of its key has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
    /// True if it came to its turn out of the order of its key: one that was accepted before it is dead, or later ones
    /// were begun before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<bool>,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// Before when it is not tried, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Until when it is tried, RFC 3339.
    pub deadline: String,
    /// The run whose input it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The reason as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Class of the upstream's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Why it was skipped, given up or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}

/// A time as it is shown.
pub(super) fn shown(at_ms: u64) -> String {
    clock::of_ms(at_ms)
}

impl WaitingRun {
    /// A job as it is shown.
    ///
    /// # Errors
    /// `internal` if its detail cannot be read.
    pub(super) fn of(job: &Job) -> Result<Self, Error> {
        let detail = Detail::of(job)?;
        let is_due = matches!(job.state, JobState::Queued | JobState::Waiting) && !job.is_held();
        let (code, message, class) = match detail.failure {
            Some(failure) => (Some(failure.code), Some(failure.message), failure.class),
            None => (None, None, None),
        };
        Ok(Self {
            run_id: job.run_id.clone(),
            status: job.state.into(),
            connector_id: detail.connector_id,
            connection: detail.connection,
            action_id: detail.action_id,
            revision: detail.revision,
            automation_id: detail.automation_id,
            event_id: detail.event_id,
            tries: job.tries,
            next_try_at: is_due.then(|| shown(job.at_ms)),
            out_of_order: job.is_out_of_order().then_some(true),
            accepted_at: detail.accepted_at,
            not_before: detail.not_before,
            deadline: shown(detail.deadline_ms),
            rerun_of: detail.rerun_of,
            code,
            message,
            class,
            reason: detail.reason,
        })
    }
}

/// A run as it is read: before its end or after it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "AnyRun")]
pub enum RunView {
    /// It has not ended.
    Waiting(Box<WaitingRun>),
    /// It has ended.
    Ended(Box<StoredRun>),
}

impl WaitingRun {
    /// What it calls.
    pub(crate) fn called(&self) -> Called<'_> {
        let automation = self.automation_id.as_ref().map(AutomationId::as_str);
        (self.connector_id.as_str(), self.action_id.as_str(), automation)
    }
}

impl RunView {
    /// What it calls.
    pub(crate) fn called(&self) -> Called<'_> {
        match self {
            Self::Waiting(run) => run.called(),
            Self::Ended(run) => run.called(),
        }
    }

    /// Whether a caller's token covers what it calls.
    pub(crate) fn is_covered_by(&self, caller: &Caller) -> bool {
        let (connector, action, automation) = self.called();
        caller.covers(connector, action, automation)
    }

    /// Checks that a caller's token covers what it calls.
    ///
    /// # Errors
    /// `not_granted`.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Error> {
        match self.is_covered_by(caller) {
            true => Ok(()),
            false => Err(Error::plain(Code::NotGranted)),
        }
    }
}
