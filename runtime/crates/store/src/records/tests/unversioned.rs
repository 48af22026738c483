//! Records in an engine that counts no versions, such as one that other processes write to.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{BoxFuture, Change, HostInstant, SnapshotReport, StoreStats};

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

#[tokio::test]
async fn a_followed_feed_says_when_a_document_is_read_again() {
    let store = Arc::new(Unversioned::default());
    let (records, elsewhere) = (Records::new(store.clone()), Records::new(store.clone()));
    let read = async || records.get_shared::<OrgRecord>(&["acme"]).await.unwrap();
    let reads = || store.reads.load(Ordering::SeqCst);
    let named = |name: &str| OrgRecord { display_name: Some(name.to_owned()), ..org("acme") };
    records.use_until(HostInstant::now().plus(std::time::Duration::from_secs(3600)));
    assert!(read().await.is_none());
    let first = elsewhere.commit(Writes::new().create(&["acme"], &named("first"))).await.unwrap();
    assert_eq!(read().await.unwrap().1, first, "what is missing is read each time");
    let before = reads();
    assert_eq!(read().await.unwrap().1, first);
    assert_eq!(reads(), before, "it is read once");
    assert!(records.kept::<OrgRecord>(&["acme"]).is_some());
    let second = elsewhere.commit(Writes::new().put(&["acme"], &named("second"))).await.unwrap();
    assert_eq!(read().await.unwrap().1, first, "the feed was not read");
    assert!(records.position().unwrap() < second);
    records.changed(&records.changes(first, 10).await.unwrap());
    assert_eq!((read().await.unwrap().1, records.position()), (second, Some(second)));
    let own = records.commit(Writes::new().put(&["acme"], &named("own"))).await.unwrap();
    assert_eq!(read().await.unwrap().1, own, "a commit of one's own counts at once");
    let third = elsewhere.commit(Writes::new().put(&["acme"], &named("third"))).await.unwrap();
    let refused = records.commit(Writes::new().replace(&["acme"], &named("late"), own)).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    assert_eq!(read().await.unwrap().1, third, "who is told of a conflict reads again");
    let fourth = elsewhere.commit(Writes::new().put(&["acme"], &named("fourth"))).await.unwrap();
    records.changed_all(fourth);
    let (document, revision) = read().await.unwrap();
    assert_eq!((revision, records.position()), (fourth, Some(fourth)));
    assert!(Arc::ptr_eq(&document, &read().await.unwrap().0));
    records.changed_all(fourth);
    let again = read().await.unwrap().0;
    assert!(*again == *document && !Arc::ptr_eq(&again, &document), "nor is one of the same revision used");
    elsewhere.commit(Writes::new().delete::<OrgRecord>(&["acme"])).await.unwrap();
    records.changed(&records.changes(fourth, 10).await.unwrap());
    assert!(read().await.is_none());
}

#[tokio::test]
async fn a_feed_that_is_not_followed_any_more_says_nothing() {
    let store = Arc::new(Unversioned::default());
    let (records, elsewhere) = (Records::new(store.clone()), Records::new(store.clone()));
    records.use_until(HostInstant::now());
    elsewhere.commit(Writes::new().create(&["acme"], &org("acme"))).await.unwrap();
    let before = store.reads.load(Ordering::SeqCst);
    for _ in 0..2 {
        records.get_shared::<OrgRecord>(&["acme"]).await.unwrap().unwrap();
    }
    assert_eq!(store.reads.load(Ordering::SeqCst), before + 2);
    assert!(records.kept::<OrgRecord>(&["acme"]).is_none());
}
