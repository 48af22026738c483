//! Documents of runs: what was asked of an action and what came of it.
//!
//! The body is the runtime's own, bounded by the store's value limit.

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// One run. Parts: `[org, workspace, run_id]`; run ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The run.
    pub run_id: RunId,
    /// Whose it is.
    pub org: OrgId,
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// State, request and result, as the runtime writes them.
    pub body: serde_json::Value,
    /// When it was accepted, RFC 3339.
    pub created_at: String,
}

impl Document for RunRecord {
    const KIND: &'static str = "run";
}
