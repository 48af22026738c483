//! Documents of idempotency keys: which request a workspace made with which key, and what it was answered.
//!
//! A key is found by its hash, and the oldest ones by their order. An answer is sealed by the vault before it gets here.

use portcullis_core::id::RunId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// A key that a workspace used. Parts: `[org, workspace, SHA-256 of the key in hexadecimal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyRecord {
    /// SHA-256 of the request, hexadecimal.
    pub request: String,
    /// The run that it makes.
    pub run_id: RunId,
    /// The first part of the key of its [`IdempotencyOrder`]: when it is forgotten, milliseconds since 1970.
    pub order: String,
    /// The process that serves the request; absent once it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How long the request may take, RFC 3339.
    pub until: String,
    /// Number of the [`IdempotencyPart`]s of its answer; 0 before that.
    pub parts: u32,
    /// Bytes of its answer, sealed; 0 before that.
    #[serde(default)]
    pub bytes: u64,
}

/// Finds the keys that are forgotten first. Parts: `[milliseconds since 1970, org, workspace, SHA-256 of the key]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyOrder {}

/// A part of a sealed answer. Parts: `[org, workspace, SHA-256 of the key, number]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyPart {
    /// Base64.
    pub data: String,
}

impl Document for IdempotencyRecord {
    const KIND: &'static str = "idempotency";
}

impl Document for IdempotencyOrder {
    const KIND: &'static str = "idempotency_order";
}

impl Document for IdempotencyPart {
    const KIND: &'static str = "idempotency_part";
}
