//! A run: one call of one action, as its caller sees it and as it is kept.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::fault::Code;
use portcullis_core::hex;
use portcullis_core::id::{ActionId, AutomationId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_core::verdict::Decision;
use portcullis_egress::Rehearsal;
use portcullis_sandbox::Usage;
use portcullis_store::RunRecord;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::clock;
use crate::problem::Problem;
use document::{Detail, Document};

mod document;

/// What is to be called; parsed and authorised, not yet resolved.
#[derive(Debug, Clone)]
pub struct Call {
    /// Org.
    pub org: OrgId,
    /// Workspace.
    pub workspace: WorkspaceId,
    /// Connector id as the caller wrote it.
    pub connector_id: String,
    /// Action id as the caller wrote it.
    pub action_id: String,
    /// Input as given.
    pub input: Map<String, Value>,
    /// The automation that fired.
    pub automation_id: Option<AutomationId>,
    /// Why it is not to be called after all; decided before anything is resolved.
    pub skip: Option<SkipReason>,
    /// Show the request instead of sending it.
    pub rehearse: bool,
    /// The caller's own word for this call, the same when it is made again.
    pub key: Option<String>,
}

impl Call {
    /// The key that tells upstreams a repeat from a new request: the same for every try of a run, and for
    /// every run that the caller gives the same word. `pc_` and hexadecimal digits, at most `chars_max`
    /// characters, of which 16 are already enough to be nobody else's.
    #[must_use]
    pub fn idempotency_key(&self, run: &RunId, chars_max: u16) -> String {
        let word = self.key.as_deref().unwrap_or(run.as_str());
        let automation = self.automation_id.as_ref().map_or("", AutomationId::as_str);
        let mut hash = Context::new(&SHA256);
        let parts = [
            self.org.as_str(),
            self.workspace.as_str(),
            &self.connector_id,
            &self.action_id,
            automation,
            word,
        ];
        for part in parts {
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut key = format!("pc_{}", hex::encode(hash.finish().as_ref()));
        key.truncate(usize::from(chars_max));
        key
    }
}

/// Why nothing was called although nothing was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The platform switched the connector off.
    ConnectorDisabled,
    /// The workspace said no.
    OptedOut,
    /// The workspace did nothing.
    Unconfigured,
    /// The automation is switched off, or its conditions do not hold.
    ConditionFalse,
}

impl SkipReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectorDisabled => "connector_disabled",
            Self::OptedOut => "opted_out",
            Self::Unconfigured => "unconfigured",
            Self::ConditionFalse => "condition_false",
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
        /// Why.
        code: Code,
        /// For a person.
        message: String,
        /// Class of an upstream's error.
        class: Option<String>,
        /// The upstream's answer, if there was one.
        upstream: Option<Value>,
        /// Whether another try may succeed.
        retryable: bool,
        /// What the upstream said, read by the definition's rules.
        error: Option<Value>,
        /// When the upstream will take another try, RFC 3339, where that is too long to wait.
        retry_at: Option<String>,
    },
}

/// What a guest says of a success: an action's output and the answer it was made from. What is passed on as
/// it is stays text, so that nothing is taken apart to be put together again.
#[derive(Debug, Clone, Deserialize)]
pub struct Success {
    /// The action's output.
    pub output: Box<RawValue>,
    /// The upstream's last answer; a custom guest need not tell it.
    #[serde(default)]
    pub upstream: Option<Answer>,
    /// How many pages a list was read from.
    #[serde(default)]
    pub pages: Option<u32>,
    /// Whether a list goes on beyond its limit.
    #[serde(default)]
    pub truncated: Option<bool>,
}

impl Success {
    /// The output taken apart.
    #[must_use]
    pub fn output(&self) -> Value {
        serde_json::from_str(self.output.get()).unwrap_or_default()
    }
}

