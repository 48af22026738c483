//! What the engine notes of a job, unsealed: what it calls, until when, and what the last try said.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, RunId};
use portcullis_store::Job;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::call::done::{CallDone, Spent};
use crate::call::earlier::Pinned;
use crate::call::run::EndReason;
use crate::caller::Caller;
use crate::clock;
use crate::error::Error;
use crate::request_mark::RequestMark;

/// Characters of a message that are kept.
const MESSAGE_CHARS_MAX: usize = 500;

/// See the module's documentation. Times are RFC 3339 unless they are named otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detail {
    pub(super) connector_id: ConnectorId,
    /// Which of the workspace's connections it is made through; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<ConnectionName>,
    pub(super) action_id: ActionId,
    /// The connector's revision when it was accepted, then when it was tried last.
    pub(super) revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) automation_id: Option<AutomationId>,
    /// The event that fired the automation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    /// The caller's key, if it has one; the run's id stands for it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    pub(super) accepted_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<String>,
    /// Milliseconds since 1970.
    pub(super) deadline_ms: u64,
    /// When it was tried first, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_try_ms: Option<u64>,
    /// Whether an earlier try sent a request that may have been carried out: it may be sent again only as long as a
    /// repeat does no harm.
    #[serde(default)]
    pub(super) maybe_done: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rerun_of: Option<RunId>,
    /// The revision of the definition that it is made with, and when the run ended that was made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pinned: Option<(u64, String)>,
    /// Whether its input is erased at its end.
    #[serde(default)]
    pub(super) is_sensitive: bool,
    /// What the last try said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// Why it was skipped, given up or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<EndReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<String>,
    /// The request that it was accepted with, and its trace, for log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<String>,
}

/// Why a try failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
}

impl Failure {
    pub(super) fn new(code: Code, message: &str, class: Option<&str>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            class: class.map(|class| class.chars().take(MESSAGE_CHARS_MAX).collect()),
        }
    }
}

impl Detail {
    /// Checks that a caller's token covers what the run calls.
    ///
    /// # Errors
    /// `not_granted`.
    pub(super) fn check(&self, caller: &Caller) -> Result<(), Error> {
        let automation = self.automation_id.as_ref().map(AutomationId::as_str);
        caller.may_call(self.connector_id.as_str(), self.action_id.as_str(), automation)
    }

    /// A job's detail.
    ///
    /// # Errors
    /// `internal` if it cannot be read.
    pub(super) fn of(job: &Job) -> Result<Self, Error> {
        serde_json::from_str(job.detail.get()).map_err(|error| {
            tracing::error!(run_id = %job.run_id, column = error.column(), "a job cannot be read");
            Error::new(Code::Internal, "the run's job cannot be read")
        })
    }

    /// The definition that it is made with, if that is not the one in force.
    pub(super) fn pinned(&self) -> Option<Pinned> {
        let (revision, before) = self.pinned.clone()?;
        Some(Pinned { revision, before })
    }

    /// The mark of a try that waits for its turn from now on.
    pub(super) fn mark(&self) -> Arc<RequestMark> {
        let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
        RequestMark::new(shared(&self.request_id), shared(&self.trace_id))
    }

    /// The line of a try, or of an end without one.
    pub(super) fn done(&self, job: &Job) -> CallDone {
        CallDone {
            run_id: Some(job.run_id.clone()),
            org: job.org.clone(),
            workspace: job.workspace.clone(),
            connector: self.connector_id.as_str().to_owned(),
            connection: self.connection.clone(),
            action: self.action_id.as_str().to_owned(),
            automation_id: self.automation_id.clone(),
            event_id: self.event_id.clone(),
            outcome: "waiting",
            code: None,
            check: None,
            reason: None,
            class: None,
            spent: Spent::default(),
            request_id: self.request_id.clone(),
            trace_id: self.trace_id.clone(),
            tries: Some(job.tries),
            dry_run: false,
        }
    }

    /// When it was accepted, milliseconds since 1970; 0 for a time that cannot be read.
    pub(super) fn accepted_ms(&self) -> u64 {
        clock::micros(&self.accepted_at).unwrap_or_default() / 1000
    }

    /// When it ended, milliseconds since 1970; `None` before its end and for a time that cannot be read.
    pub(super) fn ended_ms(&self) -> Option<u64> {
        Some(clock::micros(self.ended_at.as_deref()?)? / 1000)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// `internal`; it can always be written.
    pub(super) fn text(&self) -> Result<Box<RawValue>, Error> {
        to_raw_value(self).map_err(|_| Error::plain(Code::Internal))
    }
}
