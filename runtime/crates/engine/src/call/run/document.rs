//! A run as JSON: for its caller, as stored, and as a dry run shows it.
//!
//! The stored form is a part of the one that callers see, so both are one type here; the API's description uses the
//! derived schema.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::nearest_text;
use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, RunId};
use portcullis_core::verdict::{Decision, OrgPolicy, not_in_org};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Called, EndReason, Run, RunAttempt, RunEnd, RunStatus, RunUsage, SkipReason, Success};

mod dry_run;
mod log;

pub use dry_run::{DryRequest, DryRunDocument};
use log::{Log, StoredLog};

/// Any JSON value from the third party, passed on.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum Open<'a> {
    Text(&'a RawValue),
    Value(&'a Value),
}

/// One call of one action, with its end.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub struct RunDocument<'a> {
    run_id: &'a RunId,
    /// How it ended.
    status: RunStatus,
    connector_id: &'a ConnectorId,
    /// Which of the workspace's connections it was made through; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a ConnectionName>,
    action_id: &'a ActionId,
    /// Revision of the connector's definition.
    revision: u64,
    /// The automation that fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    automation_id: Option<&'a AutomationId>,
    /// The event that fired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<SkipReason>,
    /// The action's output, if the run succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    output: Option<Open<'a>>,
    /// False if the answer to a repeated request lacks the output because it was too long to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_kept: Option<bool>,
    /// Why it was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    /// The reason as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    /// Whether another attempt may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// Class of the upstream's error, such as `auth` or `rate_limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    /// The upstream's error, read by the definition's rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    error: Option<&'a Value>,
    /// When another attempt makes sense, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<&'a str>,
    /// The upstream's last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'a>>,
    /// Hash of the first request before its credential; a dry run of the same call has the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_hash: Option<&'a str>,
    /// The checks of the last request, in order.
    decisions: &'a [Decision],
    usage: Usage,
    /// What a module wrote: the first lines and the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log<'a>>,
    /// Only in a record: its readers were not there.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(skip)]
    attempts: &'a [RunAttempt],
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(skip)]
    attempts_omitted: u64,
}

/// An upstream's answer.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "UpstreamAnswer")]
struct Upstream<'a> {
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Headers that may be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Value>")]
    headers: Option<Open<'a>>,
    /// Body; absent if the output contains all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    body: Option<Open<'a>>,
    /// Number of pages that a list was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    /// Whether the list continues beyond its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

/// Resource use of a run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunUsage")]
struct Usage {
    /// Requests that were answered.
    requests: u64,
    /// Attempts after the first.
    retries: u64,
    /// Instructions that the guest executed.
    fuel: u64,
    /// Peak memory of the guest, bytes.
    memory_peak_bytes: u64,
    /// Time in the guest, microseconds.
    guest_us: u64,
    /// Waiting for upstreams, microseconds.
    upstream_us: u64,
    /// The whole run, microseconds.
    total_us: u64,
    /// Bytes that a module wrote to its log.
    #[serde(default, skip_serializing_if = "is_zero")]
    log_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> RunDocument<'a> {
    /// The complete document of a run.
    pub(super) fn whole(run: &'a Run) -> Self {
        let mut document = Self { attempts: &[], attempts_omitted: 0, ..Self::kept(run) };
        match &run.end {
            RunEnd::Succeeded(success) => {
                document.output = Some(Open::Text(&success.output));
                document.upstream = success.upstream.as_ref().map(|answer| Upstream::of(answer, success));
            }
            RunEnd::Failed { upstream: Some(answer), .. } => {
                document.upstream = Some(Upstream::of_failure(answer));
            }
            RunEnd::Failed { .. } | RunEnd::Skipped(_) => {}
        }
        document
    }

