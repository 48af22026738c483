//! What every engine of records must do.

use std::io::Write;
use std::sync::{Arc, Mutex};

use portcullis_store::{
    BATCH_OPERATIONS_MAX, Batch, Change, KEY_BYTES_MAX, Precondition, SnapshotReport, Store, StoreError,
    VALUE_BYTES_MAX,
};

/// Runs everything, each check on a fresh store.
pub async fn check_all<S: Store>(fresh: impl Fn() -> Arc<S>) {
    batches_are_atomic(&*fresh()).await;
    preconditions_decide(&*fresh()).await;
    limits_are_enforced(&*fresh()).await;
    lists_are_ordered_pages(&*fresh()).await;
    changes_follow_commits(&*fresh()).await;
    large_values_survive(&*fresh()).await;
    snapshots_restore(&*fresh(), &*fresh()).await;
    broken_snapshots_leave_nothing(&*fresh(), &*fresh()).await;
    concurrent_commits_all_count(fresh()).await;
}

/// A sink whose bytes can be read after the store has dropped it.
#[derive(Clone, Default)]
pub struct Sink(pub Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn put(key: &str, value: &str) -> Batch {
    Batch::new().put(key, value.as_bytes().to_vec())
}

async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let found = store.get(key).await.unwrap()?;
    Some(String::from_utf8(found.value).unwrap())
}

async fn batches_are_atomic(store: &dyn Store) {
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(store.commit(Batch::new()).await.unwrap(), 0);
    let seq = store.commit(put("a", "1").put("b", b"2".to_vec())).await.unwrap();
    assert_eq!(seq, 1);
    let refused = put("c", "3").delete("a").require("zz", Precondition::Present);
    let error = store.commit(refused).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { key } if key == "zz"));
    assert_eq!(value(store, "a").await.as_deref(), Some("1"));
    assert_eq!(value(store, "c").await, None);
    let seq = store.commit(put("c", "3").delete("a").delete("never")).await.unwrap();
    assert_eq!(seq, 2);
    assert_eq!(value(store, "a").await, None);
    assert_eq!(store.get("b").await.unwrap().unwrap().revision, 1);
    assert_eq!(store.get("c").await.unwrap().unwrap().revision, 2);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.seq, stats.records), (2, 2));
}

async fn preconditions_decide(store: &dyn Store) {
    let first = store.commit(put("k", "1").require("k", Precondition::Absent)).await.unwrap();
    let cases = [
        (Precondition::Absent, false),
        (Precondition::Present, true),
        (Precondition::Revision(first), true),
        (Precondition::Revision(first + 1), false),
        (Precondition::Revision(0), false),
    ];
    for (precondition, holds) in cases {
        let checked = store.commit(Batch::new().require("k", precondition)).await;
        assert_eq!(checked.is_ok(), holds, "{precondition:?}");
    }
    let second = store.commit(put("k", "2").require("k", Precondition::Revision(first))).await;
    let second = second.unwrap();
    assert!(store.commit(put("k", "x").require("k", Precondition::Revision(first))).await.is_err());
    assert_eq!(store.get("k").await.unwrap().unwrap().revision, second);
    // A check alone does not count as a commit.
    let same = store.commit(Batch::new().require("k", Precondition::Present)).await.unwrap();
    assert_eq!(same, second);
}

async fn limits_are_enforced(store: &dyn Store) {
    let fits = Batch::new().put("k", vec![7; VALUE_BYTES_MAX]);
    store.commit(fits).await.unwrap();
    let over = Batch::new().put("k", vec![7; VALUE_BYTES_MAX + 1]);
    let error = store.commit(over).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: 65_537, limit: 65_536, .. }));
    let longest = "k".repeat(KEY_BYTES_MAX);
    store.commit(put(&longest, "1")).await.unwrap();
    for bad in ["", "a b", "a\0", "é", "a\n", &"k".repeat(KEY_BYTES_MAX + 1)] {
        let error = store.commit(put(bad, "1")).await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidKey { .. }), "{bad:?}");
        assert!(store.get(bad).await.is_err(), "{bad:?}");
    }
    let many = |count: usize| (0..count).fold(Batch::new(), |b, i| b.put(format!("m/{i}"), vec![]));
    store.commit(many(BATCH_OPERATIONS_MAX)).await.unwrap();
    let error = store.commit(many(BATCH_OPERATIONS_MAX + 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::BatchTooLarge { operations: 257, limit: 256 }));
}

async fn lists_are_ordered_pages(store: &dyn Store) {
    for key in ["a/2", "a/1", "a", "b/1", "a/3", "a0"] {
        store.commit(put(key, key)).await.unwrap();
    }
    let keys = async |prefix: &str, after: Option<&str>, limit: usize| -> Vec<String> {
        let found = store.list(prefix, after, limit).await.unwrap();
        for (key, found) in &found {
            assert_eq!(found.value, key.as_bytes());
        }
        found.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys("a/", None, 10).await, ["a/1", "a/2", "a/3"]);
    assert_eq!(keys("a/", None, 2).await, ["a/1", "a/2"]);
    assert_eq!(keys("a/", Some("a/2"), 2).await, ["a/3"]);
    assert_eq!(keys("a/", Some("a/25"), 2).await, ["a/3"]);
    assert_eq!(keys("a/", Some("a"), 1).await, ["a/1"]);
    assert!(keys("a/", Some("b"), 9).await.is_empty());
    assert!(keys("a/", None, 0).await.is_empty());
    assert!(keys("c", None, 9).await.is_empty());
    assert_eq!(keys("", None, 99).await, ["a", "a/1", "a/2", "a/3", "a0", "b/1"]);
}

