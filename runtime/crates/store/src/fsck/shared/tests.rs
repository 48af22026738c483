//! What others write while a check reads is no damage, and what is damaged stays so however often it is looked at.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use portcullis_core::sync::lock;

use super::*;
use crate::{
    Batch, BoxFuture, Change, FsckFinding, MemoryStore, SnapshotReport, Store, StoreStats, Versioned,
};

/// A store to which others write between two reads: before a key is read, what is next for it is committed.
#[derive(Default)]
struct Meanwhile {
    below: MemoryStore,
    next: Mutex<VecDeque<(String, Batch)>>,
}

impl Meanwhile {
    fn before(&self, key: &str) -> Option<Batch> {
        let mut next = lock(&self.next);
        next.pop_front_if(|(wanted, _)| wanted.as_str() == key).map(|(_, batch)| batch)
    }
}

impl Store for Meanwhile {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            if let Some(batch) = self.before(key) {
                self.below.commit(batch).await?;
            }
            self.below.get(key).await
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

/// Bytes of modules that are there or not, each time after others have written.
#[derive(Default)]
struct Bytes {
    store: Option<Arc<Meanwhile>>,
    reads: Mutex<VecDeque<(Batch, bool)>>,
}

impl ModuleBytes for Bytes {
    fn write<'a>(&'a self, _hex: &'a str, _bytes: Arc<[u8]>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn read<'a>(&'a self, _hex: &'a str) -> BoxFuture<'a, io::Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            let next = lock(&self.reads).pop_front();
            let Some((batch, is_there)) = next else { return Ok(None) };
            if let Some(store) = &self.store {
                store.commit(batch).await.map_err(io::Error::other)?;
            }
            Ok(is_there.then(|| b"module".to_vec()))
        })
    }

    fn remove<'a>(&'a self, _hex: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn check(store: &Arc<Meanwhile>, modules: &Bytes) -> FsckReport {
    let backends = Backends { store: Arc::clone(store) as Arc<dyn Store>, ..Backends::in_memory() };
    fsck_shared(&backends, modules, &mut |_, _| ()).await.unwrap()
}

fn reasons(report: &FsckReport) -> Vec<&str> {
    report.findings.iter().map(|FsckFinding { reason, .. }| reason.as_str()).collect()
}

const JOB: &str = "job/acme/main/run_0123456789ab7abc8def0123456789ab";
const INPUT: &str = "job_input/acme/main/run_0123456789ab7abc8def0123456789ab/00000";

/// An accepted run whose input is in so many parts, or was erased.
fn job(parts: u32) -> Batch {
    let job = serde_json::json!({
        "run_id": "run_0123456789ab7abc8def0123456789ab", "org": "acme", "workspace": "main", "workspace_commit": 1,
        "state": "queued", "at_ms": 1, "tries": 0, "fence": 0, "sent": false, "cancel": false,
        "input_parts": parts, "input_bytes": parts * 9, "detail": {},
    });
    Batch::new().put(JOB, serde_json::to_vec(&job).unwrap())
}

/// What a check says of an accepted run with an input in one part, to which this is written before its input is read.
async fn of_job(next: Vec<Batch>) -> (FsckReport, usize) {
    let store = Arc::new(Meanwhile::default());
    store.commit(job(1).put(INPUT, vec![0; 9])).await.unwrap();
    *lock(&store.next) = next.into_iter().map(|batch| (INPUT.to_owned(), batch)).collect();
    let report = check(&store, &Bytes::default()).await;
    let left = lock(&store.next).len();
    (report, left)
}

#[tokio::test]
async fn a_run_that_ends_or_is_erased_while_its_input_is_read_is_no_damage() {
    for meanwhile in [Batch::new().delete(JOB).delete(INPUT), job(0).delete(INPUT)] {
        let (report, left) = of_job(vec![meanwhile]).await;
        assert!(report.is_whole() && left == 0, "{:?}", report.findings);
    }
}

#[tokio::test]
async fn an_input_that_is_missing_from_a_run_that_stands_is_damage() {
    let (report, _) = of_job(vec![Batch::new().delete(INPUT)]).await;
    assert_eq!(reasons(&report), ["part 0 of its input is missing"]);
    // Also of one that was written meanwhile: its new state is looked at.
    let (report, _) = of_job(vec![job(2).put(INPUT, vec![0; 9])]).await;
    assert_eq!(reasons(&report), ["part 1 of its input is missing"]);
}

#[tokio::test]
async fn a_run_that_is_another_one_at_every_look_is_reported_in_the_end() {
    let (report, left) = of_job((0..20).map(|_| job(1).delete(INPUT)).collect()).await;
    assert_eq!(reasons(&report), ["part 0 of its input is missing"]);
    assert_eq!(left, 20 - LOOKS_MAX);
    // One look fewer, and it stands still and whole.
    let mut next: Vec<_> = (2..LOOKS_MAX).map(|_| job(1).delete(INPUT)).collect();
    next.push(job(0).delete(INPUT));
    let (report, left) = of_job(next).await;
    assert!(report.is_whole() && left == 0, "{:?}", report.findings);
}

#[tokio::test]
async fn a_large_document_that_is_replaced_while_its_parts_are_read_is_no_damage() {
    let part = |n: usize| format!("blob/{}/{n:05}", "ab".repeat(32));
    let document = format!("{{\"$blob\":\"{}\",\"parts\":2}}", "ab".repeat(32)).into_bytes();
    let swept = Batch::new().delete(part(0)).delete(part(1));
    for (meanwhile, is_whole) in [(swept.clone().put("thing/a", b"{}".to_vec()), true), (swept, false)] {
        let store = Arc::new(Meanwhile::default());
        let large = Batch::new().put(part(0), b"a".to_vec()).put(part(1), b"b".to_vec());
        store.commit(large.put("thing/a", document.clone())).await.unwrap();
        lock(&store.next).push_back((part(0), meanwhile));
        let report = check(&store, &Bytes::default()).await;
        let wanted: &[&str] = if is_whole { &[] } else { &["a part is missing"] };
        assert_eq!(reasons(&report), wanted);
    }
}

/// What the reads of a module's bytes meet, what is found, and how many modules are whole.
type ModuleCase = (Vec<(Batch, bool)>, &'static [&'static str], u64);

#[tokio::test]
async fn a_module_that_is_deleted_while_it_is_read_is_no_damage() {
    let (record, same) = (|| Batch::new().put("module/abc", b"{}".to_vec()), Batch::new);
    let gone = || Batch::new().delete("module/abc");
    let cases: [ModuleCase; 5] = [
        (vec![(same(), true)], &[], 1),
        (vec![(gone(), false)], &[], 0),
        (vec![(same(), false), (same(), false)], &["it is missing"], 0),
        // Deleted and uploaded again: its bytes were there before its record.
        (vec![(record(), false), (same(), true)], &[], 1),
        (vec![(record(), false), (gone(), false)], &[], 0),
    ];
    for (reads, wanted, modules) in cases {
        let store = Arc::new(Meanwhile::default());
        store.commit(record()).await.unwrap();
        let bytes = Bytes { store: Some(Arc::clone(&store)), reads: Mutex::new(reads.into()) };
        let report = check(&store, &bytes).await;
        assert_eq!((reasons(&report).as_slice(), report.modules), (wanted, modules));
    }
}
