//! A store that dies like its process: at a chosen commit everything that would reach it stops for ever,
//! and the engine below is let go, so that another process, here another product, may open it.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use portcullis_store::{Batch, BoxFuture, Change, SnapshotReport, Store, StoreError, StoreStats, Versioned};

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Instead of the commit: nothing of it is kept.
    Before,
    /// After the commit is durable, and before anybody hears of it.
    After,
}

/// Which records, how many commits of them from now, and when.
type Death = (&'static str, usize, Moment);

/// The store.
#[derive(Clone)]
pub(crate) struct Mortal {
    below: Arc<Mutex<Option<Arc<dyn Store>>>>,
    /// Part of a key, how many commits of it are let through, and what then.
    death: Arc<Mutex<Option<Death>>>,
    shared: bool,
}

impl Mortal {
    /// A living store.
    pub(crate) fn new(below: impl Store) -> Self {
        let below: Arc<dyn Store> = Arc::new(below);
        Self { below: Arc::new(Mutex::new(Some(below))), death: Arc::default(), shared: false }
    }

    /// The same, which says that several processes may have it open.
    pub(crate) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// It dies at the commit of such a key after so many others of it.
    pub(crate) fn dies_at(&self, key: &'static str, after: usize, moment: Moment) {
        *self.death.lock().unwrap() = Some((key, after, moment));
    }

    /// Whether it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.below.lock().unwrap().is_none()
    }

    /// Dies now.
    pub(crate) fn die(&self) {
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

    fn fate(&self, batch: &Batch) -> Option<Moment> {
        let mut death = self.death.lock().unwrap();
        let (key, left, moment) = death.as_mut()?;
        if !format!("{batch:?}").contains(*key) {
            return None;
        }
        let now = *left == 0;
        *left = left.saturating_sub(1);
        now.then_some(*moment)
    }
}

impl Store for Mortal {
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
            let fate = self.fate(&batch);
            if fate == Some(Moment::Before) {
                self.die();
            }
            let done = self.alive().await.commit(batch).await;
            if fate == Some(Moment::After) {
                self.die();
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
