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
use super::ring::{self, KeyRingRecord};
use super::{KeyBytes, VaultError, rotation};

/// More master keys than any rotation needs at once.
pub(super) const KEYS_MAX: usize = 64;

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

/// Checks that the keys there are include the one that wraps and all that something is wrapped with, and that those which
/// the store knows are the same.
pub(super) async fn check_keys(records: &Records, keks: &dyn KekProvider) -> Result<(), VaultError> {
    let held = keks.key_ids();
    let names = || held.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ");
    let checks = records.list::<KeyCheckRecord>(&[], None, KEYS_MAX).await?;
    if checks.is_empty() {
        return Err(VaultError::NotInitialised);
    }
    let wrong = |stored: &str| VaultError::WrongKey { stored: stored.to_owned(), given: names() };
    let is_held = |part: &str| held.iter().any(|id| id.as_str() == part);
    let (known, unknown): (Vec<_>, Vec<_>) = checks.iter().partition(|(part, _, _)| is_held(part));
    for (part, check, _) in &known {
        match check_key(keks, part, check).await {
            Ok(()) => {}
            Err(error @ VaultError::Provider(_)) => return Err(error),
            Err(_) => return Err(wrong(&check.key_id)),
        }
    }
    let (current, _) = ring::current(records, keks).await?;
    if known.is_empty() {
        return Err(wrong(current.as_str()));
    }
    let needed = |key_id: &str, what: String| VaultError::MasterKeyNeeded {
        key_id: key_id.to_owned(),
        what,
        held: names(),
    };
    if !is_held(current.as_str()) {
        return Err(needed(current.as_str(), "it is the one that wraps new keys".to_owned()));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let wrapped = rotation::wrapped_by(records).await?;
    for (part, _, _) in unknown {
        let count = wrapped.get(part.as_str()).copied().unwrap_or_default();
        if count > 0 {
            return Err(needed(part, format!("{count} keys of this store are wrapped with it")));
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

/// The check of a key.
pub(super) async fn make_check(keks: &dyn KekProvider, id: &KeyId) -> Result<KeyCheckRecord, VaultError> {
    let wrapped = keks.wrap_key(id, associated(id).as_bytes(), &known_value()).await?;
    let check = KeyCheckRecord { key_id: id.to_string(), wrapped: BASE64.encode(wrapped) };
    // Why opened again: what cannot be is found before anything depends on the key.
    check_key(keks, id.as_str(), &check).await?;
    Ok(check)
}

/// Begins the ring of a store that has none, with the first key there is.
pub(super) async fn begin_ring(records: &Records, keks: &dyn KekProvider) -> Result<(), VaultError> {
    let id = keks.key_ids().into_iter().next().ok_or(VaultError::InvalidKeyText)?;
    let check = make_check(keks, &id).await?;
    let ring = KeyRingRecord { current: id.to_string(), promoted_ms: None };
    records.commit(Writes::new().create(&[id.as_str()], &check).create(&KeyRingRecord::PARTS, &ring)).await?;
    Ok(())
}

fn associated(id: &KeyId) -> Associated {
    Associated::new("key check").item(id.as_str().as_bytes())
}

fn known_value() -> KeyBytes {
    KeyBytes::new(Sha256::digest(b"portcullis key check v1").into())
}