/// An upstream's answer as a guest tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Box<RawValue>>,
    /// Body; absent where the output says all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunUsage {
    /// Requests that were answered.
    pub requests: u64,
    /// Tries after the first.
    pub retries: u64,
    /// The sandbox's part.
    pub guest: Usage,
    /// Waiting for upstreams, microseconds.
    pub upstream_us: u64,
    /// All of it, microseconds.
    pub total_us: u64,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Connector.
    pub connector_id: ConnectorId,
    /// Action.
    pub action_id: ActionId,
    /// Revision of the connector.
    pub revision: u64,
    /// Automation that fired.
    pub automation_id: Option<AutomationId>,
    /// How it ended.
    pub end: RunEnd,
    /// Checks in order.
    pub decisions: Vec<Decision>,
    /// Figures.
    pub usage: RunUsage,
    /// Hash of the first request before its credential; a dry run of the same call gives the same.
    pub request_hash: Option<String>,
    /// The request that would have been sent, of a dry run.
    pub rehearsal: Option<Rehearsal>,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(
        id: RunId,
        connector_id: ConnectorId,
        action_id: ActionId,
        revision: u64,
        automation_id: Option<AutomationId>,
    ) -> Self {
        Self {
            id,
            connector_id,
            action_id,
            revision,
            automation_id,
            end: RunEnd::Skipped(SkipReason::Unconfigured),
            decisions: Vec::new(),
            usage: RunUsage::default(),
            request_hash: None,
            rehearsal: None,
        }
    }

    /// The run's document.
    #[must_use]
    pub fn document(&self) -> Value {
        serde_json::to_value(Document::of(self, Detail::Whole)).unwrap_or_default()
    }

    /// The run's document as JSON.
    ///
    /// # Errors
    /// `internal`; a document is always JSON.
    pub fn text(&self) -> Result<String, Problem> {
        let document = Document::of(self, Detail::Whole);
        serde_json::to_string(&document).map_err(|_| Problem::plain(Code::Internal))
    }

    /// The answer to a dry run: the request as it would be sent, its secrets shown by name.
    #[must_use]
    pub fn rehearsal_document(&self, rehearsal: &Rehearsal) -> Value {
        let headers: Map<String, Value> =
            rehearsal.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let body = match serde_json::from_slice::<Value>(&rehearsal.body) {
            _ if rehearsal.body.is_empty() => Value::Null,
            Ok(document) => document,
            Err(_) => json!(rehearsal.body_text()),
        };
        json!({
            "dry_run": true,
            "connector_id": self.connector_id, "action_id": self.action_id, "revision": self.revision,
            "request": { "method": rehearsal.method, "url": rehearsal.url, "headers": headers, "body": body },
            "curl": rehearsal.curl(),
            "request_hash": rehearsal.hash,
            "decisions": self.decisions,
        })
    }

    /// The status word.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        use portcullis_core::fault::Fault;
        match &self.end {
            RunEnd::Succeeded { .. } => "succeeded",
            RunEnd::Skipped(_) => "skipped",
            RunEnd::Failed { code, .. } if matches!(code.fault(), Fault::Policy) => "refused",
            RunEnd::Failed { .. } => "failed",
        }
    }

    /// The problem of a run that was refused or failed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match &self.end {
            RunEnd::Failed { code, message, retry_at, .. } => {
                let mut problem = Problem::new(*code, message.clone());
                problem.run = Some(Box::new(self.document()));
                problem.retry_after_s = retry_at.as_deref().and_then(clock::seconds_until);
                Some(problem)
            }
            _ => None,
        }
    }

    /// Keeps the run's record: the run without the third party's data, which is the caller's to keep.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn keep(&self, app: &App, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Problem> {
        let body = to_raw_value(&Document::of(self, Detail::Kept));
        let record = RunRecord {
            run_id: self.id.clone(),
            org: org.clone(),
            workspace: workspace.clone(),
            created_at: clock::now(),
            body: body.map_err(|_| Problem::plain(Code::Internal))?,
        };
        Ok(app.runs.append(&record).await?)
    }
}
