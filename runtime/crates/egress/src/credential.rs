//! The credential of one call: a handle that can open the sealed record. Opens nothing itself.
//!
//! The gate holds no key. It opens the credential after the TLS handshake, and keeps its texts until the attempt
//! has ended, to remove them from answers.

use std::sync::Arc;

use portcullis_core::host_pattern::HostPattern;
use portcullis_core::outbound::BoxFuture;
use portcullis_core::secret::SecretFields;

/// A credential bound to one connector and workspace, still sealed.
#[derive(Clone)]
pub struct BoundCredential {
    pub slot: String,
    pub version: u64,
    /// The hosts it was sealed for, as stored outside the seal.
    pub allowed_hosts: Vec<String>,
    pub source: Arc<dyn OpenCredential>,
}

/// Why a credential cannot be opened. The opener logs the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The list inside the seal does not have the host. No secret was opened.
    #[error("the credential was not sealed for this host")]
    NotBound,
    /// The record cannot be decrypted or read.
    #[error("the credential cannot be opened")]
    Closed,
}

/// Opens a sealed credential.
pub trait OpenCredential: Send + Sync {
    /// Opens it for one host. Called once per request, after every check and the TLS handshake. The host is
    /// compared with the list inside the seal before any secret is opened.
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>>;

    /// Opens the connection's other secrets, those that a request needed not, so that they can be removed from
    /// its answer: called once an answer has come, and never for a request that was refused. They are sent
    /// nowhere. `all` includes those that [`Self::open`] opens, where it was not called.
    fn open_others(&self, all: bool) -> BoxFuture<'_, Result<SecretFields, CredentialError>> {
        let _ = all;
        Box::pin(async { Ok(SecretFields::default()) })
    }
}

/// Whether one of a credential's host entries matches this host.
#[must_use]
pub fn sealed_for(entries: &[String], host: &str) -> bool {
    entries.iter().any(|entry| HostPattern::text_matches(entry, host))
}
