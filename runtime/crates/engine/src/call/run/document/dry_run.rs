//! What a dry run shows, as JSON.

use std::collections::BTreeMap;

use portcullis_core::id::{ActionId, ConnectionName, ConnectorId};
use portcullis_core::verdict::Decision;
use portcullis_egress::DryRun;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::log::Log;
use crate::call::run::Run;

/// The answer to a dry run: the request as it would be sent, its secrets shown by name.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DryRun")]
pub struct DryRunDocument<'a> {
    /// Always true.
    #[schemars(extend("const" = true))]
    dry_run: bool,
    connector_id: &'a ConnectorId,
    /// Which of the workspace's connections it would be made through; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a ConnectionName>,
    action_id: &'a ActionId,
    /// Revision of the connector's definition.
    revision: u64,
    request: DryRequest<'a>,
    /// The same request as a shell command.
    curl: String,
    /// Hash of the request before its credential; the real run of the same call has the same.
    request_hash: &'a str,
    /// The checks of the request, in order.
    decisions: &'a [Decision],
    /// Whether it is all that the call would send; false for a module, which may send more once it has an answer.
    complete: bool,
    /// What a module wrote before its first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log<'a>>,
}

/// A request that was not sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DryRunRequest")]
pub struct DryRequest<'a> {
    method: &'a str,
    url: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
    /// JSON if the body is JSON, otherwise its text; null without a body.
    #[schemars(with = "Value")]
    body: Value,
}

impl<'a> DryRequest<'a> {
    /// The request of a dry run.
    #[must_use]
    pub fn of(dry_run: &'a DryRun) -> Self {
        let body = match serde_json::from_slice::<Value>(&dry_run.body) {
            _ if dry_run.body.is_empty() => Value::Null,
            Ok(document) => document,
            Err(_) => Value::String(dry_run.body_text()),
        };
        Self {
            method: &dry_run.method,
            url: &dry_run.url,
            headers: dry_run.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body,
        }
    }
}

impl<'a> DryRunDocument<'a> {
    pub(in crate::call::run) fn of(run: &'a Run, dry_run: &'a DryRun) -> Self {
        Self {
            dry_run: true,
            connector_id: &run.connector_id,
            connection: run.connection.as_ref(),
            action_id: &run.action_id,
            revision: run.revision,
            request: DryRequest::of(dry_run),
            curl: dry_run.curl(),
            request_hash: &dry_run.hash,
            decisions: &run.progress.decisions,
            complete: !run.progress.is_module,
            log: Log::whole(&run.progress.log),
        }
    }
}
