//! Sealing what belongs to an org or to the platform and not to a workspace, such as an OAuth client: under a key of that
//! scope, which is made when it is first needed.
//!
//! The sealed format is that of credentials, with its list of hosts. Without the key nothing of the scope can be opened.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};

use super::associated::Bound;
use super::ring::{self, ATTEMPTS_MAX};
use super::scope_secret::{self, ScopeBinding, ScopeSecret};
use super::workspace_key::WorkspaceKey;
use super::{KeyBytes, SecretPayload, Vault, VaultError, seal, sealed_bytes};
use crate::records::{Document, Writes};

/// Scopes whose keys are cached unwrapped; if there are more, all are dropped.
const CACHED_KEYS_MAX: usize = 1024;

/// What the keys are sealed for.
const PURPOSE: &str = "scope key";

/// A scope's key, wrapped with a master key. Parts: `[scope]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeKeyRecord {
    /// An org, or a name for the platform that no org can have.
    pub scope: String,
    /// Id of this key; what is sealed under it contains it.
    pub key_id: String,
    pub key: ScopeSecret,
}

impl Document for ScopeKeyRecord {
    const KIND: &'static str = "scope_key";
}

/// What something of a scope is bound to. It opens under exactly this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedBinding {
    /// An org, or a name for the platform that no org can have.
    pub scope: String,
    /// What kind of thing it is, such as `oauth client`.
    pub purpose: &'static str,
    /// The connector it is for.
    pub connector: String,
    /// Which of its kind.
    pub name: String,
    /// Counts up on every write; stored outside the sealed bytes.
    pub revision: u64,
}

impl<'a> From<&'a OwnedBinding> for Bound<'a> {
    fn from(binding: &'a OwnedBinding) -> Self {
        let OwnedBinding { scope, purpose, connector, name, revision } = binding;
        Self {
            texts: [scope.as_str(), *purpose, connector.as_str(), name.as_str()].map(Cow::Borrowed),
            revision: *revision,
        }
    }
}

/// Unwrapped keys by scope.
#[derive(Default)]
pub(super) struct ScopeKeys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Counts deletions, so that a key read before one is not cached after it.
    epoch: u64,
    keys: HashMap<String, Arc<WorkspaceKey>>,
}

impl ScopeKeys {
    fn get(&self, scope: &str) -> Option<Arc<WorkspaceKey>> {
        lock(&self.0).keys.get(scope).filter(|key| key.is_usable()).cloned()
    }

    fn epoch(&self) -> u64 {
        lock(&self.0).epoch
    }

    fn keep(&self, scope: &str, key: &Arc<WorkspaceKey>, epoch: u64) {
        let mut kept = lock(&self.0);
        if kept.epoch != epoch {
            return;
        }
        if kept.keys.len() >= CACHED_KEYS_MAX {
            kept.keys.clear();
        }
        kept.keys.insert(scope.to_owned(), Arc::clone(key));
    }

    fn forget(&self, scope: &str) {
        let mut kept = lock(&self.0);
        kept.epoch = kept.epoch.wrapping_add(1);
        kept.keys.remove(scope);
    }

    pub(super) fn forget_all(&self) {
        let mut kept = lock(&self.0);
        *kept = Kept { epoch: kept.epoch.wrapping_add(1), ..Kept::default() };
    }
}

/// What a scope's key is wrapped for.
pub(super) fn binding(scope: &str) -> ScopeBinding<'_> {
    ScopeBinding { scope, purpose: PURPOSE, name: "key" }
}

impl Vault {
    /// Seals a payload of a scope under a new data key. The scope's key is created if it has none. Not stored: the
    /// caller writes the text where it wants, together with the revision it is bound to.
    ///
    /// # Errors
    /// As for [`Vault::seal`], and [`VaultError::Refused`] if the scope's key does not open.
    pub async fn seal_owned(
        &self,
        binding: &OwnedBinding,
        payload: &SecretPayload,
    ) -> Result<String, VaultError> {
        let key = self.ensure_scope_key(&binding.scope).await?;
        Ok(BASE64.encode(seal::seal(&key, binding, payload, &*self.random)?))
    }

    /// Opens what [`Vault::seal_owned`] made for the same binding, for a use that its sealed host list admits. The list
    /// is opened first and alone: if `admits` refuses, no secret is opened.
    ///
    /// # Errors
    /// As for [`Vault::open_sealed`]; [`VaultError::NoScopeKey`] if the scope's key is gone.
    pub async fn open_owned(
        &self,
        binding: &OwnedBinding,
        sealed: &str,
        admits: impl Fn(&[String]) -> bool + Send,
    ) -> Result<SecretPayload, VaultError> {
        let bytes = sealed_bytes(sealed)?;
        let missing = || VaultError::NoScopeKey { scope: binding.scope.clone() };
        let key = self.scope_key(&binding.scope).await?.ok_or_else(missing)?;
        self.open_under(&key, binding, &bytes, admits)
    }

