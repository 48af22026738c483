//! The key check: a known value under each master key, so that the product does not start with a wrong key.
//!
//! Without it a wrong key would be noticed only when the first credential does not open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::records::{Document, Records, Writes};

use super::associated::Associated;
use super::kek::{KekProvider, KeyId};
use super::{KeyBytes, VaultError};

/// More master keys than any rotation needs at once.
const KEYS_MAX: usize = 64;

/// A known value wrapped with a master key. Parts: `[key_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCheckRecord {
    pub key_id: String,
    /// The wrapped value, base64.
    pub wrapped: String,
}

impl Document for KeyCheckRecord {
    const KIND: &'static str = "key_check";
}

/// Checks every key that the store knows, and that the current one is among them.
pub(super) async fn check_keys(records: &Records, keks: &dyn KekProvider) -> Result<(), VaultError> {
    let current = keks.current();
    let checks = records.list::<KeyCheckRecord>(&[], None, KEYS_MAX).await?;
    let Some((_, first, _)) = checks.first() else {
        return Err(VaultError::NotInitialised);
    };
    let wrong = |stored: &str| VaultError::WrongKey { stored: stored.to_owned(), given: current.to_string() };
    if checks.iter().all(|(_, check, _)| check.key_id != current.as_str()) {
        return Err(wrong(&first.key_id));
    }
    for (part, check, _) in &checks {
        match check_key(keks, part, check).await {
            Ok(()) => {}
            Err(error @ VaultError::Provider(_)) => return Err(error),
            Err(_) => return Err(wrong(&check.key_id)),
        }
    }
    Ok(())
}

async fn check_key(keks: &dyn KekProvider, part: &str, check: &KeyCheckRecord) -> Result<(), VaultError> {
    let id = KeyId::parse(part)?;
    let wrapped =
        BASE64.decode(&check.wrapped).map_err(|_| VaultError::Malformed("a key check is not base64"))?;
    let opened = keks.unwrap_key(&id, associated(&id).as_bytes(), &wrapped).await?;
    if bool::from(opened.as_slice().ct_eq(known_value().as_slice())) {
        Ok(())
    } else {
        Err(VaultError::Refused)
    }
}

/// Writes the check of the current key into a store that has none.
pub(super) async fn write_key_check(records: &Records, keks: &dyn KekProvider) -> Result<(), VaultError> {
    records.commit(with_key_check(Writes::new(), keks).await?).await?;
    Ok(())
}

/// Adds the check of the current key to the writes that initialise a store.
pub(super) async fn with_key_check(writes: Writes, keks: &dyn KekProvider) -> Result<Writes, VaultError> {
    let id = keks.current();
    let wrapped = keks.wrap_key(associated(&id).as_bytes(), &known_value()).await?;
    let check = KeyCheckRecord { key_id: id.to_string(), wrapped: BASE64.encode(wrapped) };
    Ok(writes.create(&[id.as_str()], &check))
}

fn associated(id: &KeyId) -> Associated {
    Associated::new("key check").item(id.as_str().as_bytes())
}

fn known_value() -> KeyBytes {
    KeyBytes::new(Sha256::digest(b"portcullis key check v1").into())
}
