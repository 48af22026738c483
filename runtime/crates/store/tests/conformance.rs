//! The conformance suite over the backends of this crate: memory, sled and files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking, and say what they counted"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_store::{
    FileLedger, FileRuns, JobState, Jobs as _, LedgerSync, MemoryLedger, MemoryRuns, MemoryStore,
    Outbox as _, RecordJobs, RecordOutbox, SledStore, Store,
};
use portcullis_store_conformance::{jobs, ledger, model, outbox, runs, store};
use tempfile::TempDir;

/// A directory for each store of a suite.
struct Places {
    root: TempDir,
    next: AtomicU32,
}

impl Places {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), next: AtomicU32::new(0) }
    }

    fn next(&self) -> PathBuf {
        self.root.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn record_jobs(store: Arc<dyn Store>) -> Arc<dyn portcullis_store::Jobs> {
    Arc::new(RecordJobs::new(store))
}

#[tokio::test]
async fn memory_conforms() {
    store::check_all(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_conforms() {
    let places = Places::new();
    store::check_all(|| Arc::new(SledStore::open(&places.next()).unwrap())).await;
}

#[test]
fn sled_agrees_with_memory() {
    let place = async || tempfile::tempdir().unwrap();
    model::agrees_with_memory(24, place, async |dir: &TempDir| SledStore::open(dir.path()).unwrap());
}

#[tokio::test]
async fn jobs_in_memory_conform() {
    jobs::check_all(memory, record_jobs).await;
}

#[tokio::test]
async fn jobs_in_sled_conform() {
    let places = Places::new();
    jobs::check_all(|| Arc::new(SledStore::open(&places.next()).unwrap()), record_jobs).await;
}

#[tokio::test]
async fn outboxes_in_memory_conform() {
    outbox::check_all(memory).await;
}

#[tokio::test]
async fn outboxes_in_sled_conform() {
    let places = Places::new();
    outbox::check_all(|| Arc::new(SledStore::open(&places.next()).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_ledgers_conform() {
    ledger::check_all(|segment_bytes| Arc::new(MemoryLedger::with_segments(segment_bytes))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_ledgers_conform() {
    for sync in [LedgerSync::Group, LedgerSync::Strict] {
        let places = Places::new();
        let open =
            |segment_bytes| FileLedger::open_with_segments(&places.next(), sync, segment_bytes).unwrap();
        ledger::check_all(|segment_bytes| Arc::new(open(segment_bytes))).await;
    }
}

#[tokio::test]
async fn memory_runs_conform() {
    runs::check_all(|| Arc::new(MemoryRuns::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_runs_conform() {
    let places = Places::new();
    runs::check_all(|| Arc::new(FileRuns::open_with_segments(&places.next(), 1000).unwrap())).await;
}

#[tokio::test]
async fn outbox_entries_are_there_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let acme = outbox::org("acme");
    {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(dir.path()).unwrap());
        outbox::write(&store, "acme", 1).await;
        outbox::write(&store, "acme", 2).await;
    }
    let store: Arc<dyn Store> = Arc::new(SledStore::open(dir.path()).unwrap());
    let opened = RecordOutbox::new(Arc::clone(&store));
    let first = opened.read(&acme, 0, 10).await.unwrap();
    assert_eq!(outbox::numbers(&first), [1, 2]);
    outbox::write(&store, "acme", 3).await;
    let last = first.entries[1].seq;
    assert_eq!(outbox::numbers(&opened.read(&acme, last, 10).await.unwrap()), [3]);
}

#[tokio::test]
async fn an_accepted_job_is_there_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let scene = {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(dir.path()).unwrap());
        let scene = jobs::Scene::new(store, |store| Arc::new(RecordJobs::new(store))).await;
        scene.enqueue("main", 1, 10).await;
        let leased = scene.lease("main", 50).await.unwrap();
        scene.jobs.note_sent(&leased.lease).await.unwrap();
        scene.names()
    };
    let opened = RecordJobs::new(Arc::new(SledStore::open(dir.path()).unwrap()));
    let name = jobs::name("main", 1);
    let found = opened.get(&name).await.unwrap().unwrap();
    assert_eq!((found.state, found.sent, found.tries), (JobState::Running, true, 1));
    assert_eq!(opened.input(&name).await.unwrap().unwrap(), b"input");
    assert_eq!(opened.due_workspaces(51, None, 10).await.unwrap(), scene[..1]);
    let (org, main) = &scene[0];
    assert!(opened.lease(org, main, 100).await.unwrap().unwrap().interrupted);
}
