//! Keys for other purposes than sealing, such as digests of the audit log: made once, stored wrapped, so that they stay the
//! same when the master key is another one.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ring::{self, ATTEMPTS_MAX};
use super::scope_secret::{self, ScopeBinding, ScopeSecret};
use super::{KeyBytes, Vault, VaultError};
use crate::error::StoreError;
use crate::records::{Document, Writes};
use crate::webhooks::PLATFORM_SCOPE;

/// A key for a purpose, wrapped with a master key. Parts: `[purpose]`, with hyphens for spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKeyRecord {
    pub key: ScopeSecret,
}

impl Document for StoredKeyRecord {
    const KIND: &'static str = "stored_key";
}

/// What such a key is wrapped for.
pub(super) const fn binding(part: &str) -> ScopeBinding<'_> {
    ScopeBinding { scope: PLATFORM_SCOPE, purpose: "stored key", name: part }
}

impl Vault {
    /// The key for a purpose, which is words with spaces between them. The first time it is derived from the master key,
    /// where that is in this process, as versions before did each time; else it is random.
    ///
    /// # Errors
    /// As for [`Vault::open_scope_secret`], and store errors.
    pub async fn key_for(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let part = purpose.replace(' ', "-");
        for _ in 0..ATTEMPTS_MAX {
            if let Some((record, _)) = self.records.get::<StoredKeyRecord>(&[&part]).await? {
                return scope_secret::unwrap(&record.key, &binding(&part), &*self.keks()).await;
            }
            let wrapping = self.wrapping().await?;
            let key = match wrapping.provider.derive(&wrapping.id, purpose) {
                Some(key) => key,
                None => {
                    let mut key = KeyBytes::default();
                    self.random.fill(&mut *key)?;
                    key
                }
            };
            let record = StoredKeyRecord { key: scope_secret::wrap(&key, &binding(&part), &wrapping).await? };
            match self.records.commit(wrapping.mark.condition(Writes::new().create(&[&part], &record))).await
            {
                // After a conflict another process made it, or the ring changed: it is looked at again.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ring::crowded())
    }
}
