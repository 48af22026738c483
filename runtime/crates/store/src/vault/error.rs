//! What can go wrong when sealing and opening.
//!
//! Messages name keys by their ids and never contain key bytes, ciphertext or a credential's value.

use portcullis_core::id::{OrgId, WorkspaceId};

use crate::error::StoreError;

/// Why a vault call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The store has no key check: `portcullis init` was never run on it.
    #[error("the store has no master key yet; run `portcullis init` first")]
    NotInitialised,
    /// The store belongs to another master key.
    #[error(
        "wrong master key: the store needs key {stored}, the configured key is {given}; \
         configure the key this store was initialised with"
    )]
    WrongKey {
        /// Id of the key the store was initialised with.
        stored: String,
        /// Id of the current key.
        given: String,
    },
    /// The store contains workspace keys but no key check.
    #[error("the store holds workspace keys but its key check is missing; run `portcullis restore`")]
    KeyCheckMissing,
    /// The text is not a master key. The error shows nothing of it.
    #[error("not a master key: expected one line `pcmk1_` and 43 characters of base64url")]
    InvalidKeyText,
    /// The workspace has no key: it was never created, or was deleted.
    #[error("workspace {org}/{workspace} has no key")]
    NoWorkspaceKey { org: OrgId, workspace: WorkspaceId },
    /// The org or the platform has no key: nothing was sealed for it, or the key was deleted.
    #[error("scope {scope} has no key")]
    NoScopeKey { scope: String },
    /// Something is sealed under a key that is missing.
    #[error("sealed under key {0}, which is missing")]
    UnknownKey(String),
    /// The bytes are not the sealed format.
    #[error("sealed credential is malformed: {0}")]
    Malformed(&'static str),
    /// The bytes are well formed but were sealed for something else, or changed since.
    #[error("sealed credential does not open: it belongs elsewhere or was changed")]
    Refused,
    /// The host list inside the seal does not admit this use. No secret was opened.
    #[error("the credential was not sealed for this host")]
    NotAdmitted,
    /// A field's name is invalid or duplicate, or there are too many.
    #[error("credential fields are not acceptable: {0}")]
    InvalidField(&'static str),
    /// The sealed credential would exceed the limit.
    #[error("sealed credential would have {bytes} bytes, the limit is {limit}")]
    TooLarge {
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The operating system returned no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
    /// A key provider outside this process failed.
    #[error("key provider failed: {0}")]
    Provider(String),
    /// The store failed.
    #[error("the vault's records are not usable")]
    Store(#[from] StoreError),
}
