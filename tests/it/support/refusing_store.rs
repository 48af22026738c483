//! A memory store that refuses chosen requests a number of times, as a database that is away for a while does. A commit may
//! be refused after it was made: then its outcome is not known.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use portcullis_store::{
    Batch, BoxFuture, Change, MemoryStore, SnapshotReport, Store, StoreError, StoreStats, Versioned,
};

/// Which requests are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Reads of a key.
    Reads,
    /// Commits to a key; nothing of them is stored.
    Commits,
    /// Commits to a key, which are stored all the same.
    Answers,
}

#[derive(Debug)]
struct Plan {
    what: Refused,
    /// The beginning of the keys.
    key: &'static str,
    /// How many go through before.
    after: usize,
    left: usize,
}

#[derive(Clone)]
pub(crate) struct RefusingStore {
    below: Arc<MemoryStore>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl RefusingStore {
    pub(crate) fn new() -> Self {
        Self { below: Arc::new(MemoryStore::new()), plan: Arc::default() }
    }

    /// The records, of which nothing is refused.
    pub(crate) fn below(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.below)
    }

    /// Refuses requests about keys that begin so: `times` of them, after `after` others.
    pub(crate) fn refuse(&self, what: Refused, key: &'static str, after: usize, times: usize) {
        *self.plan.lock().unwrap() = Some(Plan { what, key, after, left: times });
    }

    /// How many are refused still.
    pub(crate) fn left(&self) -> usize {
        self.plan.lock().unwrap().as_ref().map_or(0, |plan| plan.left)
    }

    fn is_refused(&self, what: Refused, key: &str) -> bool {
        let mut plan = self.plan.lock().unwrap();
        let Some(plan) = plan.as_mut().filter(|plan| plan.what == what && key.starts_with(plan.key)) else {
            return false;
        };
        if plan.after > 0 {
            plan.after -= 1;
            return false;
        }
        let is_refused = plan.left > 0;
        plan.left = plan.left.saturating_sub(1);
        is_refused
    }
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("the database is away".to_owned()))
}

impl Store for RefusingStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        if self.is_refused(Refused::Reads, key) {
            return Box::pin(async { away() });
        }
        self.below.get(key)
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
        let is_refused = |what| batch.writes().iter().any(|(key, _)| self.is_refused(what, key));
        if is_refused(Refused::Commits) {
            return Box::pin(async { away() });
        }
        let is_made_and_refused = is_refused(Refused::Answers);
        Box::pin(async move {
            let made = self.below.commit(batch).await;
            if is_made_and_refused { away() } else { made }
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        self.below.changes(since, limit)
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

    fn is_shared(&self) -> bool {
        self.below.is_shared()
    }
}
