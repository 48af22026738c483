//! What can go wrong while sealing and opening.
//!
//! Messages name keys by their ids and never hold key bytes, ciphertext or a credential's value.

use portcullis_core::id::{OrgId, WorkspaceId};

use crate::error::StoreError;

/// Why the vault did not do what was asked.
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
    /// The store holds workspace keys but no key check.
    #[error("the store holds workspace keys but its key check is missing; run `portcullis restore`")]
    KeyCheckMissing,
    /// The text is not a master key. Nothing of it is shown.
    #[error("not a master key: expected one line `pcmk1_` and 43 characters of base64url")]
    InvalidKeyText,
    /// The workspace has no key: it was never made, or was deleted.
    #[error("workspace {org}/{workspace} has no key")]
    NoWorkspaceKey {
        /// The org.
        org: OrgId,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// Something is sealed under a key that is not here.
    #[error("sealed under key {0}, which is not here")]
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
    /// A field's name is not acceptable, occurs twice, or there are too many.
    #[error("credential fields are not acceptable: {0}")]
    InvalidField(&'static str),
    /// The sealed credential would be over the limit.
    #[error("sealed credential would have {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
    /// A key provider outside this process failed.
    #[error("key provider failed: {0}")]
    Provider(String),
    /// The store failed.
    #[error("the vault's records are not usable")]
    Store(#[from] StoreError),
}
