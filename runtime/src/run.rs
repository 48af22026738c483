//! A run: one call of one action, as its caller sees it and as it is kept.

use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_core::verdict::Decision;
use portcullis_egress::Rehearsal;
use portcullis_sandbox::Usage;
use portcullis_store::{RunRecord, Writes};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::clock;
use crate::problem::Problem;

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
        let mut hash = Sha256::new();
        let parts = [
            self.org.as_str(),
            self.workspace.as_str(),
            &self.connector_id,
            &self.action_id,
            automation,
            word,
        ];
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut key = format!("pc_{}", hex::encode(hash.finalize()));
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
    Succeeded {
        /// The action's output.
        output: Value,
        /// The answer it was made from.
        upstream: Value,
    },
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
        let mut document = Map::new();
        document.insert("run_id".into(), json!(self.id));
        document.insert("status".into(), json!(self.status()));
        document.insert("connector_id".into(), json!(self.connector_id));
        document.insert("action_id".into(), json!(self.action_id));
        document.insert("revision".into(), json!(self.revision));
        if let Some(automation) = &self.automation_id {
            document.insert("automation_id".into(), json!(automation));
        }
        match &self.end {
            RunEnd::Succeeded { output, upstream } => {
                document.insert("output".into(), output.clone());
                document.insert("upstream".into(), upstream.clone());
            }
            RunEnd::Skipped(reason) => {
                document.insert("reason".into(), json!(reason.as_str()));
            }
            RunEnd::Failed { code, message, class, upstream, retryable, error, retry_at } => {
                document.insert("code".into(), json!(code));
                document.insert("message".into(), json!(message));
                document.insert("retryable".into(), json!(retryable));
                if let Some(class) = class {
                    document.insert("class".into(), json!(class));
                }
                if let Some(error) = error {
                    document.insert("error".into(), error.clone());
                }
                if let Some(retry_at) = retry_at {
                    document.insert("retry_at".into(), json!(retry_at));
                }
                if let Some(upstream) = upstream {
                    document.insert("upstream".into(), upstream.clone());
                }
            }
        }
        if let Some(hash) = &self.request_hash {
            document.insert("request_hash".into(), json!(hash));
        }
        document.insert("decisions".into(), json!(self.decisions));
        document.insert("usage".into(), self.usage_document());
        Value::Object(document)
    }

    fn usage_document(&self) -> Value {
        let usage = &self.usage;
        json!({
            "requests": usage.requests,
            "retries": usage.retries,
            "fuel": usage.guest.fuel,
            "memory_peak_bytes": usage.guest.memory_peak_bytes,
            "guest_us": usage.guest.guest_us,
            "upstream_us": usage.upstream_us,
            "total_us": usage.total_us,
        })
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

    /// Keeps the run's record.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn keep(&self, app: &App, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Problem> {
        let record = RunRecord {
            run_id: self.id.clone(),
            org: org.clone(),
            workspace: workspace.clone(),
            body: self.kept_document(),
            created_at: clock::now(),
        };
        let parts = [org.as_str(), workspace.as_str(), self.id.as_str()];
        app.records.commit(Writes::new().create(&parts, &record)).await?;
        Ok(())
    }

    /// What is kept: the run without the third party's data, which is the caller's to keep.
    fn kept_document(&self) -> Value {
        let mut document = self.document();
        if let Some(map) = document.as_object_mut() {
            map.shift_remove("output");
            let status = map.get("upstream").and_then(|u| u.get("status")).cloned();
            if let Some(status) = status {
                map.insert("upstream".into(), json!({ "status": status }));
            }
        }
        document
    }
}
