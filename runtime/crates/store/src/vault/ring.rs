//! The key ring of a store: which master key wraps, by a record that all processes share, and how a process changes the keys
//! that it has.
//!
//! What is wrapped is stored under the condition that the ring is still the one it was wrapped by ([`KeyMark`]). So nothing
//! that was wrapped with an older key can be stored once a promotion is, and a count of 0 stays 0.

use std::sync::{Arc, Mutex};

use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};

use super::check::{self, KEYS_MAX, KeyCheckRecord};
use super::kek::{KekProvider, KeyId, MasterKeyRing};
use super::{KeyBytes, Vault, VaultError};
use crate::error::StoreError;
use crate::records::{Document, Key, Records, Writes};

/// How often something is tried while others change the ring.
pub(super) const ATTEMPTS_MAX: u32 = 20;

/// Which master key wraps. Parts: [`KeyRingRecord::PARTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRingRecord {
    /// Id of the key.
    pub current: String,
    /// When it was promoted, milliseconds since 1970; absent for the key that the store was initialised with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_ms: Option<u64>,
}

impl Document for KeyRingRecord {
    const KIND: &'static str = "key_ring";
}

impl KeyRingRecord {
    /// There is one ring in a store.
    pub const PARTS: [&'static str; 1] = ["ring"];
}

/// The state of the ring that something was wrapped by; what was, may be stored only while it is the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what was wrapped may be stored under this condition alone"]
pub struct KeyMark {
    /// The commit that wrote the ring; none where the store is from before there was one.
    revision: Option<u64>,
}

impl KeyMark {
    /// Of a store that has no ring yet.
    pub(super) const fn none() -> Self {
        Self { revision: None }
    }

    /// Adds the condition.
    pub fn condition(self, writes: Writes) -> Writes {
        match self.revision {
            Some(revision) => writes.require_revision::<KeyRingRecord>(&KeyRingRecord::PARTS, revision),
            None => writes.require_absent::<KeyRingRecord>(&KeyRingRecord::PARTS),
        }
    }

    /// Whether an error says that the condition does not hold any more.
    #[must_use]
    pub fn is_over(error: &StoreError) -> bool {
        let own = Key::of::<KeyRingRecord>(&KeyRingRecord::PARTS).ok();
        matches!(error, StoreError::Conflict { key } if Some(key) == own.as_ref())
    }
}

/// What wraps now.
pub(super) struct Wrapping {
    pub(super) provider: Arc<dyn KekProvider>,
    pub(super) id: KeyId,
    pub(super) mark: KeyMark,
}

impl Wrapping {
    pub(super) async fn wrap(&self, associated: &[u8], key: &KeyBytes) -> Result<Vec<u8>, VaultError> {
        self.provider.wrap_key(&self.id, associated, key).await
    }
}

/// The master keys that a vault has at the moment.
pub(super) struct Held(Mutex<MasterKeyRing>);

impl Held {
    pub(super) fn new(keys: MasterKeyRing) -> Self {
        Self(Mutex::new(keys))
    }

    fn provider(&self) -> Arc<dyn KekProvider> {
        Arc::clone(lock(&self.0).provider())
    }

    fn replace(&self, keys: MasterKeyRing) {
        *lock(&self.0) = keys;
    }
}

/// The error of something that others changed each time.
pub(super) fn crowded() -> VaultError {
    StoreError::Unavailable("the key ring is changed by too many at once; nothing was stored".to_owned())
        .into()
}

/// The key that wraps, and its mark.
pub(super) async fn current(
    records: &Records,
    keks: &dyn KekProvider,
) -> Result<(KeyId, KeyMark), VaultError> {
    if let Some((ring, revision)) = records.get::<KeyRingRecord>(&KeyRingRecord::PARTS).await? {
        return Ok((KeyId::parse(&ring.current)?, KeyMark { revision: Some(revision) }));
    }
    // A store from before there were rings has one key, whose check it has.
    let checks = records.list::<KeyCheckRecord>(&[], None, KEYS_MAX).await?;
    let is_known = |id: &KeyId| checks.iter().any(|(part, _, _)| part == id.as_str());
    let known = keks.key_ids().into_iter().find(is_known);
    let first = || checks.first().and_then(|(part, _, _)| KeyId::parse(part).ok());
    let id = known.or_else(first).ok_or(VaultError::NotInitialised)?;
    Ok((id, KeyMark { revision: None }))
}

impl Vault {
    /// The provider of the master keys.
    pub(super) fn keks(&self) -> Arc<dyn KekProvider> {
        self.held.provider()
    }

    /// What wraps now. Read from the store each time: another process may have promoted a key.
    pub(super) async fn wrapping(&self) -> Result<Wrapping, VaultError> {
        let provider = self.keks();
        let (id, mark) = current(&self.records, &*provider).await?;
        Ok(Wrapping { provider, id, mark })
    }

    /// Ids of the master keys that this process has.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.keks().key_ids()
    }

    /// What the provider calls a key, if it has a name besides its id.
    #[must_use]
    pub fn key_name(&self, id: &KeyId) -> Option<String> {
        self.keks().name_of(id)
    }

    /// The master key that wraps what is new.
    ///
    /// # Errors
    /// Store errors.
    pub async fn current_key(&self) -> Result<KeyId, VaultError> {
        Ok(current(&self.records, &*self.keks()).await?.0)
    }

    /// Looks again whether these are the keys that the store needs: another process may have promoted one.
    ///
    /// # Errors
    /// As for [`Vault::open`].
    pub async fn check_keys(&self) -> Result<(), VaultError> {
        check::check_keys(&self.records, &*self.keks()).await
    }

    /// Takes other master keys from now on. What was opened stays open.
    ///
    /// # Errors
    /// As for [`Vault::open`], such as [`VaultError::MasterKeyNeeded`] where a key is missing with which something is
    /// wrapped; the keys before then stay.
    pub async fn replace_keys(&self, keys: impl Into<MasterKeyRing>) -> Result<(), VaultError> {
        let keys = keys.into();
        check::check_keys(&self.records, &**keys.provider()).await?;
        self.held.replace(keys);
        Ok(())
    }
}
