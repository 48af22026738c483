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
    /// Something is wrapped with a master key that the configured ring does not have.
    #[error(
        "master key {key_id} is needed: {what}, and the configured key ring has only {held}; put its line back, or start \
         with it once more and rotate: `portcullis key show` tells when nothing is wrapped with it any more"
    )]
    MasterKeyNeeded {
        /// Id of the key that is missing.
        key_id: String,
        /// What it is needed for.
        what: String,
        /// Ids of the keys that there are.
        held: String,
    },
    /// Something that is to be opened, or wrapped, needs a master key that this process does not have.
    #[error(
        "master key {key_id} is not in the key ring of this process; put its line into the master key file, or back into \
         its provider, and send SIGHUP or start again"
    )]
    MasterKeyMissing {
        /// Id of the key.
        key_id: String,
    },
    /// The store contains workspace keys but no key check.
    #[error("the store holds workspace keys but its key check is missing; run `portcullis restore`")]
    KeyCheckMissing,
    /// The text is not a master key. The error shows nothing of it.
    #[error("not a master key: expected a line `pcmk1_` and 43 characters of base64url")]
    InvalidKeyText,
    /// A line of a key ring is not usable. The error shows nothing of it.
    #[error("line {line} of the key ring: {reason}")]
    InvalidKeyRing {
        /// The line's number, from 1.
        line: usize,
        reason: &'static str,
    },
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
