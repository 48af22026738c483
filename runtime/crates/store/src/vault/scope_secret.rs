//! Sealing a random key of 32 bytes that belongs to an org or to the platform, such as that of a webhook. The master key
//! wraps it, bound to whose it is and what it is for, so it cannot be moved to another place.
//!
//! Kept apart from workspace keys: what an org owns outlives each of its workspaces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::associated::Associated;
use super::kek::KeyId;
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

impl Vault {
    /// Makes a random key for a scope. Not stored: the caller writes the second value where it wants.
    ///
    /// # Errors
    /// [`VaultError::Random`], [`VaultError::Provider`].
    pub async fn make_scope_secret(
        &self,
        binding: &ScopeBinding<'_>,
    ) -> Result<(Zeroizing<[u8; 32]>, ScopeSecret), VaultError> {
        let mut key = KeyBytes::default();
        self.random.fill(&mut *key)?;
        let master = self.keks.current();
        let bound = binding.associated(&master);
        let wrapped = self.keks.wrap_key(bound.as_bytes(), &key).await?;
        let sealed = ScopeSecret { master_key_id: master.to_string(), wrapped: BASE64.encode(wrapped) };
        Ok((key, sealed))
    }

    /// Opens what [`Vault::make_scope_secret`] made for the same binding.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if it is not in the format, [`VaultError::Refused`] if it was made for another binding or
    /// changed since, [`VaultError::UnknownKey`] when its master key is gone.
    pub async fn open_scope_secret(
        &self,
        binding: &ScopeBinding<'_>,
        sealed: &ScopeSecret,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let master = KeyId::parse(&sealed.master_key_id)?;
        let wrapped =
            BASE64.decode(&sealed.wrapped).map_err(|_| VaultError::Malformed("it is not base64"))?;
        let bound = binding.associated(&master);
        self.keks.unwrap_key(&master, bound.as_bytes(), &wrapped).await
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
