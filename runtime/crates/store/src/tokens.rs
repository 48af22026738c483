//! Documents of API tokens: found by the hash of the secret, listed and revoked by their id.
//!
//! The secret itself is never here, only its SHA-256 (the secret is random, so no salt is needed).

use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// What a token may reach. Each role is bound to the ids its record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator of the installation.
    Platform,
    /// One org.
    Org,
    /// One workspace.
    Workspace,
    /// Running actions in one workspace, nothing else.
    Run,
}

/// One token. Parts: `[hash]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's public name.
    pub token_id: TokenId,
    /// What it may reach.
    pub role: Role,
    /// The org it is bound to; absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// The workspace it is bound to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it stops working, RFC 3339; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// SHA-256 of the token's text, 64 lower-case hex digits.
    pub hash: String,
}

impl Document for TokenRecord {
    const KIND: &'static str = "token";
}

/// Where a token's record is. Parts: `[token_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIndex {
    /// The key part of its [`TokenRecord`].
    pub hash: String,
}

impl Document for TokenIndex {
    const KIND: &'static str = "token_id";
}
