//! Records in an engine that counts no versions, such as one that other processes write to.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{BoxFuture, Change, SnapshotReport, StoreStats};

/// Counts its reads.
#[derive(Default)]
struct Unversioned {
    below: MemoryStore,
    reads: AtomicU64,
}

impl Store for Unversioned {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
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
        self.below.commit(batch)
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
}

#[tokio::test]
async fn without_versions_every_read_asks_the_engine_and_parses_only_what_changed() {
    let store = Arc::new(Unversioned::default());
    let (records, elsewhere) = (Records::new(store.clone()), Records::new(store.clone()));
    let read = async || records.get_shared::<OrgRecord>(&["acme"]).await.unwrap();
    assert!(read().await.is_none());
    // Large enough to be stored in parts, which are read when it is parsed.
    let large = OrgRecord { display_name: Some("x".repeat(150_000)), ..org("acme") };
    let first = elsewhere.commit(Writes::new().create(&["acme"], &large)).await.unwrap();
    let (document, revision) = read().await.unwrap();
    assert_eq!((&*document, revision), (&large, first));
    let before = store.reads.load(Ordering::SeqCst);
    assert!(Arc::ptr_eq(&document, &read().await.unwrap().0));
    assert_eq!(store.reads.load(Ordering::SeqCst), before + 1, "the document, and none of its parts");
    assert!(records.kept::<OrgRecord>(&["acme"]).is_none(), "what is kept may be old");
    let second = elsewhere.commit(Writes::new().replace(&["acme"], &org("acme"), first)).await.unwrap();
    let (document, revision) = read().await.unwrap();
    assert_eq!((&*document, revision), (&org("acme"), second));
    elsewhere.commit(Writes::new().delete::<OrgRecord>(&["acme"])).await.unwrap();
    assert!(read().await.is_none());
    elsewhere.commit(Writes::new().create(&["acme"], &large)).await.unwrap();
    let (document, _) = read().await.unwrap();
    assert_eq!(*document, large);
    records.forget(["org/acme"]);
    let again = read().await.unwrap().0;
    assert!(*again == *document && !Arc::ptr_eq(&again, &document));
}
