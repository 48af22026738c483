//! Counters that show whether what was read under a key may have been overwritten since.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of counters; each covers a share of all keys, so that a write makes few readers read again.
const COUNTERS: usize = 1024;

/// The counters of one engine in one process.
#[derive(Debug)]
pub(crate) struct Versions(Box<[AtomicU64]>);

impl Default for Versions {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Versions {
    /// The key's counter. Read it before the record: a value that was read under a counter that is
    /// unchanged is still the newest acknowledged one.
    pub(crate) fn of(&self, key: &str) -> u64 {
        self.counter(key).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// Call this after these keys were written, and before the commit is acknowledged.
    pub(crate) fn advance<'k>(&self, keys: impl Iterator<Item = &'k str>) {
        for counter in keys.filter_map(|key| self.counter(key)) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The same for all keys.
    pub(crate) fn advance_all(&self) {
        for counter in &self.0 {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter(&self, key: &str) -> Option<&AtomicU64> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        self.0.get(usize::try_from(hash).unwrap_or_default() % COUNTERS)
    }
}
