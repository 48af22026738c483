//! Sealing a random key of 32 bytes that belongs to an org or to the platform, such as that of a webhook. The master key
//! wraps it, bound to whose it is and what it is for, so it cannot be moved to another place.
//!
//! Kept apart from workspace keys: what an org owns outlives each of its workspaces.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::associated::Associated;
use super::kek::{KekProvider, KeyId};
use super::ring::{KeyMark, Wrapping};
use super::{KeyBytes, Vault, VaultError};

/// What a sealed key is bound to. It opens under exactly this and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeBinding<'a> {
    /// An org, or a name for the platform that no org can have.
    pub scope: &'a str,
    /// What kind of thing it is for, such as `webhook`.
    pub purpose: &'static str,
    /// Which of its kind.
    pub name: &'a str,
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSecret {
    /// The master key that wraps it.
    pub master_key_id: String,
    /// The wrapped key, base64.
    pub wrapped: String,
}

impl ScopeBinding<'_> {
    fn associated(&self, master: &KeyId) -> Associated {
        Associated::new("scope secret")
            .item(master.as_str().as_bytes())
            .item(self.scope.as_bytes())
            .item(self.purpose.as_bytes())
            .item(self.name.as_bytes())
    }
}

/// Wraps a key for what it is bound to.
pub(super) async fn wrap(
    key: &KeyBytes,
    binding: &ScopeBinding<'_>,
    wrapping: &Wrapping,
) -> Result<ScopeSecret, VaultError> {
    let bound = binding.associated(&wrapping.id);
    let wrapped = wrapping.wrap(bound.as_bytes(), key).await?;
    Ok(ScopeSecret { master_key_id: wrapping.id.to_string(), wrapped: BASE64.encode(wrapped) })
}

/// Opens a wrapped key, for what it is bound to.
pub(super) async fn unwrap(
    sealed: &ScopeSecret,
    binding: &ScopeBinding<'_>,
    keks: &dyn KekProvider,
) -> Result<KeyBytes, VaultError> {
    let master = KeyId::parse(&sealed.master_key_id)?;
    let wrapped = BASE64.decode(&sealed.wrapped).map_err(|_| VaultError::Malformed("it is not base64"))?;
    keks.unwrap_key(&master, binding.associated(&master).as_bytes(), &wrapped).await
}

/// The same key, wrapped anew; as it is if that is how it is wrapped.
pub(super) async fn rewrap(
    sealed: &ScopeSecret,
    binding: &ScopeBinding<'_>,
    wrapping: &Wrapping,
) -> Result<ScopeSecret, VaultError> {
    if sealed.master_key_id == wrapping.id.as_str() {
        return Ok(sealed.clone());
    }
    let key = unwrap(sealed, binding, &*wrapping.provider).await?;
    wrap(&key, binding, wrapping).await
}

impl Vault {
    /// Makes a random key for a scope. Not stored: the caller writes the second value where it wants, after
    /// [`Vault::settle_scope_secret`].
    ///
    /// # Errors
    /// [`VaultError::Random`], [`VaultError::Provider`].
    pub async fn make_scope_secret(
        &self,
        binding: &ScopeBinding<'_>,
    ) -> Result<(Zeroizing<[u8; 32]>, ScopeSecret), VaultError> {
        let mut key = KeyBytes::default();
        self.random.fill(&mut *key)?;
        let sealed = wrap(&key, binding, &self.wrapping().await?).await?;
        Ok((key, sealed))
    }

    /// What [`Vault::make_scope_secret`] made, wrapped with the master key of now, and the mark under which it may be
    /// stored: what is written under it is never overlooked by a rotation that began in between.
    ///
    /// # Errors
    /// As for [`Vault::open_scope_secret`], and store errors.
    pub async fn settle_scope_secret(
        &self,
        binding: &ScopeBinding<'_>,
        sealed: &ScopeSecret,
    ) -> Result<(ScopeSecret, KeyMark), VaultError> {
        let wrapping = self.wrapping().await?;
        Ok((rewrap(sealed, binding, &wrapping).await?, wrapping.mark))
    }

