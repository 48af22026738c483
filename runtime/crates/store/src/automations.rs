//! Documents of automations: an org's stored calls with their triggers.
//!
//! The definition is kept as it was given and not interpreted here.

use portcullis_core::id::{AutomationId, OrgId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// One automation. Parts: `[org, automation_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomationRecord {
    pub automation_id: AutomationId,
    pub org: OrgId,
    /// What it does, as given.
    pub definition: serde_json::Value,
    /// Counts up from 1.
    pub revision: u64,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for AutomationRecord {
    const KIND: &'static str = "automation";
}
