//! Snapshots that are taken while others write: each is the store of one moment.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::KeptBounds;
use crate::backend::archive::read_archive;
use crate::{Batch, SledStore, SnapshotReport, Store as _, StoreError};

/// Collects a snapshot; each write waits until it is let go.
struct Slow {
    bytes: Arc<Mutex<Vec<u8>>>,
    go: Option<mpsc::Receiver<()>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(go) = &self.go {
            // The sender is gone once the snapshot may run.
            let _ = go.recv();
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type State = BTreeMap<String, (u64, Vec<u8>)>;

fn read(bytes: &[u8]) -> (SnapshotReport, State) {
    let mut state = State::new();
    let report = read_archive(&mut &*bytes, &mut |key, found| {
        assert!(state.insert(key, (found.revision, found.value)).is_none());
        Ok(())
    });
    (report.unwrap(), state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_during_a_snapshot_and_none_of_them_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(dir.path()).unwrap());
    let mut model = State::new();
    for n in 0..2000_u32 {
        let (key, value) = (format!("k/{n:05}"), vec![b'a'; 300 + (n as usize % 7) * 1500]);
        let seq = store.commit(Batch::new().put(key.clone(), value.clone())).await.unwrap();
        model.insert(key, (seq, value));
    }
    let at_seq = store.stats().await.unwrap().seq;
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (let_go, go) = mpsc::channel();
    let begun = Arc::new(AtomicBool::new(false));
    let (noting, to) = (Arc::clone(&begun), Slow { bytes: Arc::clone(&bytes), go: Some(go) });
    let taking = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let at = Box::new(move || {
                noting.store(true, Ordering::SeqCst);
                Ok(())
            });
            store.snapshot_at(at, Box::new(to)).await
        })
    };
    while !begun.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The snapshot cannot go on, and every kind of commit is made and acknowledged beside it.
    for n in 0..500_u32 {
        let batch = Batch::new()
            .put(format!("k/{:05}", n * 4), b"replaced".to_vec())
            .delete(format!("k/{:05}", n * 4 + 1));
        store
            .commit(batch.put(format!("k/{n:05}x"), b"new".to_vec()).append("z/", b"appended".to_vec()))
            .await
            .unwrap();
    }
    assert!(!taking.is_finished());
    drop(let_go);
    let report = taking.await.unwrap().unwrap();
    assert_eq!((report.seq, report.records), (at_seq, 2000));
    let (read_report, state) = read(&bytes.lock().unwrap());
    assert_eq!(read_report, report);
    assert_eq!(state, model);
    // The next one has them.
    let bytes = Arc::new(Mutex::new(Vec::new()));
    store.snapshot(Box::new(Slow { bytes: Arc::clone(&bytes), go: None })).await.unwrap();
    let (report, state) = read(&bytes.lock().unwrap());
    assert_eq!(report.records, 2000 - 500 + 500 + 500);
    assert_eq!(state["k/00000"].1, b"replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_snapshots_under_load_is_the_store_of_its_own_moment() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(dir.path()).unwrap());
    let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Two keys that are always written together, far from each other, and a history of what each commit wrote.
    let history: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
    let writing = {
        let (store, stop, committed, history) =
            (store.clone(), stop.clone(), committed.clone(), history.clone());
        tokio::spawn(async move {
            let mut n = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                let value = n.to_string().into_bytes();
                let batch = Batch::new()
                    .put("a/first", value.clone())
                    .put("z/last", value)
                    .put(format!("m/{:03}", n % 700), vec![0; 2000]);
                let seq = store.commit(batch).await.unwrap();
                history.lock().unwrap().insert(seq, n);
                committed.store(n, Ordering::SeqCst);
            }
        })
    };
    while committed.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..20 {
        let acknowledged = history.lock().unwrap().last_key_value().map_or(0, |(seq, _)| *seq);
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let report = store.snapshot(Box::new(Slow { bytes: Arc::clone(&bytes), go: None })).await.unwrap();
        let (_, state) = read(&bytes.lock().unwrap());
        assert!(report.seq >= acknowledged, "what was acknowledged before is in it");
        assert_eq!(state["a/first"], state["z/last"], "no commit is in it by half");
        assert_eq!(state["a/first"].0, report.seq, "the last commit is in it");
        assert!(state.values().all(|(revision, _)| *revision <= report.seq));
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_nobody_waits_for_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    store.commit(Batch::new().put("k", vec![1])).await.unwrap();
    for _ in 0..20 {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let taking = store.snapshot(Box::new(Slow { bytes, go: None }));
        // Dropped as soon as it has begun, or before.
        let _ = tokio::time::timeout(Duration::from_micros(50), taking).await;
        store.commit(Batch::new().put("k", vec![2])).await.unwrap();
    }
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no room"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(store.snapshot(Box::new(Broken)).await.unwrap_err().to_string().contains("no room"));
    let refused =
        store.snapshot_at(Box::new(|| Err(crate::StoreError::NotEmpty)), Box::new(Vec::new())).await;
    assert!(refused.is_err());
    store.commit(Batch::new().put("k", vec![3])).await.unwrap();
    assert!(store.snapshot(Box::new(Vec::new())).await.is_ok());
}