    /// Opens what [`Vault::make_scope_secret`] made for the same binding.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if it is not in the format, [`VaultError::Refused`] if it was made for another binding or
    /// changed since, [`VaultError::MasterKeyMissing`] when its master key is gone.
    pub async fn open_scope_secret(
        &self,
        binding: &ScopeBinding<'_>,
        sealed: &ScopeSecret,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let keks = self.keks();
        let Some(time) = keks.opened_for() else { return unwrap(sealed, binding, &*keks).await };
        // Why kept only here: where the keys are in this process, opening costs as much as looking.
        let place = OpenedSecrets::place(binding.associated(&KeyId::parse(&sealed.master_key_id)?), sealed);
        if let Some(key) = self.opened.get(&place) {
            return Ok(key);
        }
        let epoch = self.opened.epoch();
        let key = unwrap(sealed, binding, &*keks).await?;
        self.opened.keep(place, &key, time, epoch);
        Ok(key)
    }
}

/// Keys of scopes that a service opened lately.
#[derive(Default)]
pub(super) struct OpenedSecrets(Mutex<Opened>);

#[derive(Default)]
struct Opened {
    /// Counts how often all were dropped, so that none that was opened before is kept after it.
    epoch: u64,
    keys: HashMap<[u8; 32], (KeyBytes, Instant)>,
}

/// Opened keys that are kept: those of busy webhooks; if there are more, all are dropped.
const OPENED_MAX: usize = 1024;

impl OpenedSecrets {
    /// What a key was bound to and how it is wrapped, as one value.
    fn place(bound: Associated, sealed: &ScopeSecret) -> [u8; 32] {
        Sha256::digest(bound.item(sealed.wrapped.as_bytes()).as_bytes()).into()
    }

    fn get(&self, place: &[u8; 32]) -> Option<KeyBytes> {
        let opened = lock(&self.0);
        let (key, until) = opened.keys.get(place)?;
        (Instant::now() < *until).then(|| key.clone())
    }

    fn epoch(&self) -> u64 {
        lock(&self.0).epoch
    }

    fn keep(&self, place: [u8; 32], key: &KeyBytes, time: Duration, epoch: u64) {
        let mut opened = lock(&self.0);
        let Some(until) = Instant::now().checked_add(time).filter(|_| opened.epoch == epoch) else { return };
        if opened.keys.len() >= OPENED_MAX {
            opened.keys.clear();
        }
        opened.keys.insert(place, (key.clone(), until));
    }

    pub(super) fn forget_all(&self) {
        let mut opened = lock(&self.0);
        *opened = Opened { epoch: opened.epoch.wrapping_add(1), ..Opened::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::records::Records;
    use crate::{MasterKey, MemoryStore};

    #[tokio::test]
    async fn a_key_opens_for_its_own_scope_and_name_alone() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let master = MasterKey::generate().unwrap();
        Vault::initialise(records.clone(), master.clone()).await.unwrap();
        let vault = Vault::open(records, master).await.unwrap();
        let binding = |scope, name| ScopeBinding { scope, purpose: "webhook", name };
        let (key, sealed) = vault.make_scope_secret(&binding("acme", "one")).await.unwrap();
        let (other, _) = vault.make_scope_secret(&binding("acme", "one")).await.unwrap();
        assert_ne!(*key, *other);
        assert_eq!(*vault.open_scope_secret(&binding("acme", "one"), &sealed).await.unwrap(), *key);
        for wrong in [binding("globex", "one"), binding("acme", "two"), binding("acmeo", "ne")] {
            assert!(vault.open_scope_secret(&wrong, &sealed).await.is_err());
        }
        let other_purpose = ScopeBinding { purpose: "other", ..binding("acme", "one") };
        assert!(vault.open_scope_secret(&other_purpose, &sealed).await.is_err());
    }
}
