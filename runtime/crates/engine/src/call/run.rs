//! A run: one call of one action, as its caller sees it and as it is stored.

use portcullis_core::fault::{Code, Fault};
use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_core::json;
use portcullis_core::ledger::PhaseDurations;
use portcullis_core::verdict::Decision;
use portcullis_egress::DryRun;
use portcullis_sandbox::{GuestLog, LogLine, Usage};
use portcullis_store::RunRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::clock;
use crate::error::Error;

mod document;
mod timeline;
mod timing;

pub use timeline::Timeline;
pub(crate) use timeline::{Begun, Outgoing, RunAttempt};
pub(crate) use timing::Timing;

pub(crate) use document::not_in_org_text;
pub use document::{DryRequest, DryRunDocument, RunDocument, StoredRun};

/// What a run's record keeps of each end of a module's lines, bytes.
const LOG_END_BYTES: usize = 4 * 1024;
/// What a line costs there besides its text: its level and the marks of JSON.
const LINE_COST: usize = 32;

/// What a run calls: connector, action, and the automation that fires it.
pub(crate) type Called<'a> = (&'a str, &'a str, Option<&'a str>);

/// Why nothing was called although there was no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The platform switched the connector off.
    ConnectorDisabled,
    /// The workspace opted out.
    OptedOut,
    /// The workspace saved no credential, or no connection of that name.
    Unconfigured,
    /// The automation is disabled, or its conditions do not hold.
    ConditionFalse,
}

/// Why a run was skipped, given up or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The platform switched the connector off.
    ConnectorDisabled,
    /// The workspace opted out.
    OptedOut,
    /// The workspace saved no credential.
    Unconfigured,
    /// The automation is disabled, or its conditions do not hold.
    ConditionFalse,
    /// It did not succeed in the time that an accepted run has.
    Deadline,
    /// The process ended while it ran, and whether its request was carried out is not known.
    Interrupted,
    /// Its automation was deleted.
    AutomationDeleted,
    /// Its input cannot be read any more.
    InputLost,
    /// A person cancelled it.
    Cancelled,
}

impl EndReason {
    /// The word in documents, lines and figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectorDisabled => "connector_disabled",
            Self::OptedOut => "opted_out",
            Self::Unconfigured => "unconfigured",
            Self::ConditionFalse => "condition_false",
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
            Self::AutomationDeleted => "automation_deleted",
            Self::InputLost => "input_lost",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<SkipReason> for EndReason {
    fn from(reason: SkipReason) -> Self {
        match reason {
            SkipReason::ConnectorDisabled => Self::ConnectorDisabled,
            SkipReason::OptedOut => Self::OptedOut,
            SkipReason::Unconfigured => Self::Unconfigured,
            SkipReason::ConditionFalse => Self::ConditionFalse,
        }
    }
}

/// How a run ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The upstream answered as the action defines success.
    Succeeded,
    /// Nothing was called, and there was no error.
    Skipped,
    /// A check refused the request.
    Refused,
    /// The call failed.
    Failed,
    /// It was tried until its deadline, or cannot be tried again; it can be taken up again.
    Dead,
    /// A person ended it.
    Cancelled,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Skipped, Self::Refused, Self::Failed, Self::Dead, Self::Cancelled];

    /// The word in documents and filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum RunEnd {
    /// The upstream answered as the action defines success.
    Succeeded(Success),
    /// Nothing was called.
    Skipped(SkipReason),
    /// It was refused or failed.
    Failed {
        code: Code,
        /// Shown to people.
        message: String,
        /// Class of an upstream's error.
        class: Option<String>,
        /// The upstream's answer, if there was one.
        upstream: Option<Value>,
        /// Whether another attempt may succeed.
        retryable: bool,
        /// The upstream's error, read by the definition's rules.
        error: Option<Value>,
        /// When the upstream accepts another attempt, RFC 3339, if that is too long to wait.
        retry_at: Option<String>,
    },
}

impl RunEnd {
    /// An end that the guest did not cause.
    pub(crate) fn plain(code: Code) -> Self {
        Self::Failed {
            code,
            message: code.title().to_owned(),
            class: None,
            upstream: None,
            retryable: matches!(code, Code::Overloaded | Code::ConnectFailed | Code::DnsFailed),
            error: None,
            retry_at: None,
        }
    }

    /// The end of a call that had sent something when it could not go on.
    pub(crate) fn broken_off(error: &Error) -> Self {
        let wait = error.retry_after_s.map(std::time::Duration::from_secs);
        Self::plain(error.code).explained(Some(&error.detail)).retried_after(wait)
    }

    /// Whether the connection's own request budget was used up.
    pub(crate) const fn is_rate_limited(&self) -> bool {
        matches!(self, Self::Failed { code: Code::RateLimited, .. })
    }

