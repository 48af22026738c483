//! What is stored, by kind, and what could be given back. Nothing is looked through for an answer: files are measured in
//! the background, and the store counts its own.

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::metrics::measured_disk;

/// What the embedded store takes on disk for its records right after a compaction: so many times their bytes, and this
/// much besides, measured. What it takes beyond that is what a compaction gives back.
const COMPACT_FACTOR: u64 = 3;
const COMPACT_BASE_BYTES: u64 = 2 * 1024 * 1024;

/// A compaction pays where it gives back at least this much, and half of what there is: it needs a stop.
const PAYS_BYTES: u64 = 256 * 1024 * 1024;

/// What of one kind is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKind {
    /// `store`, `ledger`, `runs`, `modules` or `compiled`.
    pub kind: &'static str,
    /// Bytes on disk.
    pub bytes: u64,
    /// Number of records, where that is known without counting.
    pub records: Option<u64>,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageUse {
    pub kinds: Vec<StorageKind>,
    /// Bytes that `portcullis compact` would give back, estimated; none where the store gives them back itself.
    pub reclaimable_bytes: Option<u64>,
    /// Whether that is worth a stop.
    pub compact_pays: bool,
    /// How old the figures are, besides those of the store.
    pub age_s: u64,
}

/// What could be given back of so many bytes on disk, with so many of records.
#[must_use]
pub fn reclaimable(disk_bytes: u64, live_bytes: u64) -> u64 {
    let compact = live_bytes.saturating_mul(COMPACT_FACTOR).saturating_add(COMPACT_BASE_BYTES);
    disk_bytes.saturating_sub(compact)
}

/// Whether a compaction that gives back so many of these bytes is worth a stop.
#[must_use]
pub const fn compact_pays(disk_bytes: u64, reclaimable_bytes: u64) -> bool {
    reclaimable_bytes >= PAYS_BYTES && reclaimable_bytes >= disk_bytes / 2
}

/// What is stored by this process.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn show(engine: &Engine, caller: &Caller) -> Result<StorageUse, Error> {
    caller.platform()?;
    let store = engine.resources.records.store();
    let stats = store.stats().await?;
    let (disk, age_s) = measured_disk(engine).await;
    let mut kinds =
        vec![StorageKind { kind: "store", bytes: stats.disk_bytes, records: Some(stats.records) }];
    kinds.extend(disk.into_iter().map(|(kind, bytes)| StorageKind { kind, bytes, records: None }));
    let live = store.live_bytes().filter(|_| stats.disk_bytes > 0);
    let reclaimable_bytes = live.map(|live| reclaimable(stats.disk_bytes, live));
    let compact_pays = reclaimable_bytes.is_some_and(|bytes| compact_pays(stats.disk_bytes, bytes));
    Ok(StorageUse { kinds, reclaimable_bytes, compact_pays, age_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_pays_where_it_gives_back_much_and_the_greater_part() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(reclaimable(5 * MIB, MIB), 0);
        assert_eq!(reclaimable(500 * MIB, 10 * MIB), 468 * MIB);
        assert!(compact_pays(500 * MIB, 468 * MIB));
        assert!(!compact_pays(100 * MIB, 90 * MIB), "too little for a stop");
        assert!(!compact_pays(10_000 * MIB, 300 * MIB), "a small part");
    }
}