/// A store with some records, in which little is kept for a snapshot, and what is in it.
async fn filled(dir: &Path, kept: KeptBounds) -> (Arc<SledStore>, State) {
    let store = SledStore::open_bounded(dir, None, kept).unwrap();
    let mut model = State::new();
    for hundred in 0..20_u32 {
        let numbers = (0..100_u32).map(|n| hundred * 100 + n);
        let records: Vec<_> =
            numbers.map(|n| (format!("k/{n:05}"), vec![n as u8; 300 + (n as usize % 7) * 1500])).collect();
        let batch = records.iter().fold(Batch::new(), |batch, (key, value)| batch.put(key, value.clone()));
        let seq = store.commit(batch).await.unwrap();
        model.extend(records.into_iter().map(|(key, value)| (key, (seq, value))));
    }
    (Arc::new(store), model)
}

/// Begins a snapshot that cannot go on, replaces and deletes most records beside it, and lets it go on.
async fn snapshot_beside_changes(store: &Arc<SledStore>) -> (Result<SnapshotReport, StoreError>, Vec<u8>) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (let_go, go) = mpsc::channel();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let to = Slow { bytes: Arc::clone(&bytes), go: Some(go) };
    let taking: JoinHandle<_> = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let at = Box::new(move || {
                begun.send(()).unwrap();
                Ok(())
            });
            store.snapshot_at(at, Box::new(to)).await
        })
    };
    has_begun.await.unwrap();
    for n in 0..1000_u32 {
        let batch = Batch::new()
            .put(format!("k/{:05}", n * 2), b"replaced".to_vec())
            .delete(format!("k/{:05}", n * 2 + 1));
        // A commit that waited for the snapshot would wait for ever.
        let committed = tokio::time::timeout(Duration::from_secs(60), store.commit(batch)).await;
        committed.expect("it waits for the snapshot").unwrap();
    }
    drop(let_go);
    let report = taking.await.unwrap();
    let bytes = bytes.lock().unwrap().clone();
    (report, bytes)
}

/// Whether a snapshot has all that is there.
async fn is_taken(store: &Arc<SledStore>) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    store.snapshot(Box::new(Slow { bytes: Arc::clone(&bytes), go: None })).await.unwrap();
    let (_, state) = read(&bytes.lock().unwrap());
    assert_eq!(state.len(), 1000);
    assert!(state.values().all(|(_, value)| value == b"replaced"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_beyond_the_memory_is_in_a_file_without_a_name_and_no_commit_waits() {
    let dir = tempfile::tempdir().unwrap();
    for values_bytes_max in [0, 1_000_000] {
        let dir = dir.path().join(values_bytes_max.to_string());
        let (store, model) = filled(&dir, KeptBounds { values_bytes_max, ..KeptBounds::default() }).await;
        std::fs::write(dir.join("snapshot.kept"), "what a process left that was killed").unwrap();
        let (report, bytes) = snapshot_beside_changes(&store).await;
        let (read_report, state) = read(&bytes);
        assert_eq!(report.unwrap(), read_report);
        assert_eq!(state, model);
        assert!(!dir.join("snapshot.kept").exists());
        is_taken(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_would_keep_too_much_is_given_up_and_no_commit_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(dir.path(), KeptBounds { keys_bytes_max: 20_000, ..KeptBounds::default() }).await;
    let refused = snapshot_beside_changes(&store).await.0.unwrap_err();
    assert!(refused.to_string().contains("too much was changed"), "{refused}");
    is_taken(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_made_ends_the_snapshot_and_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(dir.path(), KeptBounds { values_bytes_max: 0, ..KeptBounds::default() }).await;
    let in_the_way = dir.path().join("snapshot.kept");
    std::fs::create_dir(&in_the_way).unwrap();
    let refused = snapshot_beside_changes(&store).await.0.unwrap_err();
    assert!(refused.to_string().contains("keeping a record for the snapshot"), "{refused}");
    std::fs::remove_dir(&in_the_way).unwrap();
    is_taken(&store).await;
}