    /// A run without the third party's data: of an answer, only its status.
    pub(super) fn kept(run: &'a Run) -> Self {
        let mut document = Self {
            run_id: &run.id,
            status: run.status(),
            connector_id: &run.connector_id,
            connection: run.connection.as_ref(),
            action_id: &run.action_id,
            revision: run.revision,
            automation_id: run.automation_id.as_ref(),
            event_id: run.event_id.as_deref(),
            reason: None,
            output: None,
            output_kept: None,
            code: None,
            message: None,
            retryable: None,
            class: None,
            error: None,
            retry_at: None,
            upstream: None,
            request_hash: run.progress.request_hash.as_deref(),
            decisions: &run.progress.decisions,
            usage: Usage::of(&run.progress.usage),
            log: Log::ends(&run.progress.log),
            attempts: run.progress.timeline.attempts(),
            attempts_omitted: run.progress.timeline.omitted(),
        };
        match &run.end {
            RunEnd::Succeeded(success) => {
                let status = success.upstream.as_ref().map(|answer| answer.status);
                document.upstream =
                    status.map(|status| Upstream { status: Some(status), ..Upstream::default() });
            }
            RunEnd::Skipped(reason) => {
                document.reason = Some(*reason);
                document.message =
                    run.connection.as_ref().and_then(|name| skipped(*reason, name)).map(Cow::Owned);
            }
            RunEnd::Failed { code, message, class, upstream, retryable, error, retry_at } => {
                document.code = Some(*code);
                document.message = Some(Cow::Borrowed(message));
                document.retryable = Some(*retryable);
                document.class = class.as_deref();
                document.error = error.as_ref();
                document.retry_at = retry_at.as_deref();
                document.upstream = upstream
                    .as_ref()
                    .map(|answer| Upstream { status: status_of(answer), ..Upstream::default() });
            }
        }
        document
    }
}

impl RunDocument<'_> {
    /// The same, of which the output is not kept.
    pub(super) fn without_output(self) -> Self {
        Self { output_kept: Some(false), attempts: &[], attempts_omitted: 0, ..self }
    }
}

/// What a skip through a named connection means. Why only then: of the default one the word says it.
fn skipped(reason: SkipReason, name: &ConnectionName) -> Option<String> {
    match reason {
        SkipReason::Unconfigured => {
            Some(format!("the workspace has no connection \"{name}\" of this connector"))
        }
        SkipReason::OptedOut => Some(format!("the workspace opted out of its connection \"{name}\"")),
        SkipReason::ConnectorDisabled | SkipReason::ConditionFalse => None,
    }
}

fn status_of(answer: &Value) -> Option<u16> {
    answer.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok())
}

impl<'a> Upstream<'a> {
    fn of(answer: &'a Answer, success: &Success) -> Self {
        Self {
            status: Some(answer.status),
            headers: answer.headers.as_deref().map(Open::Text),
            body: answer.body.as_deref().map(Open::Text),
            pages: success.pages,
            truncated: success.truncated,
        }
    }

    fn of_failure(answer: &'a Value) -> Self {
        let headers = answer.get("headers").filter(|headers| headers.is_object());
        Self {
            status: status_of(answer),
            headers: headers.map(Open::Value),
            body: answer.get("body").map(Open::Value),
            pages: None,
            truncated: None,
        }
    }
}

impl Usage {
    const fn of(usage: &RunUsage) -> Self {
        Self {
            requests: usage.requests,
            retries: usage.retries,
            fuel: usage.guest.fuel,
            memory_peak_bytes: usage.guest.memory_peak_bytes,
            guest_us: usage.guest.guest_us,
            upstream_us: usage.upstream_us,
            total_us: usage.total_us,
            log_bytes: usage.guest.log_bytes,
        }
    }
}

