//! A store that dies like its process: at a chosen commit everything that would reach it stops for ever,
//! and the engine below is let go, so that another process, here another product, may open it.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use portcullis_store::{Batch, BoxFuture, Change, SnapshotReport, Store, StoreError, StoreStats, Versioned};

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// Instead of the commit: nothing of it is kept.
    Before,
    /// After the commit is durable, and before anybody hears of it.
    After,
}

/// Which records, how many commits of them from now, and when.
type Crash = (&'static str, usize, CrashPoint);

/// The store.
#[derive(Clone)]
pub(crate) struct CrashingStore {
    below: Arc<Mutex<Option<Arc<dyn Store>>>>,
    /// Part of a key, how many commits of it are let through, and what then.
    planned: Arc<Mutex<Option<Crash>>>,
    shared: bool,
}

impl CrashingStore {
    /// A living store.
    pub(crate) fn new(below: impl Store) -> Self {
        let below: Arc<dyn Store> = Arc::new(below);
        Self { below: Arc::new(Mutex::new(Some(below))), planned: Arc::default(), shared: false }
    }

    /// The same, which says that several processes may have it open.
    pub(crate) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// It dies at the commit of such a key after so many others of it.
    pub(crate) fn crashes_at(&self, key: &'static str, after: usize, point: CrashPoint) {
        *self.planned.lock().unwrap() = Some((key, after, point));
    }

    /// Whether it is dead.
    pub(crate) fn has_crashed(&self) -> bool {
        self.below.lock().unwrap().is_none()
    }

    /// Dies now.
    pub(crate) fn crash(&self) {
        self.below.lock().unwrap().take();
    }

    /// The engine; for ever nothing once it is dead.
    async fn alive(&self) -> Arc<dyn Store> {
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
        Box::pin(async move { self.alive().await.get(key).await })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        Box::pin(async move { self.alive().await.list(prefix, after, limit).await })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let point = self.crash_point(&batch);
            if point == Some(CrashPoint::Before) {
                self.crash();
            }
            let done = self.alive().await.commit(batch).await;
            if point == Some(CrashPoint::After) {
                self.crash();
                return std::future::pending().await;
            }
            done
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(async move { self.alive().await.changes(since, limit).await })
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move { self.alive().await.snapshot(to).await })
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move { self.alive().await.restore(from).await })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        Box::pin(async move { self.alive().await.stats().await })
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}
