//! The key with which a storage seals its own rows. Random, and wrapped by a master key like every other one; but the text is
//! kept by the storage beside its records, because they cannot be read without it.

use zeroize::Zeroizing;

use super::kek::{KeyId, MasterKeyRing};
use super::random::{OsRandom, RandomSource as _};
use super::ring::{ATTEMPTS_MAX, KeyMark, Wrapping, crowded};
use super::scope_secret::{self, ScopeBinding, ScopeSecret};
use super::{KeyBytes, Vault, VaultError};
use crate::records::Records;
use crate::webhooks::PLATFORM_SCOPE;

const BINDING: ScopeBinding<'static> =
    ScopeBinding { scope: PLATFORM_SCOPE, purpose: "storage key", name: "rows" };

fn parsed(text: &str) -> Result<ScopeSecret, VaultError> {
    serde_json::from_str(text).map_err(|_| VaultError::Malformed("the storage's key is not in its form"))
}

fn text(wrapped: &ScopeSecret) -> Result<String, VaultError> {
    serde_json::to_string(wrapped).map_err(|_| VaultError::Malformed("the storage's key cannot be written"))
}

/// Makes the key of a storage that holds nothing yet, and its text, wrapped with the master key `id`, or with the first.
///
/// # Errors
/// [`VaultError::Random`], [`VaultError::MasterKeyMissing`], [`VaultError::Provider`].
pub async fn make_own_key(
    keys: &MasterKeyRing,
    id: Option<&KeyId>,
) -> Result<(Zeroizing<[u8; 32]>, String), VaultError> {
    let id = id.cloned().or_else(|| keys.key_ids().into_iter().next()).ok_or(VaultError::InvalidKeyText)?;
    let wrapping = Wrapping { provider: keys.provider().clone(), id, mark: KeyMark::none() };
    let mut key = KeyBytes::default();
    OsRandom.fill(&mut *key)?;
    let wrapped = scope_secret::wrap(&key, &BINDING, &wrapping).await?;
    Ok((key, text(&wrapped)?))
}

/// Opens the key of a storage.
///
/// # Errors
/// [`VaultError::MasterKeyMissing`] where the master key that wraps it is not among these, [`VaultError::Malformed`],
/// [`VaultError::Refused`], [`VaultError::Provider`].
pub async fn open_own_key(keys: &MasterKeyRing, wrapped: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    scope_secret::unwrap(&parsed(wrapped)?, &BINDING, &**keys.provider()).await
}

/// Id of the master key that wraps the storage's own key; `None` where it has none.
pub(super) async fn master(records: &Records) -> Result<Option<String>, VaultError> {
    let wrapped = records.store().own_key().await?;
    wrapped.map(|wrapped| Ok(parsed(&wrapped)?.master_key_id)).transpose()
}

impl Vault {
    /// Wraps the storage's own key with the current master key; returns whether it was wrapped with another.
    pub(super) async fn rewrap_own_key(&self) -> Result<bool, VaultError> {
        let mut done = false;
        for _ in 0..ATTEMPTS_MAX {
            let store = self.records.store();
            let Some(before) = store.own_key().await? else { return Ok(false) };
            let (sealed, wrapping) = (parsed(&before)?, self.wrapping().await?);
            if sealed.master_key_id == wrapping.id.as_str() {
                return Ok(done);
            }
            let after = text(&scope_secret::rewrap(&sealed, &BINDING, &wrapping).await?)?;
            // Why looked at again: it is no record, so it cannot be stored under the condition that the ring is the same.
            done |= store.exchange_own_key(&before, &after).await?;
        }
        Err(crowded())
    }
}
