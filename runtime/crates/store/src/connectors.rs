//! Documents of tier 1: a connector's current definition, and all its revisions.
//!
//! The definition is stored as uploaded and not interpreted here; `core` parses it.

use portcullis_core::id::ConnectorId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// The current state of a connector. Parts: `[connector_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorRecord {
    pub connector_id: ConnectorId,
    /// Whether orgs may use it.
    pub enabled: bool,
    /// Counts up from 1, as users see it; not the store's commit sequence.
    pub revision: u64,
    /// The definition as uploaded.
    pub definition: serde_json::Value,
    /// When it was first uploaded, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for ConnectorRecord {
    const KIND: &'static str = "connector";
}

/// A connector at one revision; never changed. Parts: `[connector_id, revision]`, the
/// revision from [`ConnectorRevision::part`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorRevision {
    pub connector_id: ConnectorId,
    /// Whether orgs could use it.
    pub enabled: bool,
    /// Counts up from 1.
    pub revision: u64,
    /// The definition as uploaded.
    pub definition: serde_json::Value,
    /// When the connector was first uploaded, RFC 3339.
    pub created_at: String,
    /// When this revision was created, RFC 3339.
    pub updated_at: String,
}

impl ConnectorRevision {
    /// The key part of a revision: ten digits, so that keys sort by number.
    #[must_use]
    pub fn part(revision: u64) -> String {
        format!("{revision:010}")
    }
}

impl From<&ConnectorRecord> for ConnectorRevision {
    fn from(record: &ConnectorRecord) -> Self {
        Self {
            connector_id: record.connector_id.clone(),
            enabled: record.enabled,
            revision: record.revision,
            definition: record.definition.clone(),
            created_at: record.created_at.clone(),
            updated_at: record.updated_at.clone(),
        }
    }
}

impl Document for ConnectorRevision {
    const KIND: &'static str = "connector_revision";
}
