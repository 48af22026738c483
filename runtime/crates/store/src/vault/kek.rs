//! Ids of keys, and the provider that wraps workspace keys with master keys: keys in this process, or a service whose
//! keys never enter it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::hex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::task::BoxFuture;

use super::VaultError;
use super::command::CommandKeys;
use super::joined::Joined;
use super::master_key::{MasterKey, MasterKeys};

/// The public name of a key: 16 lower-case hex digits, derived from it and revealing nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(
    // Invariant: 16 lower-case hex digits.
    String,
);

impl KeyId {
    /// Parses a text.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] unless it is 16 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 16 && hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(VaultError::Malformed("a key id is not 16 hex digits"))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The start of a SHA-256 over a label and the key. Keys are random, so this reveals nothing.
    pub(super) fn derive(label: &str, key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(label);
        hash.update(key);
        let digest: [u8; 32] = hash.finalize().into();
        Self(hex::encode(digest.first_chunk::<8>().unwrap_or(&[0; 8])))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The holder of master keys: this process, or a service. Which of them wraps is decided by the store's key ring.
pub trait KekProvider: Send + Sync + 'static {
    /// The keys that it has, at least one. A new store begins with the first.
    fn key_ids(&self) -> Vec<KeyId>;

    /// What the service calls a key, if its id was made of that.
    fn name_of(&self, _id: &KeyId) -> Option<String> {
        None
    }

    /// Wraps 32 bytes with the key `id`, bound to `associated`.
    ///
    /// Errors: [`VaultError::MasterKeyMissing`], [`VaultError::Random`], [`VaultError::Provider`].
    fn wrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>>;

    /// Opens what was wrapped with the key `id`, bound to the same `associated`.
    ///
    /// Errors: [`VaultError::MasterKeyMissing`], [`VaultError::Refused`], [`VaultError::Provider`].
    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>>;

    /// A key for another purpose, derived from the key `id`; `None` where that cannot be had, because the key is not in
    /// this process.
    fn derive(&self, _id: &KeyId, _purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        None
    }

    /// How long what it opened may be used before it is asked again; `None` where the keys are in this process anyway.
    fn opened_for(&self) -> Option<Duration> {
        None
    }
}

/// The master keys of this process, wherever they are. Cheap to clone.
#[derive(Clone)]
pub struct MasterKeyRing(Arc<dyn KekProvider>);

impl MasterKeyRing {
    /// The keys of that provider.
    pub fn new(provider: impl KekProvider) -> Self {
        Self(Arc::new(provider))
    }

    /// These keys, and behind them those of another holder: as while one moves from one to the other.
    #[must_use]
    pub fn and(self, second: Self) -> Self {
        Self::new(Joined { first: self, second })
    }

    /// Ids of the keys; the first is the one that a new store begins with.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.0.key_ids()
    }

    pub(super) fn provider(&self) -> &Arc<dyn KekProvider> {
        &self.0
    }
}

impl fmt::Debug for MasterKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKeyRing").field(&self.0.key_ids()).finish()
    }
}

impl From<MasterKey> for MasterKeyRing {
    fn from(key: MasterKey) -> Self {
        Self::new(MasterKeys::new(key))
    }
}

impl From<MasterKeys> for MasterKeyRing {
    fn from(keys: MasterKeys) -> Self {
        Self::new(keys)
    }
}

impl From<CommandKeys> for MasterKeyRing {
    fn from(keys: CommandKeys) -> Self {
        Self::new(keys)
    }
}