    /// The same end, with what happened in place of the code's title.
    pub(crate) fn explained(mut self, detail: Option<&str>) -> Self {
        if let (Self::Failed { message, .. }, Some(detail)) = (&mut self, detail) {
            detail.clone_into(message);
        }
        self
    }

    /// The same end, of a request that changes something and that the third party may have carried out although it failed.
    pub(crate) fn perhaps_carried_out(mut self) -> Self {
        let is_of_upstream = |code: Code| {
            matches!(
                code,
                Code::UpstreamStatus
                    | Code::UpstreamTimeout
                    | Code::UpstreamProtocol
                    | Code::ResponseTruncated
            )
        };
        if let Self::Failed { code, message, .. } = &mut self
            && is_of_upstream(*code)
        {
            message
                .push_str("; it may have been carried out: look at the third party before it is sent again");
        }
        self
    }

    /// The same end, with the time after which another attempt makes sense.
    pub(crate) fn retried_after(mut self, wait: Option<std::time::Duration>) -> Self {
        if let (Self::Failed { retry_at, .. }, Some(wait)) = (&mut self, wait) {
            *retry_at = Some(clock::after(wait));
        }
        self
    }
}

/// What a guest reports of a success: an action's output and the answer it was made from. Values that are passed on
/// stay text, so that they need not be parsed and written again.
#[derive(Debug, Clone, Deserialize)]
pub struct Success {
    /// The action's output.
    pub output: Box<RawValue>,
    /// The upstream's last answer; a custom guest need not return it.
    #[serde(default)]
    pub upstream: Option<Answer>,
    /// Number of pages that a list was read from.
    #[serde(default)]
    pub pages: Option<u32>,
    /// Whether a list continues beyond its limit.
    #[serde(default)]
    pub truncated: Option<bool>,
    /// The answer is not the result yet: what to ask for next. Read only where the action asks again.
    #[serde(default)]
    pub(crate) ask: Option<Ask>,
}

/// Where a guest says that an unfinished answer is to be asked for again.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ask {
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) result: bool,
    /// How long the vendor asks to wait, seconds.
    #[serde(default)]
    pub(crate) after_s: Option<u32>,
}

impl Success {
    /// The output, parsed.
    #[must_use]
    pub fn output(&self) -> Value {
        serde_json::from_str(self.output.get()).unwrap_or_default()
    }
}

/// An upstream's answer as a guest returns it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// Headers, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Box<RawValue>>,
    /// Body; absent if the output contains all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

/// Resource use of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunUsage {
    /// Requests that were answered.
    pub requests: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Resources used by the sandbox.
    pub guest: Usage,
    /// Waiting for upstreams, microseconds.
    pub upstream_us: u64,
    /// The whole run, microseconds.
    pub total_us: u64,
}

/// What is known of a run before its end.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Checks of the last request, in order.
    pub decisions: Vec<Decision>,
    /// Resource use.
    pub usage: RunUsage,
    /// Hash of the first request before its credential; a dry run of the same call has the same.
    pub request_hash: Option<String>,
    /// The request that would have been sent, in a dry run.
    pub dry_run: Option<DryRun>,
    /// What a module wrote.
    pub log: RunLog,
    /// Whether a module made the requests.
    pub is_module: bool,
    /// Whether the call failed so that the retry rules allow to make it again as a whole.
    pub(crate) may_repeat: bool,
    /// The attempts.
    pub timeline: Timeline,
    /// Time until its turn and until a worker had it, microseconds, where that is known.
    pub(crate) queue_us: Option<u64>,
    /// Time in guests, of all attempts, microseconds.
    pub(crate) guest_us: u64,
    /// Time of all requests by phase.
    pub(crate) phases: PhaseDurations,
}

/// The lines that a module wrote in all attempts of a run.
#[derive(Debug, Clone, Default)]
pub struct RunLog {
    /// In order.
    pub lines: Vec<LogLine>,
    /// Lines that found no room.
    pub dropped: u64,
    /// Bytes that were written, kept or not.
    pub bytes: u64,
}

impl RunLog {
    pub(crate) fn extend(&mut self, log: &GuestLog) {
        self.bytes = self.bytes.saturating_add(log.bytes);
        self.dropped = self.dropped.saturating_add(log.dropped);
        self.lines.extend(log.lines.iter().cloned());
    }

