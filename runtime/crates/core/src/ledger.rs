//! The content of an outbound ledger record: what is recorded about one outbound attempt.
//!
//! Never a secret, a query string or a body. How records are chained and stored is the store's
//! business; this is only their shape, shared by the guard (which knows the facts), the runtime
//! (which adds who asked) and the store (which seals the chain).

use serde::{Deserialize, Serialize};

use crate::id::{ActionId, AutomationId, ConnectionName, ConnectorId, EntryId, OrgId, RunId, WorkspaceId};

mod json;

/// Which half of the bracket a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerPhase {
    /// Written before anything leaves: all lists passed, no name looked up yet.
    Begin,
    /// Written after the attempt ended, whatever its end.
    Complete,
    /// A check refused before anything left; such an attempt has only this record.
    Refused,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerVerdict {
    /// The checks before the first packet let it pass (a `begin`), or it was sent (a `complete`).
    Allow,
    /// A check refused it, before or after the name lookup.
    Refuse,
    /// Checks passed, but the network or the upstream failed.
    Error,
}

/// Time spent by phase, microseconds. Absent phases did not happen (a pooled connection has no DNS).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PhaseDurations {
    /// Name lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub dns_us: Option<u64>,
    /// TCP connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub connect_us: Option<u64>,
    /// TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub tls_us: Option<u64>,
    /// From the request's first byte to the response's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub first_byte_us: Option<u64>,
    /// The whole attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub total_us: Option<u64>,
}

impl PhaseDurations {
    /// Adds those of a further request, except the total. A phase that never happened stays absent.
    pub fn add(&mut self, further: &Self) {
        let sum = |own: &mut Option<u64>, further: Option<u64>| {
            if let Some(further) = further {
                *own = Some(own.unwrap_or_default().saturating_add(further));
            }
        };
        sum(&mut self.dns_us, further.dns_us);
        sum(&mut self.connect_us, further.connect_us);
        sum(&mut self.tls_us, further.tls_us);
        sum(&mut self.first_byte_us, further.first_byte_us);
    }
}

/// One record's content. Optional fields are absent until they are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LedgerEvent {
    /// The attempt; `begin` and `complete` of one attempt share it.
    pub entry_id: EntryId,
    /// RFC 3339 time in UTC, microseconds.
    pub at: String,
    /// Which half of the bracket.
    pub phase: LedgerPhase,
    /// Who: the org whose ledger this is.
    pub org: OrgId,
    /// Who: the workspace.
    pub workspace: WorkspaceId,
    /// Through which connector.
    pub connector_id: ConnectorId,
    /// Through which of the workspace's connections; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectionName")]
    pub connection: Option<ConnectionName>,
    /// That connector's revision.
    pub revision: u64,
    /// Which action.
    pub action_id: ActionId,
    /// The run that asked.
    pub run_id: RunId,
    /// The automation that fired, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AutomationId")]
    pub automation_id: Option<AutomationId>,
    /// HTTP method.
    pub method: String,
    /// `https://host[:port]`; empty when the URL was too broken to have one.
    pub origin: String,
    /// Path without query; empty when the URL was too broken to have one.
    pub path: String,
    /// How it ended (or, in a `begin`, that the checks so far passed).
    pub verdict: LedgerVerdict,
    /// The reason for a refusal or error, from the closed list of codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub code: Option<String>,
    /// The connector's `allowed_domains` entry that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub matched_connector: Option<String>,
    /// The org's allowlist entry that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub matched_org: Option<String>,
    /// The org's list would have refused it, had it been enforced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub would_refuse: bool,
    /// Every address of the answer, as judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The address connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub chosen_address: Option<String>,
    /// Negotiated TLS version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub tls_version: Option<String>,
    /// Upstream's HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16")]
    pub status: Option<u16>,
    /// Request body bytes sent.
    #[serde(default)]
    pub bytes_out: u64,
    /// Response body bytes received, before decoding.
    #[serde(default)]
    pub bytes_in: u64,
    /// Durations by phase.
    #[serde(default)]
    pub durations: PhaseDurations,
    /// Credential slot that was injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub credential_slot: Option<String>,
    /// Version of the credential that was injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub credential_version: Option<u64>,
    /// Whether the response held the secret and was scrubbed.
    #[serde(default)]
    pub redacted: bool,
}
