//! Runs are found across files, and survive what a killed process leaves behind.

use std::io::Write as _;

use tempfile::TempDir;

use super::*;
use crate::runs::tests::{conformance, ids, listed, record, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_runs_conform() {
    let root = TempDir::new().unwrap();
    let next = std::cell::Cell::new(0);
    conformance::check_all(|| {
        next.set(next.get() + 1);
        let dir = root.path().join(next.get().to_string());
        Arc::new(FileRuns::open_with_segments(&dir, 1000).unwrap())
    })
    .await;
}

#[tokio::test]
async fn runs_are_found_and_listed_across_files_and_restarts() {
    let dir = TempDir::new().unwrap();
    let all: Vec<RunId> = (0..50).map(run).collect();
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    for id in &all {
        runs.append(&record("main", id)).await.unwrap();
    }
    let files = std::fs::read_dir(dir.path().join("acme/main")).unwrap().count();
    assert!(files > 5, "{files}");
    drop(runs);
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    assert_eq!(listed(&runs, "main", None, 100).await, all);
    assert_eq!(listed(&runs, "main", Some(&all[9]), 20).await, all[10..30]);
    let (org, main) = ids("acme", "main");
    for id in [&all[0], &all[25], &all[49]] {
        let found = runs.get(&org, &main, id).await.unwrap().unwrap();
        assert_eq!((&found.run_id, found.body.get()), (id, r#"{"status":"succeeded","n":1}"#));
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_off_and_a_damaged_one_is_passed_over() {
    let dir = TempDir::new().unwrap();
    let (first, second, third) = (run(1), run(2), run(3));
    let runs = FileRuns::open(dir.path()).unwrap();
    runs.append(&record("main", &first)).await.unwrap();
    drop(runs);
    let file = std::fs::read_dir(dir.path().join("acme/main")).unwrap().next().unwrap().unwrap().path();
    let mut torn = std::fs::File::options().append(true).open(&file).unwrap();
    torn.write_all(b"{\"run_id\":\"run_damaged\"}\n{\"run_id\":\"run_to").unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    runs.append(&record("main", &second)).await.unwrap();
    runs.append(&record("main", &third)).await.unwrap();
    assert_eq!(listed(&runs, "main", None, 10).await, [first.clone(), second, third.clone()]);
    assert_eq!(listed(&runs, "main", Some(&first), 1).await.len(), 1);
}