    /// The first and the last lines, as much as a record keeps of each.
    #[must_use]
    pub fn ends(&self) -> (&[LogLine], &[LogLine]) {
        let fitting = |lines: &mut dyn Iterator<Item = &LogLine>| {
            let mut bytes = 0;
            lines
                .take_while(|line| {
                    bytes += line.message.len() + LINE_COST;
                    bytes <= LOG_END_BYTES
                })
                .count()
        };
        let head = fitting(&mut self.lines.iter());
        let rest = self.lines.get(head..).unwrap_or_default();
        let tail = fitting(&mut rest.iter().rev());
        let first = self.lines.get(..head).unwrap_or_default();
        (first, rest.get(rest.len() - tail..).unwrap_or_default())
    }
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: RunId,
    pub connector_id: ConnectorId,
    /// Which of the workspace's connections it was made through; the default one if absent.
    pub connection: Option<ConnectionName>,
    pub action_id: ActionId,
    /// Revision of the connector.
    pub revision: u64,
    /// Automation that fired.
    pub automation_id: Option<AutomationId>,
    /// The event that fired it.
    pub event_id: Option<String>,
    /// How it ended.
    pub end: RunEnd,
    /// What happened before the end.
    pub progress: Progress,
}

impl Run {
    /// What it called.
    pub(crate) fn called(&self) -> Called<'_> {
        let automation = self.automation_id.as_ref().map(AutomationId::as_str);
        (self.connector_id.as_str(), self.action_id.as_str(), automation)
    }

    /// The status word.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        match &self.end {
            RunEnd::Succeeded { .. } => RunStatus::Succeeded,
            RunEnd::Skipped(_) => RunStatus::Skipped,
            RunEnd::Failed { code, .. } if matches!(code.fault(), Fault::Policy) => RunStatus::Refused,
            RunEnd::Failed { .. } => RunStatus::Failed,
        }
    }

    /// Why nothing was called, if it was skipped.
    #[must_use]
    pub const fn skip_reason(&self) -> Option<SkipReason> {
        match self.end {
            RunEnd::Skipped(reason) => Some(reason),
            _ => None,
        }
    }

    /// The run as its caller sees it.
    #[must_use]
    pub fn document(&self) -> RunDocument<'_> {
        RunDocument::whole(self)
    }

    /// The request that would have been sent, in a dry run.
    #[must_use]
    pub fn dry_run_document(&self) -> Option<DryRunDocument<'_>> {
        self.progress.dry_run.as_ref().map(|dry_run| DryRunDocument::of(self, dry_run))
    }

    /// The error of a run that was refused or failed, with the run.
    ///
    /// # Errors
    /// That error; `Ok` for a run that succeeded or was skipped.
    pub fn into_result(self) -> Result<Self, Error> {
        let (code, message, wait) = match &self.end {
            RunEnd::Failed { code, message, retry_at, .. } => {
                (*code, message.clone(), retry_at.as_deref().and_then(clock::seconds_until))
            }
            RunEnd::Succeeded(_) | RunEnd::Skipped(_) => return Ok(self),
        };
        Err(Error { run: Some(Box::new(self)), retry_after_s: wait, ..Error::new(code, message) })
    }

    /// The run as a repeat of its request is answered where the output is too long to be kept.
    #[must_use]
    pub fn document_without_output(&self) -> RunDocument<'_> {
        RunDocument::kept(self).without_output()
    }

    /// About how many bytes it holds of the third party's data.
    pub(crate) fn answer_bytes(&self) -> u64 {
        let of_success = |success: &Success| {
            let parts = success.upstream.iter().flat_map(|answer| [&answer.headers, &answer.body]);
            let texts = parts.flatten().map(|text| text.get().len());
            texts.fold(success.output.get().len(), usize::saturating_add)
        };
        let bytes = match &self.end {
            RunEnd::Succeeded(success) => of_success(success),
            RunEnd::Failed { upstream: Some(answer), .. } => json::size(answer, usize::MAX),
            RunEnd::Failed { .. } | RunEnd::Skipped(_) => 0,
        };
        bytes as u64
    }

    /// Drops the third party's data, except what is kept of it.
    pub(crate) fn forget_answer(&mut self) {
        match &mut self.end {
            RunEnd::Succeeded(success) => {
                success.output = RawValue::NULL.to_owned();
                if let Some(answer) = &mut success.upstream {
                    (answer.headers, answer.body) = (None, None);
                }
            }
            RunEnd::Failed { upstream: Some(answer), .. } => {
                if let Some(answer) = answer.as_object_mut() {
                    answer.retain(|name, _| name == "status");
                }
            }
            RunEnd::Failed { .. } | RunEnd::Skipped(_) => {}
        }
    }

    /// The run as it is stored: without the third party's data, which only the caller receives.
    pub(crate) fn record(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<RunRecord, Error> {
        let body = to_raw_value(&RunDocument::kept(self));
        Ok(RunRecord {
            run_id: self.id.clone(),
            org: org.clone(),
            workspace: workspace.clone(),
            created_at: clock::now(),
            body: body.map_err(|_| Error::plain(Code::Internal))?,
        })
    }
}
