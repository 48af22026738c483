//! Documents of orgs and their workspaces.
//!
//! They contain no settings; those are in `settings`.

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
