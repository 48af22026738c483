//! The credential of one call: a handle that can be opened, and the moment it is.
//!
//! The gate holds no key. It is handed something that can open the sealed record, opens it after
//! the TLS handshake, and lets go of it when the request is written.

use std::sync::Arc;

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

/// An opened credential.
pub struct OpenedCredential {
    /// Its fields.
    pub fields: SecretFields,
    /// Host entries it was sealed for; a host outside them never receives it.
    pub allowed_hosts: Vec<String>,
}

/// Why a credential cannot be opened. Details go to the log of the opener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential cannot be opened")]
pub struct CredentialError;

/// Opens a sealed credential.
pub trait OpenCredential: Send + Sync {
    /// Opens it. Called once per request, after every check and the TLS handshake.
    fn open(&self) -> BoxFuture<'_, Result<OpenedCredential, CredentialError>>;
}
