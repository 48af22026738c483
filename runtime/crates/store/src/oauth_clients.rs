//! OAuth clients that an org or the platform saves for all its workspaces.
//!
//! A scope is an org, or [`crate::PLATFORM_SCOPE`]. Nothing here is secret: secrets are sealed by the vault under the
//! scope's key before they get here.

use std::collections::BTreeMap;

use portcullis_core::id::ConnectorId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// An OAuth client of a scope. Parts: `[scope, connector_id, method_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthClientRecord {
    pub connector_id: ConnectorId,
    /// The authentication method, `default` for the connector's own.
    pub method_id: String,
    /// The client's id, which is not secret (RFC 6749 section 2.2).
    pub client_id: String,
    /// Never used again, unlike the ids: the sealed bytes are bound to it, together with [`Self::revision`].
    pub instance: String,
    /// Counts up on every write.
    pub revision: u64,
    /// Names of the fields that it has a value for.
    pub fields: Vec<String>,
    /// Those that are not secret, with their values.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Whether it has a secret or a private key.
    pub secret_set: bool,
    /// The secret fields, sealed.
    pub sealed: String,
    /// Host entries it was sealed for, so that a request elsewhere is refused before anything is opened; the sealed copy
    /// is authoritative.
    pub allowed_hosts: Vec<String>,
    /// Hosts of token endpoints that were listed when it was saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_hosts: Vec<String>,
    /// Scopes that a person is asked for; the definition's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for OAuthClientRecord {
    const KIND: &'static str = "oauth_client";
}

/// Whose a shared client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOwner {
    Org,
    Platform,
}

impl ClientOwner {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Platform => "platform",
        }
    }
}

/// The shared client that something was obtained with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotedClient {
    pub owner: ClientOwner,
    pub client_id: String,
    /// The client's revision when it was last used.
    pub revision: u64,
}

impl NotedClient {
    /// Whether both are one client, whatever its secret is.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.owner, &self.client_id) == (other.owner, &other.client_id)
    }
}
