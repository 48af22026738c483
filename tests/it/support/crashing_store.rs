//! A store that crashes as its process would: from a chosen commit on, every call to it stays pending. It
//! drops the engine below, so that another product can open the same files.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_store::{
    Batch, BoxFuture, Change, SledStore, SnapshotReport, Store, StoreError, StoreStats, Versioned,
};

/// When it crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// Before the commit: nothing of it is stored.
    Before,
    /// After the commit is durable, before its caller gets the result.
    After,
}

/// Part of a key, how many commits with it still succeed, and when the store then crashes.
type Crash = (&'static str, usize, CrashPoint);

#[derive(Clone)]
pub(crate) struct CrashingStore {
    below: Arc<Mutex<Option<Arc<dyn Store>>>>,
    planned: Arc<Mutex<Option<Crash>>>,
    shared: bool,
}

impl CrashingStore {
    /// A store that has no crash planned yet.
    pub(crate) fn new(below: impl Store) -> Self {
        let below: Arc<dyn Store> = Arc::new(below);
        Self { below: Arc::new(Mutex::new(Some(below))), planned: Arc::default(), shared: false }
    }

    /// The same, but `is_shared` is true.
    pub(crate) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Crashes at a commit with this part in a key, after `after` further commits with it.
    pub(crate) fn crashes_at(&self, key: &'static str, after: usize, point: CrashPoint) {
        *self.planned.lock().unwrap() = Some((key, after, point));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.below.lock().unwrap().is_none()
    }

    pub(crate) fn crash(&self) {
        self.below.lock().unwrap().take();
    }

    /// The engine; pending once the store has crashed.
    async fn running(&self) -> Arc<dyn Store> {
        let below = self.below.lock().unwrap().clone();
        match below {
            Some(below) => below,
            None => std::future::pending().await,
        }
    }

    fn crash_point(&self, batch: &Batch) -> Option<CrashPoint> {
        let mut planned = self.planned.lock().unwrap();
        let (key, left, point) = planned.as_mut()?;
        if !format!("{batch:?}").contains(*key) {
            return None;
        }
        let now = *left == 0;
        *left = left.saturating_sub(1);
        now.then_some(*point)
    }
}

impl Store for CrashingStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move { self.running().await.get(key).await })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        Box::pin(async move { self.running().await.list(prefix, after, limit).await })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let point = self.crash_point(&batch);
            if point == Some(CrashPoint::Before) {
                self.crash();
            }
            let done = self.running().await.commit(batch).await;
            if point == Some(CrashPoint::After) {
                self.crash();
                return std::future::pending().await;
            }
            done
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(async move { self.running().await.changes(since, limit).await })
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move { self.running().await.snapshot(to).await })
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move { self.running().await.restore(from).await })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        Box::pin(async move { self.running().await.stats().await })
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}

/// The store of the next process, after the last one has released the directory.
pub(crate) async fn reopen(dir: &Path) -> Arc<dyn Store> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match SledStore::open(dir) {
            Ok(store) => return Arc::new(store),
            Err(StoreError::AlreadyOpen { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