    /// Deletes a scope's key. Everything sealed under it can never be opened again, also in backups that do not contain
    /// the key record.
    ///
    /// # Errors
    /// Store errors; the key may then still exist.
    pub async fn shred_scope(&self, scope: &str) -> Result<(), VaultError> {
        let deleted = self.records.commit(Writes::new().delete::<ScopeKeyRecord>(&[scope])).await;
        // Also after an error, whose effect is unknown; the next use reads the record again.
        self.scope_keys.forget(scope);
        deleted?;
        Ok(())
    }

    /// Drops a scope's unwrapped key: for a change of [`ScopeKeyRecord`] by another process.
    pub fn forget_scope(&self, scope: &str) {
        self.scope_keys.forget(scope);
    }

    async fn ensure_scope_key(&self, scope: &str) -> Result<Arc<WorkspaceKey>, VaultError> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(key) = self.scope_key(scope).await? {
                return Ok(key);
            }
            let mut bytes = KeyBytes::default();
            self.random.fill(&mut *bytes)?;
            let wrapping = self.wrapping().await?;
            let sealed = scope_secret::wrap(&bytes, &binding(scope), &wrapping).await?;
            let key_id = WorkspaceKey::new(bytes).id.to_string();
            let record = ScopeKeyRecord { scope: scope.to_owned(), key_id, key: sealed };
            match self.records.commit(wrapping.mark.condition(Writes::new().create(&[scope], &record))).await
            {
                // After a conflict another task or process created it, or the ring changed: it is looked at again.
                Ok(_) | Err(crate::StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ring::crowded())
    }

    async fn scope_key(&self, scope: &str) -> Result<Option<Arc<WorkspaceKey>>, VaultError> {
        if let Some(key) = self.scope_keys.get(scope) {
            return Ok(Some(key));
        }
        let epoch = self.scope_keys.epoch();
        let Some((record, _)) = self.records.get::<ScopeKeyRecord>(&[scope]).await? else { return Ok(None) };
        let keks = self.keks();
        let bytes = scope_secret::unwrap(&record.key, &binding(scope), &*keks).await?;
        let key = WorkspaceKey::new(bytes).for_at_most(keks.opened_for());
        if key.id.as_str() != record.key_id {
            return Err(VaultError::Refused);
        }
        let key = Arc::new(key);
        self.scope_keys.keep(scope, &key, epoch);
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::secret::{SecretFields, SecretValue};

    use super::*;
    use crate::records::Records;
    use crate::{MasterKey, MemoryStore};

    async fn vault(records: &Records) -> Vault {
        let master = MasterKey::generate().unwrap();
        Vault::initialise(records.clone(), master.clone()).await.unwrap();
        Vault::open(records.clone(), master).await.unwrap()
    }

    fn owned(scope: &str) -> OwnedBinding {
        OwnedBinding {
            scope: scope.to_owned(),
            purpose: "oauth client",
            connector: "crm".to_owned(),
            name: "client_1".to_owned(),
            revision: 3,
        }
    }

    fn payload() -> SecretPayload {
        let fields = vec![("client_secret".to_owned(), SecretValue::new("canary".to_owned()))];
        let allowed_hosts = vec!["login.example.com".to_owned()];
        SecretPayload { fields: SecretFields::new(fields), allowed_hosts }
    }

    #[tokio::test]
    async fn what_a_scope_owns_opens_for_its_own_binding_and_host_alone() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let vault = vault(&records).await;
        let home = owned("acme");
        let sealed = vault.seal_owned(&home, &payload()).await.unwrap();
        let opened = vault.open_owned(&home, &sealed, |_| true).await.unwrap();
        assert_eq!(opened.fields.get("client_secret").unwrap().expose(), "canary");
        let before = vault.opens();
        let refused = vault.open_owned(&home, &sealed, |hosts| hosts.is_empty()).await;
        assert!(matches!(refused, Err(VaultError::NotAdmitted)));
        assert_eq!(vault.opens(), before, "no secret was opened");
        vault.seal_owned(&owned("globex"), &payload()).await.unwrap();
        for wrong in [
            owned("globex"),
            OwnedBinding { revision: 2, ..home.clone() },
            OwnedBinding { connector: "crm2".to_owned(), ..home.clone() },
            OwnedBinding { name: "client_2".to_owned(), ..home.clone() },
            OwnedBinding { purpose: "other", ..home.clone() },
        ] {
            assert!(vault.open_owned(&wrong, &sealed, |_| true).await.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn without_its_key_nothing_of_a_scope_opens_and_a_new_key_opens_nothing_older() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let vault = vault(&records).await;
        let home = owned("acme");
        let sealed = vault.seal_owned(&home, &payload()).await.unwrap();
        let neighbour = vault.seal_owned(&owned("globex"), &payload()).await.unwrap();
        vault.shred_scope("acme").await.unwrap();
        let gone = vault.open_owned(&home, &sealed, |_| true).await;
        assert!(matches!(gone, Err(VaultError::NoScopeKey { .. })));
        let again = vault.seal_owned(&home, &payload()).await.unwrap();
        assert!(vault.open_owned(&home, &again, |_| true).await.is_ok());
        assert!(matches!(vault.open_owned(&home, &sealed, |_| true).await, Err(VaultError::UnknownKey(_))));
        assert!(vault.open_owned(&owned("globex"), &neighbour, |_| true).await.is_ok());
    }
}
