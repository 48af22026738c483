//! `/org/{org}/outbound`: every connection that the org has tried to make.

use axum::body::Body;
use http::Response;
use http::header::ACCEPT;
use portcullis_core::id::{ActionId, ConnectionName, ConnectorId, NodeId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerVerdict};
use portcullis_engine::Error;
use portcullis_engine::audit::{self, LedgerLine, LedgerQuery, VerifyReport};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Content, JSON, Json, LongList, json};
use crate::request::{Context, NoParameters, Parameters};
use http::StatusCode;

mod export;
mod tail;

pub(crate) use tail::stream;

/// Selects attempts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutboundParameters {
    /// Maximum entries of the page.
    #[serde(default = "crate::request::default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// `next` of the previous page, or the id of its last entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[a-z0-9][a-z0-9._-]{0,255}$"))]
    starting_after: Option<String>,
    /// Only of this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WorkspaceId")]
    workspace: Option<WorkspaceId>,
    /// Only through this connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectorId")]
    connector_id: Option<ConnectorId>,
    /// Only through the connections of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectionName")]
    connection: Option<ConnectionName>,
    /// Only of this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ActionId")]
    action_id: Option<ActionId>,
    /// Only of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RunId")]
    run_id: Option<RunId>,
    /// Only to this host, without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    host: Option<String>,
    /// Only with this verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LedgerVerdict")]
    verdict: Option<LedgerVerdict>,
    /// Only with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    code: Option<String>,
    /// At this time or later, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    since: Option<String>,
    /// Before this time, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    until: Option<String>,
}

impl Parameters for OutboundParameters {}

impl OutboundParameters {
    fn query(self) -> Result<LedgerQuery, Error> {
        let wanted = self;
        let starting_after = wanted.starting_after.as_deref().map(audit::cursor).transpose()?;
        Ok(LedgerQuery {
            workspace: wanted.workspace,
            connector_id: wanted.connector_id,
            connection: wanted.connection,
            action_id: wanted.action_id,
            run_id: wanted.run_id,
            host: wanted.host,
            verdict: wanted.verdict,
            code: wanted.code,
            since: wanted.since,
            until: wanted.until,
            back_to: None,
            starting_after,
            limit: usize::try_from(wanted.limit).unwrap_or(50),
        })
    }
}

/// One outbound attempt.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OutboundAttempt {
    #[serde(flatten)]
    event: LedgerEvent,
    /// Position in the chain, from 1.
    seq: u64,
    /// The node whose chain it is in, where several share a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NodeId")]
    node: Option<NodeId>,
    /// Hash of the record, 64 hexadecimal digits.
    hash: String,
}

impl From<LedgerLine> for OutboundAttempt {
    fn from(line: LedgerLine) -> Self {
        Self { seq: line.seq, node: line.node, hash: line.hash, event: line.event }
    }
}

/// The result of checking the chain.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ChainReport {
    org: OrgId,
    /// Number of segments.
    segments: u64,
    /// Records before the first bad one; all of them verify.
    records: u64,
    /// Sequence of the first record that is kept.
    first_seq: Option<u64>,
    /// Sequence of the last record that verifies.
    last_seq: u64,
    /// Hash of that record, 64 hexadecimal digits.
    last_hash: String,
    /// Whether older segments were dropped and the chain starts at its anchor.
    anchored: bool,
    /// Bytes of an incomplete last line.
    torn_tail_bytes: u64,
    /// The first record that does not verify.
    bad: Option<BadRecord>,
    /// The chain of each node, where several share a database; `first_seq`, `last_seq` and `last_hash` are then those of
    /// the one that was written to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chains: Vec<NodeChain>,
    /// Whether everything verifies.
    intact: bool,
}

/// The chain of one node.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NodeChain {
    /// Name of the node.
    node: Option<NodeId>,
    /// Records before the first bad one.
    records: u64,
    /// Sequence of the first record that is kept.
    first_seq: Option<u64>,
    /// Sequence of the last record that verifies.
    last_seq: u64,
    /// Hash of that record, 64 hexadecimal digits.
    last_hash: String,
    /// Whether older records were dropped and the chain starts at its anchor.
    anchored: bool,
    /// The first record that does not verify.
    bad: Option<BadRecord>,
}

impl From<audit::ChainReport> for NodeChain {
    fn from(chain: audit::ChainReport) -> Self {
        Self {
            node: chain.node,
            records: chain.records,
            first_seq: chain.first_seq,
            last_seq: chain.last_seq,
            last_hash: chain.last_hash,
            anchored: chain.anchored,
            bad: chain.bad.map(BadRecord::from),
        }
    }
}

impl From<audit::BadRecord> for BadRecord {
    fn from(bad: audit::BadRecord) -> Self {
        Self { seq: bad.seq, segment: bad.segment, line: bad.line, reason: bad.reason }
    }
}

/// A record that does not verify.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BadRecord {
    /// Sequence that the record should have.
    seq: u64,
    /// Name of its segment file, or the table and the node whose chain it is in.
    segment: String,
    /// Line in that file, or which of the kept records of the chain, from 1.
    line: u64,
    /// What is wrong.
    reason: String,
}

impl From<VerifyReport> for ChainReport {
    fn from(report: VerifyReport) -> Self {
        Self {
            intact: report.is_intact(),
            org: report.org,
            segments: report.segments as u64,
            records: report.records,
            first_seq: report.first_seq,
            last_seq: report.last_seq,
            last_hash: report.last_hash,
            anchored: report.anchored,
            torn_tail_bytes: report.torn_tail_bytes,
            chains: report.chains.into_iter().map(NodeChain::from).collect(),
            bad: report.bad.map(BadRecord::from),
        }
    }
}

/// A page of attempts, or an export of every record.
pub(crate) enum Outbound {
    Page(LongList<OutboundAttempt>),
    Export(Response<Body>),
}

impl Answer for Outbound {
    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![
            (JSON, Some(generator.subschema_for::<LongList<OutboundAttempt>>())),
            (export::NDJSON, None),
            (export::CSV, None),
        ]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        match self {
            Self::Page(page) => json(StatusCode::OK, &page),
            Self::Export(response) => Ok(response),
        }
    }
}

/// Lists attempts, newest first; or exports every record, oldest first, as NDJSON or CSV.
pub(crate) async fn list(context: Context, wanted: OutboundParameters, (): ()) -> Result<Outbound, Error> {
    let org = context.org().await?;
    let query = wanted.query()?;
    let accept = context.header(ACCEPT.as_str()).unwrap_or_default();
    let media = accept.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        export::NDJSON => return Ok(Outbound::Export(export::ndjson(&context, org, query).await?)),
        export::CSV => return Ok(Outbound::Export(export::csv(&context, org, query).await?)),
        _ => {}
    }
    let page = audit::list(context.engine(), context.caller()?, &org, &query).await?;
    let entries = page.entries.into_iter().map(OutboundAttempt::from).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(Outbound::Page(LongList::new(entries, next)))
}

/// Checks the hash chain.
pub(crate) async fn verify(context: Context, _: NoParameters, (): ()) -> Result<Json<ChainReport>, Error> {
    let org = context.org().await?;
    let report = audit::verify(context.engine(), context.caller()?, &org).await?;
    Ok(Json(report.into()))
}
