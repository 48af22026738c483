//! What is stored for a connection besides its credential: tokens obtained with it, pending consents
//! and discovered config values.
//!
//! Tokens and code verifiers are sealed by the vault before they get here.

use std::collections::BTreeMap;

use portcullis_core::id::{ConnectionName, CredentialId};
use serde::{Deserialize, Serialize};

use crate::audit::AuditActor;
use crate::oauth_clients::NotedClient;
use crate::records::Document;

/// A connection's token. Parts: those of its [`ConnectorSetting`](crate::ConnectorSetting).
///
/// Written with compare-and-set only: the process that renews holds the lease, and a newer token is
/// never overwritten by an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenState {
    /// The sealed bytes are bound to it, together with [`Self::revision`].
    pub token_id: CredentialId,
    /// Counts up with every token.
    pub revision: u64,
    /// Revision of the credential that it was obtained with; the token is unusable with any other.
    pub credential_revision: u64,
    /// The token and what came with it, sealed; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Whether it contains a refresh token.
    #[serde(default)]
    pub renewable: bool,
    /// When it was obtained, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<String>,
    /// When it expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The shared OAuth client that it was obtained with; the connection's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<NotedClient>,
    /// The lease, while a new token is being obtained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<TokenLease>,
    /// Why the last attempt to obtain one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TokenFailure>,
}

/// A lease: the exclusive right to obtain a new token for a limited time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLease {
    pub holder: String,
    /// When it expires, RFC 3339.
    pub until: String,
}

/// Why a token could not be obtained. Never quotes an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFailure {
    /// Shown to people.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// Number of failures in a row.
    pub times: u32,
    /// When the next attempt is due, RFC 3339.
    pub retry_at: String,
    /// Whether it needs a person; otherwise it may pass by itself: the token endpoint could not be reached.
    #[serde(default = "needs_a_person")]
    pub permanent: bool,
}

/// What counts for a failure that was written before there was a difference.
const fn needs_a_person() -> bool {
    true
}

impl Document for TokenState {
    const KIND: &'static str = "token_state";
}

/// Automated config values of a connection. Parts: those of its [`ConnectorSetting`](crate::ConnectorSetting).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoveredConfig {
    /// Values by field name.
    pub config: BTreeMap<String, serde_json::Value>,
}

impl Document for DiscoveredConfig {
    const KIND: &'static str = "discovered_config";
}

/// A consent that a person was asked for. Parts: `[hash of the state]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingConsent {
    /// The sealed verifier is bound to it.
    pub consent_id: CredentialId,
    pub org: String,
    pub workspace: String,
    pub connector: String,
    /// Which of the workspace's connections it is; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// The connection's credential, which contains the OAuth client unless that is a shared one.
    pub credential_id: CredentialId,
    pub credential_revision: u64,
    /// The shared OAuth client that the person was asked for; the connection's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<NotedClient>,
    /// Where the person is redirected back to, exactly.
    pub redirect_uri: String,
    /// Code verifier (RFC 7636), sealed.
    pub sealed_verifier: String,
    /// SHA-256 of the cookie of the browser that was sent away, hexadecimal.
    pub browser: String,
    /// When it expires, RFC 3339.
    pub expires_at: String,
    /// Who started it; unknown for one of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<AuditActor>,
    /// The connect session in which it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Document for PendingConsent {
    const KIND: &'static str = "pending_consent";
}
