//! Runs are found across files, survive what a killed process leaves behind, and are never other than they were.

use std::collections::BTreeMap;
use std::io::Write as _;

use tempfile::TempDir;

use super::*;
use crate::runs::tests::{ids, listed, oldest_first, record, run};

mod damage;
mod earlier;
mod lists;

/// Runs with these numbers, in files of 1,000 bytes.
async fn filled(dir: &Path, numbers: std::ops::Range<u64>) -> Vec<RunId> {
    let runs = FileRuns::open_with_segments(dir, 1000).unwrap();
    let all: Vec<RunId> = numbers.map(run).collect();
    for id in &all {
        runs.append(&record("main", id)).await.unwrap();
    }
    all
}

/// The files of workspace `main`, in order, and their content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir.join("acme/main")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn runs_are_found_and_listed_across_files_and_restarts() {
    let dir = TempDir::new().unwrap();
    let all = filled(dir.path(), 0..50).await;
    assert!(files(dir.path()).len() > 5);
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
async fn a_line_without_an_end_is_cut_off_when_the_next_is_written() {
    let dir = TempDir::new().unwrap();
    let mut all = filled(dir.path(), 0..3).await;
    let last = files(dir.path()).pop_last().unwrap().0;
    let mut torn = std::fs::File::options().append(true).open(&last).unwrap();
    torn.write_all(b"{\"seq\":4,\"run\":{\"run_id\":\"run_to").unwrap();
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    assert_eq!(listed(&runs, "main", None, 10).await, all, "what was not acknowledged is not there");
    for n in 3..20 {
        runs.append(&record("main", &run(n))).await.unwrap();
        all.push(run(n));
    }
    assert_eq!(listed(&runs, "main", None, 99).await, all);
}

#[tokio::test]
async fn a_file_that_a_killed_process_did_not_begin_is_begun_again() {
    let dir = TempDir::new().unwrap();
    let mut all = filled(dir.path(), 0..20).await;
    let number = files(dir.path()).len() + 1;
    for torn in ["", "{\"portcullis_runs\":1,\"org\""] {
        std::fs::write(dir.path().join(format!("acme/main/{number:010}.ndjson")), torn).unwrap();
        let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
        assert_eq!(listed(&runs, "main", None, 99).await, all, "{torn:?}");
    }
    let next = run(20);
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    runs.append(&record("main", &next)).await.unwrap();
    all.push(next);
    assert_eq!(listed(&runs, "main", None, 99).await, all);
}

#[tokio::test]
async fn h6_runs_are_found_whatever_the_clock_said_when_their_file_was_begun() {
    const HOUR: u64 = 60 * 60 * 1000;
    let dir = TempDir::new().unwrap();
    // Three hours fast at first, then corrected; then slow by a day, and right again.
    let starts = [3 * HOUR, 0, 1, 2, 3, 4, 5].into_iter().chain((10..20).map(|n| n * HOUR)).chain([
        6,
        7,
        24 * HOUR,
        8,
    ]);
    let all: Vec<RunId> = starts.map(run).collect();
    for open in [SEGMENT_BYTES, 500] {
        let dir = dir.path().join(open.to_string());
        let runs = FileRuns::open_with_segments(&dir, open).unwrap();
        for id in &all {
            runs.append(&record("main", id)).await.unwrap();
        }
        drop(runs);
        let runs = FileRuns::open_with_segments(&dir, open).unwrap();
        let (org, main) = ids("acme", "main");
        for (at, id) in all.iter().enumerate() {
            assert!(runs.get(&org, &main, id).await.unwrap().is_some(), "{at}");
            assert_eq!(listed(&runs, "main", Some(id), 99).await, all[at + 1..], "{at}");
        }
        assert!(runs.get(&org, &main, &run(30 * HOUR)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn files_that_were_dropped_are_no_damage_and_the_rest_is_chained_to_the_cut() {
    let dir = TempDir::new().unwrap();
    let mut all = filled(dir.path(), 0..40).await;
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    let (org, main) = ids("acme", "main");
    let (before, old) = (files(dir.path()).len(), files(dir.path()));
    assert_eq!(runs.prune(&org, &main, 3).await.unwrap(), before - 3);
    assert_eq!(files(dir.path()).len(), 3);
    let left = listed(&runs, "main", None, 99).await;
    assert!(!left.is_empty() && all.ends_with(&left));
    assert!(runs.get(&org, &main, &all[0]).await.unwrap().is_none());
    drop(runs);
    // An interrupted cut leaves files behind, which count for nothing.
    let (first, content) = old.first_key_value().unwrap();
    std::fs::write(first, content).unwrap();
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    assert_eq!(listed(&runs, "main", None, 99).await, left);
    runs.append(&record("main", &run(40))).await.unwrap();
    all.push(run(40));
    assert!(all.ends_with(&listed(&runs, "main", None, 99).await));
    drop(runs);
    // The first of those that are kept is missed like any other.
    let kept = files(dir.path()).into_keys().nth(1).unwrap();
    std::fs::remove_file(&kept).unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    let error =
        runs.query(&oldest_first((org.clone(), main.clone()), None, 9)).await.unwrap_err().to_string();
    assert!(error.contains(kept.file_name().unwrap().to_str().unwrap()), "{error}");
}