async fn changes_follow_commits(store: &dyn Store) {
    store.commit(put("a", "1").put("b", b"1".to_vec())).await.unwrap();
    store.commit(put("a", "2").delete("absent")).await.unwrap();
    store.commit(Batch::new().delete("b")).await.unwrap();
    let change = |seq, key: &str, deleted| Change { seq, key: key.to_owned(), deleted };
    let all = [change(1, "a", false), change(1, "b", false), change(2, "a", false), change(3, "b", true)];
    assert_eq!(store.changes(0, 10).await.unwrap(), all);
    assert_eq!(store.changes(1, 10).await.unwrap(), all[2..]);
    assert_eq!(store.changes(0, 1).await.unwrap(), all[..2], "a commit is never split");
    assert!(store.changes(3, 10).await.unwrap().is_empty());
    let wide = (0..BATCH_OPERATIONS_MAX)
        .fold(Batch::new(), |batch, i| batch.put(format!("{i:0>250}"), b"x".to_vec()));
    let seq = store.commit(wide).await.unwrap();
    let wide = store.changes(3, 1).await.unwrap();
    assert_eq!(wide.len(), BATCH_OPERATIONS_MAX);
    assert!(wide.iter().all(|change| change.seq == seq && change.key.len() == 250));
}

async fn large_values_survive(store: &dyn Store) {
    for bytes in [0, 1, 4095, 4096, 4097, 8192, 65_535, 65_536] {
        let value: Vec<u8> = (0..bytes).map(|i| u8::try_from(i % 251).unwrap()).collect();
        store.commit(Batch::new().put("v", value.clone())).await.unwrap();
        assert_eq!(store.get("v").await.unwrap().unwrap().value, value, "{bytes}");
    }
    store.commit(Batch::new().delete("v")).await.unwrap();
    assert_eq!(store.get("v").await.unwrap(), None);
}

async fn fill(store: &dyn Store) {
    for i in 0..150_u32 {
        let value = vec![7; usize::try_from(i).unwrap() * 100];
        store.commit(Batch::new().put(format!("k/{i:04}"), value)).await.unwrap();
    }
    store.commit(Batch::new().delete("k/0003")).await.unwrap();
}

async fn snapshots_restore(store: &dyn Store, other: &dyn Store) {
    fill(store).await;
    let sink = Sink::default();
    let report = store.snapshot(Box::new(sink.clone())).await.unwrap();
    assert_eq!(report, SnapshotReport { records: 149, seq: 151 });
    let bytes = sink.0.lock().unwrap().clone();
    let restored = other.restore(Box::new(std::io::Cursor::new(bytes.clone()))).await.unwrap();
    assert_eq!(restored, report);
    let before = store.list("", None, 1000).await.unwrap();
    assert_eq!(other.list("", None, 1000).await.unwrap(), before);
    assert!(matches!(other.changes(150, 9).await, Err(StoreError::ChangesTruncated { floor: 151, .. })));
    assert_eq!(other.commit(put("next", "1")).await.unwrap(), 152);
    assert_eq!(other.changes(151, 9).await.unwrap().len(), 1);
    let again = other.restore(Box::new(std::io::Cursor::new(bytes))).await;
    assert!(matches!(again, Err(StoreError::NotEmpty)));
}

async fn broken_snapshots_leave_nothing(store: &dyn Store, other: &dyn Store) {
    fill(store).await;
    let sink = Sink::default();
    store.snapshot(Box::new(sink.clone())).await.unwrap();
    let good = sink.0.lock().unwrap().clone();
    let mut broken: Vec<Vec<u8>> =
        [0, 7, 8, 20, good.len() / 2, good.len() - 1].iter().map(|&end| good[..end].to_vec()).collect();
    for at in [0, 9, 17, 20, 30, good.len() / 2, good.len() - 40, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        broken.push(flipped);
    }
    for bytes in broken {
        let error = other.restore(Box::new(std::io::Cursor::new(bytes))).await.unwrap_err();
        assert!(matches!(error, StoreError::BadSnapshot(_)), "{error}");
        assert!(other.list("", None, 9).await.unwrap().is_empty());
    }
    other.restore(Box::new(std::io::Cursor::new(good))).await.unwrap();
    assert_eq!(other.stats().await.unwrap().records, 149);
}

async fn concurrent_commits_all_count<S: Store>(store: Arc<S>) {
    let mut tasks = Vec::new();
    for task in 0..16_u32 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            for i in 0..10_u32 {
                // A counter that is only correct with compare-and-set.
                loop {
                    let found = store.get("count").await.unwrap();
                    let (count, precondition) = match &found {
                        Some(found) => (
                            u64::from_be_bytes(*found.value.first_chunk().unwrap()),
                            Precondition::Revision(found.revision),
                        ),
                        None => (0, Precondition::Absent),
                    };
                    let batch = Batch::new()
                        .require("count", precondition)
                        .put("count", (count + 1).to_be_bytes().to_vec())
                        .put(format!("t/{task}/{i}"), vec![1]);
                    match store.commit(batch).await {
                        Ok(_) => break,
                        Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let found = store.get("count").await.unwrap().unwrap();
    assert_eq!(found.value, 160_u64.to_be_bytes());
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.seq, stats.records), (160, 161));
}
