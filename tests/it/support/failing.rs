//! A store whose disk fails while a switch is on; otherwise every call goes to a memory store.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_store::{
    Batch, BoxFuture, Change, MemoryStore, SnapshotReport, Store, StoreError, StoreStats, Versioned,
};

/// A memory store with a switch.
pub(crate) struct Failing {
    below: MemoryStore,
    broken: Arc<AtomicBool>,
}

impl Failing {
    /// The store, and its switch, which is off.
    pub(crate) fn new() -> (Self, Arc<AtomicBool>) {
        let broken = Arc::new(AtomicBool::new(false));
        (Self { below: MemoryStore::new(), broken: Arc::clone(&broken) }, broken)
    }

    fn or<'a, T: Send + 'a>(
        &self,
        work: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if self.broken.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("the disk is gone".to_owned())) });
        }
        work
    }
}

impl Store for Failing {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        self.or(self.below.get(key))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        self.or(self.below.list(prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.or(self.below.commit(batch))
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        self.or(self.below.changes(since, limit))
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        self.or(self.below.snapshot(to))
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        self.or(self.below.restore(from))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        self.or(self.below.stats())
    }

    fn is_shared(&self) -> bool {
        self.below.is_shared()
    }
}
