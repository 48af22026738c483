//! Counters that show whether what was read under a key may have been overwritten since.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Added to a counter while a write of one of its keys is under way. Below it is the count of finished writes.
const WRITING: u64 = 1 << 48;

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
    /// The key's counter; `None` while it is being written. Read it before the record: a value that was read under a
    /// counter that is unchanged is still the newest one.
    pub(crate) fn of(&self, key: &str) -> Option<u64> {
        let count = self.counter(key).map_or(0, |counter| counter.load(Ordering::SeqCst));
        (count < WRITING).then_some(count)
    }

    /// Call this before these keys are written, and drop the result after that and before the commit is acknowledged.
    ///
    /// Why before, too: the keys of a commit change at one moment and their counters one after the other. If the
    /// counters only followed, a reader of two of them could get the new record and the old one's copy.
    #[must_use]
    pub(crate) fn writing<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Writing<'_> {
        let counters: Vec<_> = keys.filter_map(|key| self.counter(key)).collect();
        for counter in &counters {
            counter.fetch_add(WRITING, Ordering::SeqCst);
        }
        Writing(counters)
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

/// A write that is under way.
pub(crate) struct Writing<'v>(Vec<&'v AtomicU64>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.fetch_sub(WRITING - 1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_no_version_while_it_is_written_and_another_one_after_that() {
        let versions = Versions::default();
        let before = versions.of("a/1");
        assert!(before.is_some());
        // Twice: two keys may have the same counter.
        let writing = versions.writing(["a/1", "a/1"].into_iter());
        assert_eq!(versions.of("a/1"), None);
        let other = versions.writing(["a/1"].into_iter());
        drop(writing);
        assert_eq!(versions.of("a/1"), None, "the other write is under way");
        drop(other);
        assert!(versions.of("a/1").is_some_and(|now| Some(now) > before));
    }
}
