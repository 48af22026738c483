//! A store that several products have open at a time. It counts no versions, so that they share no cache: what one of
//! them commits, the others learn from the feed of changes alone. A memory store keeps the records, or a database.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_store::{
    Batch, BoxFuture, Change, MemoryStore, SnapshotReport, Store, StoreError, StoreStats, Versioned,
};
use tokio::sync::{OwnedMutexGuard, oneshot, watch};

/// The store as one product sees it.
pub(crate) struct SharedStore {
    below: Arc<dyn Store>,
    /// The last commit whose changes this product has applied: the one after which it asks for more.
    followed: watch::Sender<u64>,
    /// Locked while the feed is read, and by a test that delays it.
    feed: Arc<tokio::sync::Mutex<()>>,
    truncated: AtomicBool,
    broken: AtomicBool,
    delayed: Mutex<Option<Delayed>>,
}

/// A key whose next read is delayed after its value was taken.
struct Delayed {
    key: String,
    taken: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

impl SharedStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// Over records that are kept there.
    pub(crate) fn over(below: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            below,
            followed: watch::Sender::default(),
            feed: Arc::default(),
            truncated: AtomicBool::default(),
            broken: AtomicBool::default(),
            delayed: Mutex::default(),
        })
    }

    /// The same records for another product.
    pub(crate) fn another(&self) -> Arc<Self> {
        Self::over(Arc::clone(&self.below))
    }

    /// Waits until this product has applied everything that is committed now.
    pub(crate) async fn followed(&self) {
        let newest = self.below.stats().await.unwrap().seq;
        self.followed.subscribe().wait_for(|seq| *seq >= newest).await.unwrap();
    }

    /// Keeps the feed from this product until the guard is dropped.
    pub(crate) async fn delay_feed(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.feed).lock_owned().await
    }

    /// Refuses the next read of the feed, as if it did not reach back that far.
    pub(crate) fn truncate_feed(&self) {
        self.truncated.store(true, Ordering::SeqCst);
    }

    /// Refuses every read of the feed from now on, or answers again.
    pub(crate) fn break_feed(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Delays this product's next read of a key: the first channel tells that the value was taken, and what is sent to
    /// the second lets the read return it.
    pub(crate) fn delay_read(&self, key: String) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (taken, is_taken) = oneshot::channel();
        let (let_go, go_on) = oneshot::channel();
        *self.delayed.lock().unwrap() = Some(Delayed { key, taken, go_on });
        (is_taken, let_go)
    }
}

impl Store for SharedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            let found = self.below.get(key).await;
            let delayed = self.delayed.lock().unwrap().take_if(|delayed| delayed.key == key);
            if let Some(Delayed { taken, go_on, .. }) = delayed {
                taken.send(()).unwrap();
                go_on.await.unwrap();
            }
            found
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        self.below.list(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.below.commit(batch)
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(async move {
            let _reading = self.feed.lock().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("the feed is broken".to_owned()));
            }
            self.followed.send_replace(since);
            if self.truncated.swap(false, Ordering::SeqCst) {
                return Err(StoreError::ChangesTruncated { since, floor: since + 1 });
            }
            self.below.changes(since, limit).await
        })
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        self.below.snapshot(to)
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        self.below.restore(from)
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        self.below.stats()
    }

    fn version(&self, _key: &str) -> Option<u64> {
        None
    }

    fn is_shared(&self) -> bool {
        true
    }
}
