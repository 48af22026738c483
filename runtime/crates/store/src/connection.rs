//! What is kept of a connection beyond its credential: tokens that were got with it, consents that are
//! under way, and config values that were discovered.
//!
//! Tokens and code verifiers are sealed by the vault before they get here.

use std::collections::BTreeMap;

use portcullis_core::id::CredentialId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// A connection's token. Parts: `[org, workspace, connector_id]`.
///
/// Written with compare-and-set only: whoever renews holds the lease, and a token that was got is
/// never lost to one that was got earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenState {
    /// What the sealed bytes are bound to, with [`Self::revision`].
    pub token_id: CredentialId,
    /// Counts up with every token.
    pub revision: u64,
    /// Revision of the credential that it was got with; another one makes it worthless.
    pub credential_revision: u64,
    /// The token and what came with it, sealed; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Whether a refresh token is among it.
    #[serde(default)]
    pub renewable: bool,
    /// When it was got, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Somebody is getting a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<TokenLease>,
    /// Why the last attempt to get one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TokenFailure>,
}

/// The right to get a new token, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLease {
    /// Who holds it.
    pub holder: String,
    /// When it ends by itself, RFC 3339.
    pub until: String,
}

/// Why a token could not be got. Never quotes an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFailure {
    /// For a person.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// How often in a row.
    pub times: u32,
    /// When it is tried again, RFC 3339.
    pub retry_at: String,
}

impl Document for TokenState {
    const KIND: &'static str = "token_state";
}

/// Config values of a connection that nobody typed in. Parts: `[org, workspace, connector_id]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoveredConfig {
    /// Values by field name.
    pub config: BTreeMap<String, serde_json::Value>,
}

impl Document for DiscoveredConfig {
    const KIND: &'static str = "discovered_config";
}

/// A consent that a person was sent to give. Parts: `[hash of the state]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingConsent {
    /// What the sealed verifier is bound to.
    pub consent_id: CredentialId,
    /// Org.
    pub org: String,
    /// Workspace.
    pub workspace: String,
    /// Connector.
    pub connector: String,
    /// The credential whose client asks.
    pub credential_id: CredentialId,
    /// Its revision.
    pub credential_revision: u64,
    /// Where the person comes back to, exactly.
    pub redirect_uri: String,
    /// Code verifier (RFC 7636), sealed.
    pub sealed_verifier: String,
    /// SHA-256 of the cookie of the browser that was sent, hexadecimal.
    pub browser: String,
    /// When it ends by itself, RFC 3339.
    pub expires_at: String,
}

impl Document for PendingConsent {
    const KIND: &'static str = "pending_consent";
}