/// A run as it is stored: without the third party's data.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunRecord")]
pub struct StoredRun {
    run_id: RunId,
    /// How it ended.
    status: RunStatus,
    connector_id: ConnectorId,
    /// Which of the workspace's connections it was made through; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionName>,
    action_id: ActionId,
    /// Revision of the connector's definition.
    revision: u64,
    /// The automation that fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    automation_id: Option<AutomationId>,
    /// The event that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// Why it was skipped, given up or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The reason as a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Whether another attempt might have succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// Class of the upstream's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// The upstream's error, read by the definition's rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    error: Option<Box<RawValue>>,
    /// When another attempt makes sense, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at: Option<String>,
    /// The upstream's last answer: its status only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<StoredAnswer>,
    /// Hash of the first request before its credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_hash: Option<String>,
    /// The checks of the last request, in order.
    #[serde(default)]
    decisions: Vec<StoredDecision>,
    usage: Usage,
    /// What a module wrote: the first lines and the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<StoredLog>,
    /// Tries that were begun, of a run that was accepted to be executed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tries: Option<u32>,
    /// True if it came to its turn out of the order of its key: one that was accepted before it was dead, or later ones
    /// were begun before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_order: Option<bool>,
    /// False in the answer to a repeated request, which lacks the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_kept: Option<bool>,
    /// The attempts, in order: the first and the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<RunAttempt>,
    /// How many attempts between them are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts_omitted: u64,
    /// When it ended, RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
}

/// That an org's list does not have a host, for readers of the list. A port is left out: the list has none.
pub(crate) fn not_in_org_text(host: &str, policy: &OrgPolicy) -> String {
    let host = host.split(':').next().unwrap_or(host);
    let nearest = match policy {
        OrgPolicy::List { patterns, .. } => nearest_text(patterns, host),
        OrgPolicy::Unrestricted => String::new(),
    };
    not_in_org(host, &nearest)
}

impl StoredRun {
    /// The automation that fired it.
    pub(crate) const fn automation_id(&self) -> Option<&AutomationId> {
        self.automation_id.as_ref()
    }

    /// What it called: connector, action and automation.
    pub(crate) fn called(&self) -> Called<'_> {
        let automation = self.automation_id.as_ref().map(AutomationId::as_str);
        (self.connector_id.as_str(), self.action_id.as_str(), automation)
    }

    /// Tells a reader of the org's list which of its entries come nearest to a host that it refused.
    pub(crate) fn tell_nearest(&mut self, policy: &OrgPolicy) {
        let code = self.code.as_deref();
        let host = self.attempts.last().and_then(RunAttempt::host);
        if let (Some(host), true) = (host, code == Some(Code::HostNotInOrg.as_str())) {
            self.message = Some(not_in_org_text(host, policy));
        }
    }

    pub(crate) const fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// How it ended.
    pub(crate) const fn status(&self) -> RunStatus {
        self.status
    }

    /// Why nothing was called, if it was skipped.
    #[must_use]
    pub fn skip_reason(&self) -> Option<EndReason> {
        self.reason.filter(|_| self.status == RunStatus::Skipped)
    }

    /// The same, as an answer to a repeated request.
    #[must_use]
    pub fn without_output(self) -> Self {
        Self { output_kept: Some(false), ..self }
    }

    /// The record of a run that a job ended with, in another word than the run's own where one is given.
    pub(crate) fn of_job(
        run: &Run,
        status: RunStatus,
        reason: Option<EndReason>,
    ) -> serde_json::Result<Self> {
        let mut stored: Self = serde_json::from_value(serde_json::to_value(RunDocument::kept(run))?)?;
        stored.status = status;
        stored.reason = reason.or(stored.reason);
        Ok(stored)
    }
}

/// What is stored of an upstream's answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunRecordAnswer")]
struct StoredAnswer {
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// One check and its verdict.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunRecordDecision")]
struct StoredDecision {
    /// Name of the check.
    check: String,
    /// Its verdict: `pass`, `refuse` or `would_refuse`.
    verdict: String,
    /// The entry that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matched: Option<String>,
    /// The code, if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

#[cfg(test)]
mod tests;
