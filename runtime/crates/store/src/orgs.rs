//! Documents of orgs and their workspaces.
//!
//! They contain no settings of their own; those are in `settings`. What the platform sets for an org, its limits, is
//! here.

use portcullis_core::id::{OrgId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// An organisation. Parts: `[org]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgRecord {
    pub org: OrgId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it was created, RFC 3339.
    pub created_at: String,
}

impl Document for OrgRecord {
    const KIND: &'static str = "org";
}

/// A workspace of an org. Parts: `[org, workspace]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceRecord {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it was created, RFC 3339.
    pub created_at: String,
}

impl Document for WorkspaceRecord {
    const KIND: &'static str = "workspace";
}

/// The limits of an org, set by the platform. Parts: `[org]`. A member that is absent is no limit of its own: the
/// platform's counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgLimitsRecord {
    /// Calls at once, over all workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_in_flight: Option<u64>,
    /// Calls within a minute, over all workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_minute: Option<u64>,
    /// Bytes of runs, ledger, inputs and kept answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// When they were last set, RFC 3339.
    pub updated_at: String,
}

impl Document for OrgLimitsRecord {
    const KIND: &'static str = "org_limits";
}

/// The values of a workspace for mappings and conditions of its org's automations. Parts: `[org, workspace]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceValuesRecord {
    /// By name: texts, numbers and booleans. Not secret.
    pub values: serde_json::Map<String, serde_json::Value>,
    /// When they were last set, RFC 3339.
    pub updated_at: String,
}

impl Document for WorkspaceValuesRecord {
    const KIND: &'static str = "workspace_values";
}
