//! The credential of one call: a handle that can be opened, and the moment it is.
//!
//! The gate holds no key. It is handed something that can open the sealed record, opens it after
//! the TLS handshake, and lets go of it when the request is written.

use std::sync::Arc;

use portcullis_core::host_pattern::HostPattern;
use portcullis_core::outbound::BoxFuture;
use portcullis_core::secret::SecretFields;

/// A credential bound to one connector and workspace, still sealed.
#[derive(Clone)]
pub struct BoundCredential {
    /// The slot's name.
    pub slot: String,
    /// Version of the stored record.
    pub version: u64,
    /// Host entries it was sealed for, as known without opening it.
    pub allowed_hosts: Vec<String>,
    /// Opens it.
    pub source: Arc<dyn OpenCredential>,
}

/// Why a credential cannot be opened. Details go to the log of the opener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The host list inside the seal does not name the host. No secret was opened.
    #[error("the credential was not sealed for this host")]
    NotBound,
    /// It does not open.
    #[error("the credential cannot be opened")]
    Closed,
}

/// Opens a sealed credential.
pub trait OpenCredential: Send + Sync {
    /// Opens it for one host. Called once per request, after every check and the TLS handshake. The
    /// host is held against the list inside the seal before any secret is opened.
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>>;
}

/// Whether one of a credential's host entries means this host.
#[must_use]
pub fn sealed_for(entries: &[String], host: &str) -> bool {
    entries.iter().any(|entry| HostPattern::text_matches(entry, host))
}
