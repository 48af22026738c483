//! Drops the oldest records of a chain. The head notes the last one that goes before any is deleted, so that a deletion
//! which is interrupted leaves a chain that verifies, and the next one completes it.

use super::{AuditEntry, AuditHead, AuditOrder, AuditPlace, AuditScope, ms_back, place_of, seq_back};
use crate::error::StoreError;
use crate::records::{Records, Writes};

/// Records deleted in one batch, each with its place in the order.
const DELETED_AT_ONCE: usize = 100;
/// Keys read at a time.
const READ_AT_ONCE: usize = 500;
/// How often a cut is tried while records are added.
const ATTEMPTS_MAX: usize = 20;

/// What may stay in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCut {
    /// Records from before this time go, milliseconds since 1970.
    pub before_ms: u64,
    /// The most records.
    pub entries: u64,
}

/// Drops what is too old or one too many. Returns how many records were deleted.
///
/// # Errors
/// Those of the store; some may be deleted already.
pub async fn trim_audit(records: &Records, scope: &AuditScope, cut: AuditCut) -> Result<u64, StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some((head, commit)) = records.get::<AuditHead>(&[scope.part()]).await? else { return Ok(0) };
        let known = head.cut.as_ref().map_or(0, |cut| cut.seq);
        let Some(last) = last_to_go(records, scope, &head, cut).await?.filter(|last| last.seq > known) else {
            return delete_dropped(records, scope, &head).await;
        };
        let head = AuditHead { cut: Some(last), ..head };
        match records.commit(Writes::new().replace(&[scope.part()], &head, commit)).await {
            Ok(_) => return delete_dropped(records, scope, &head).await,
            // Records were added meanwhile.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    // Why no error: the next look finds them again.
    Ok(0)
}

/// The newest record that goes.
async fn last_to_go(
    records: &Records,
    scope: &AuditScope,
    head: &AuditHead,
    cut: AuditCut,
) -> Result<Option<AuditPlace>, StoreError> {
    let first_kept = head.seq.saturating_sub(cut.entries).saturating_add(1);
    let old = ms_back(cut.before_ms.saturating_sub(1));
    let old_key = records.keys::<AuditEntry>(&[scope.part()], Some(&[old]), 1).await?.into_iter().next();
    let by_age = old_key.as_deref().and_then(place).map_or(0, |(_, seq)| seq);
    let through = by_age.max(first_kept.saturating_sub(1));
    if through == 0 {
        return Ok(None);
    }
    if let Some(parts) = old_key.filter(|_| by_age == through) {
        return entry_at(records, scope, &parts).await;
    }
    // Why looked for: a key begins with the time, and here only the position is known.
    let mut after: Option<Vec<String>> = None;
    loop {
        let page = records.keys::<AuditEntry>(&[scope.part()], after.as_deref(), READ_AT_ONCE).await?;
        if let Some(parts) = page.iter().find(|parts| place(parts).is_some_and(|(_, seq)| seq <= through)) {
            return entry_at(records, scope, parts).await;
        }
        let Some(last) = page.last().filter(|_| page.len() == READ_AT_ONCE) else { return Ok(None) };
        after = Some(last.clone());
    }
}

fn place(parts: &[String]) -> Option<(u64, u64)> {
    let [ms, seq] = parts else { return None };
    place_of(ms, seq)
}

async fn entry_at(
    records: &Records,
    scope: &AuditScope,
    parts: &[String],
) -> Result<Option<AuditPlace>, StoreError> {
    let ([ms, seq], Some((at_ms, _))) = (parts, place(parts)) else { return Ok(None) };
    let found = records.get::<AuditEntry>(&[scope.part(), ms, seq]).await?;
    Ok(found.map(|(entry, _)| AuditPlace { seq: entry.seq, hash: entry.hash, at_ms }))
}

/// Deletes everything from the cut on, which the chain does without.
async fn delete_dropped(records: &Records, scope: &AuditScope, head: &AuditHead) -> Result<u64, StoreError> {
    let Some(cut) = &head.cut else { return Ok(0) };
    let after = vec![ms_back(cut.at_ms), seq_back(cut.seq.saturating_add(1))];
    let mut deleted = 0_u64;
    loop {
        let page = records.keys::<AuditEntry>(&[scope.part()], Some(&after), DELETED_AT_ONCE).await?;
        if page.is_empty() {
            return Ok(deleted);
        }
        let mut writes = Writes::new();
        for parts in &page {
            if let [ms, seq] = parts.as_slice() {
                writes = writes.delete::<AuditEntry>(&[scope.part(), ms, seq]).delete::<AuditOrder>(&[
                    ms,
                    scope.part(),
                    seq,
                ]);
            }
        }
        records.commit(writes).await?;
        deleted = deleted.saturating_add(page.len() as u64);
    }
}
