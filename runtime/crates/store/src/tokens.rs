//! Documents of API tokens: found by the hash of the secret, listed and revoked by id.
//!
//! The secret itself is never stored, only its SHA-256 (the secret is random, so no salt is needed).

use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// What a token may access. Each role is bound to the ids in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Platform, Self::Org, Self::Workspace, Self::Run];

    /// The word in a token's text and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Org => "org",
            Self::Workspace => "workspace",
            Self::Run => "run",
        }
    }

    /// The role with that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// One token. Parts: `[hash]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's public name.
    pub token_id: TokenId,
    /// What it may access.
    pub role: Role,
    /// The org it is bound to; absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// The workspace it is bound to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it expires, RFC 3339; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// SHA-256 of the token's text, 64 lower-case hex digits.
    pub hash: String,
}

impl Document for TokenRecord {
    const KIND: &'static str = "token";
}

/// Points from a token's id to its record. Parts: `[token_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIndex {
    /// The key part of its [`TokenRecord`].
    pub hash: String,
}

impl Document for TokenIndex {
    const KIND: &'static str = "token_id";
}
