//! Runs are kept, found and listed across files, and survive what a process leaves behind.

use std::io::Write as _;
use std::sync::LazyLock;

use serde_json::value::to_raw_value;
use tempfile::TempDir;

use super::*;

fn ids(org: &str, workspace: &str) -> (OrgId, WorkspaceId) {
    (OrgId::parse(org).unwrap(), WorkspaceId::parse(workspace).unwrap())
}

/// A run that begins about now, and so many milliseconds after another one.
fn run(offset: u64) -> RunId {
    static FIRST: LazyLock<u64> = LazyLock::new(log::now_ms);
    RunId::parse(&format!("run_{:012x}7abc8def0123456789ab", *FIRST + offset)).unwrap()
}

fn record(workspace: &str, id: &RunId) -> RunRecord {
    let (org, workspace) = ids("acme", workspace);
    let body = to_raw_value(&serde_json::json!({ "status": "succeeded", "n": 1 })).unwrap();
    RunRecord { run_id: id.clone(), org, workspace, created_at: "2026-01-01T00:00:00Z".to_owned(), body }
}

#[test]
fn a_record_is_written_as_serde_writes_it() {
    let mut record = record("main", &run(0));
    for created_at in ["2026-01-01T00:00:00Z", "", "a\"b\\c\nd"] {
        record.created_at = created_at.to_owned();
        assert_eq!(record.to_json(), serde_json::to_string(&record).unwrap());
    }
}

async fn listed(runs: &FileRuns, workspace: &str, after: Option<&RunId>, limit: usize) -> Vec<RunId> {
    let (org, workspace) = ids("acme", workspace);
    let found = runs.list(&org, &workspace, after, limit).await.unwrap().unwrap();
    found.into_iter().map(|record| record.run_id).collect()
}

#[tokio::test]
async fn runs_are_found_and_listed_across_files_and_restarts() {
    let dir = TempDir::new().unwrap();
    let all: Vec<RunId> = (0..50).map(run).collect();
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    for id in &all {
        runs.append(&record("main", id)).await.unwrap();
    }
    runs.append(&record("other", &run(99))).await.unwrap();
    let files = std::fs::read_dir(dir.path().join("acme/main")).unwrap().count();
    assert!(files > 5, "{files}");
    drop(runs);
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    assert_eq!(listed(&runs, "main", None, 100).await, all);
    assert_eq!(listed(&runs, "main", Some(&all[9]), 20).await, all[10..30]);
    assert!(listed(&runs, "main", all.last(), 20).await.is_empty());
    let (org, main) = ids("acme", "main");
    for id in [&all[0], &all[25], &all[49]] {
        let found = runs.get(&org, &main, id).await.unwrap().unwrap();
        assert_eq!((&found.run_id, found.body.get()), (id, r#"{"status":"succeeded","n":1}"#));
    }
    assert!(runs.get(&org, &main, &run(99)).await.unwrap().is_none(), "another workspace's");
    assert!(runs.list(&org, &main, Some(&run(99)), 5).await.unwrap().is_none());
    assert!(listed(&runs, "empty", None, 5).await.is_empty());
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

#[tokio::test]
async fn deleting_a_workspace_takes_its_runs_and_no_other_s() {
    let dir = TempDir::new().unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    runs.append(&record("main", &run(1))).await.unwrap();
    runs.append(&record("other", &run(2))).await.unwrap();
    let (org, main) = ids("acme", "main");
    runs.remove(&org, &main).await.unwrap();
    runs.remove(&org, &main).await.unwrap();
    assert!(listed(&runs, "main", None, 10).await.is_empty());
    assert_eq!(listed(&runs, "other", None, 10).await, [run(2)]);
    runs.append(&record("main", &run(3))).await.unwrap();
    assert_eq!(listed(&runs, "main", None, 10).await, [run(3)]);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused_and_the_next_is_kept() {
    let dir = TempDir::new().unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    let mut long = record("main", &run(1));
    long.body = to_raw_value(&"x".repeat(RECORD_BYTES_MAX)).unwrap();
    assert!(matches!(runs.append(&long).await, Err(StoreError::TooLarge { .. })));
    runs.append(&record("main", &run(2))).await.unwrap();
    assert_eq!(listed(&runs, "main", None, 10).await, [run(2)]);
}
