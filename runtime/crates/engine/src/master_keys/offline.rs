//! A rotation on a stopped server, by `portcullis key rotate`.

use portcullis_store::{
    Document as _, KeyId, KeyRingRecord, KeyRotation, Records, RewrapPlace, StoreError, Vault, VaultError,
    Writes,
};

use super::promotion_alone;
use crate::audit_log;
use crate::clock;

/// Records looked at in one step.
const STEP_RECORDS: usize = 200;
/// Walks over everything: nobody else changes anything, so the second finds nothing.
const WALKS_MAX: u32 = 3;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineStep {
    /// Keys that were wrapped anew.
    pub rewrapped: u64,
    /// Keys that are left.
    pub remaining: u64,
}

/// Promotes a key and wraps anew what others wrap, to the end. Calling it again after it was cut off completes it.
///
/// # Errors
/// Those of [`Vault::promotion`] and of the store; a key that cannot be wrapped anew.
pub async fn rotate_offline(
    records: &Records,
    vault: &Vault,
    id: &KeyId,
    mut told: impl FnMut(OfflineStep) + Send,
) -> Result<OfflineStep, VaultError> {
    if let Some(writes) = promotion_alone(vault, id).await? {
        audit_log::commit_offline(records, vault, "rotateMasterKey", &[KeyRingRecord::KIND], writes).await?;
    }
    let left = async || -> Result<u64, VaultError> {
        let wrapped = vault.wrapped_by().await?;
        Ok(wrapped.iter().filter(|(own, _)| own.as_str() != id.as_str()).map(|(_, count)| count).sum())
    };
    let all = left().await?;
    let mut rewrapped = 0_u64;
    for _ in 0..WALKS_MAX {
        let mut place = Some(RewrapPlace::start());
        while let Some(at) = place {
            let step = vault.rewrap(at, STEP_RECORDS).await?;
            if let Some((key, error)) = step.failed {
                tracing::error!(key, "it cannot be wrapped anew");
                return Err(error);
            }
            rewrapped = rewrapped.saturating_add(step.rewrapped);
            told(OfflineStep { rewrapped, remaining: all.saturating_sub(rewrapped) });
            place = step.next;
        }
        let remaining = left().await?;
        if remaining == 0 {
            finish(records, id, rewrapped).await?;
            return Ok(OfflineStep { rewrapped, remaining });
        }
    }
    Err(StoreError::Unavailable("the store is changed by another process".to_owned()).into())
}

/// Notes the end, so that the next start finds nothing to do.
async fn finish(records: &Records, id: &KeyId, rewrapped: u64) -> Result<(), StoreError> {
    let now_ms = clock::now_ms();
    let found = records.get::<KeyRotation>(&KeyRotation::PARTS).await?;
    let before = found.map(|(rotation, _)| rotation).filter(|rotation| rotation.key_id == id.as_str());
    let mut rotation = before.unwrap_or_else(|| KeyRotation::begun(id.as_str(), now_ms));
    if rotation.finished_ms.is_none() {
        rotation.rewrapped = rotation.rewrapped.saturating_add(rewrapped);
        rotation.finished_ms = Some(now_ms);
        rotation.problem = None;
        records.commit(Writes::new().put(&KeyRotation::PARTS, &rotation)).await?;
    }
    Ok(())
}
