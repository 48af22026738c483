//! Runs over a real PostgreSQL: as any runs, by several nodes, and under the hands of an administrator.

use std::collections::BTreeSet;

use portcullis_store::{RunCursor, RunFilter, RunOrder, RunScope};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_conformance::runs::{all_pages, check_all, generated, ids, listed, record, run};

use super::*;
use crate::test_database::{Database, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_runs_conform() {
    let Some(cluster) = Cluster::shared() else { return };
    check_all(|| Arc::new(wait(async { Database::new(cluster).await.runs("node-1").await }))).await;
}

fn newest_first(scope: RunScope, limit: usize) -> RunQuery {
    RunQuery { scope, filter: RunFilter::default(), order: RunOrder::NewestFirst, after: None, limit }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_one_workspace_at_once() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let nodes = [Arc::new(database.runs("a").await), Arc::new(database.runs("b").await)];
    let (org, main) = ids("acme", "main");
    let mut tasks = Vec::new();
    for (number, runs) in (0_u64..).zip(&nodes) {
        for task in 0..4 {
            let (runs, org, main) = (Arc::clone(runs), org.clone(), main.clone());
            tasks.push(tokio::spawn(async move {
                for n in 0..25 {
                    runs.append(&generated(&org, &main, number * 1000 + task * 100 + n)).await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
        for scope in [RunScope::Workspace(org.clone(), main.clone()), RunScope::All] {
            let query = RunQuery { order, ..newest_first(scope, 7) };
            let found = all_pages(&*nodes[0], &query).await;
            let distinct: BTreeSet<_> = found.iter().map(RunId::as_str).collect();
            assert_eq!((found.len(), distinct.len()), (200, 200));
        }
    }
    assert_eq!(database.sql("SELECT count(*), sum(seq) FROM run_heads"), "2|200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_administrator_does_to_runs_is_named() {
    let Some(cluster) = Cluster::shared() else { return };
    let row = "org = 'acme' AND workspace = 'main' AND seq = 5";
    let attacks = [
        (
            format!("UPDATE runs SET record = replace(record, 'succeeded', 'failed') WHERE {row}"),
            "hash does not match",
        ),
        (format!("UPDATE runs SET status = 'failed' WHERE {row}"), "its column status"),
        (format!("UPDATE runs SET ended_us = ended_us + 1 WHERE {row}"), "its column ended_us"),
        (format!("UPDATE runs SET run_id = 'run_x' WHERE {row}"), "its columns name another run"),
        (format!("UPDATE runs SET seq = 50 WHERE {row}"), "hash does not match"),
        (format!("UPDATE runs SET pos = pos + 1 WHERE {row}"), "hash does not match"),
        (format!("DELETE FROM runs WHERE {row}"), "runs beside it are missing"),
        ("DELETE FROM runs WHERE workspace = 'main' AND seq > 7".to_owned(), "runs beside it are missing"),
        ("DELETE FROM runs WHERE workspace = 'main' AND seq < 3".to_owned(), "runs at its end are missing"),
        ("DELETE FROM runs WHERE workspace = 'main'".to_owned(), "runs at its end are missing"),
        ("DELETE FROM run_heads WHERE workspace = 'main'".to_owned(), "no head knows its chain"),
        (
            "UPDATE runs SET workspace = 'main' WHERE workspace = 'side' AND seq = 1".to_owned(),
            "hash does not match",
        ),
    ];
    for (sql, named) in attacks {
        let database = Database::new(cluster).await;
        let runs = database.runs("a").await;
        for n in 0..10 {
            runs.append(&record("main", &run(n))).await.unwrap();
        }
        runs.append(&record("side", &run(99))).await.unwrap();
        assert_eq!(listed(&runs, "main", None, 50).await.len(), 10);
        database.sql(&sql);
        let (org, main) = ids("acme", "main");
        let query = newest_first(RunScope::Workspace(org, main), 50);
        let error = runs.query(&query).await.expect_err(&sql);
        assert!(matches!(error, StoreError::DamagedRow { .. }), "{sql}: {error}");
        assert!(error.to_string().contains(named), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_that_are_long_or_have_characters_of_no_text_are_found_as_they_are() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let runs = database.runs("a").await;
    let (org, main) = ids("acme", "main");
    let long = |end: &str| format!("{}{end}", "e".repeat(5000));
    for (n, event) in [long("1"), long("2"), "a\0b".to_owned()].iter().enumerate() {
        let body = serde_json::json!({ "status": "succeeded", "event_id": event }).to_string();
        let body = serde_json::value::RawValue::from_string(body).unwrap();
        runs.append(&RunRecord { body, ..record("main", &run(n as u64)) }).await.unwrap();
    }
    for (event, found) in [(long("2"), vec![run(1)]), (long("3"), vec![]), ("a\0b".to_owned(), vec![run(2)])]
    {
        let filter = RunFilter { event_id: Some(event), ..RunFilter::default() };
        let query = RunQuery { filter, ..newest_first(RunScope::Workspace(org.clone(), main.clone()), 50) };
        assert_eq!(all_pages(&runs, &query).await, found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_runs_leave_an_anchor_and_a_workspace_that_was_removed_begins_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let (here, there) = (database.runs("a").await, database.runs("b").await);
    let (org, main) = ids("acme", "main");
    for n in 0..40 {
        here.append(&generated(&org, &main, n)).await.unwrap();
    }
    let bytes = here.bytes(&org).await.unwrap();
    let left = there.retain(&org, &RunCut { bytes: Some(bytes / 2), ..RunCut::default() }).await.unwrap();
    assert!(left.bytes <= bytes / 2 && left.bytes > bytes / 4 && left.dropped > 15, "{left:?}");
    assert_eq!(there.bytes(&org).await.unwrap(), left.bytes);
    let query = newest_first(RunScope::Workspace(org.clone(), main.clone()), 9);
    assert_eq!(all_pages(&there, &query).await.len() as u64, 40 - left.dropped);
    here.append(&generated(&org, &main, 40)).await.unwrap();
    there.remove(&org, &main).await.unwrap();
    assert!(all_pages(&here, &query).await.is_empty());
    for runs in [&here, &there] {
        runs.append(&generated(&org, &main, 50 + u64::from(std::ptr::eq(runs, &here)))).await.unwrap();
    }
    assert_eq!(all_pages(&here, &query).await.len(), 2);
    let gone = RunCursor::Run(generated(&org, &main, 1).run_id);
    assert!(here.query(&RunQuery { after: Some(gone), ..query }).await.unwrap().is_none());
}

/// A workspace with six rows of the node `old`, which is gone, and ten of `new` after them.
async fn of_two_nodes(cluster: &Cluster) -> (Database<'_>, PostgresRuns) {
    let database = Database::new(cluster).await;
    let (org, main) = ids("acme", "main");
    let old = database.runs("old").await;
    for n in 0..6 {
        old.append(&generated(&org, &main, n)).await.unwrap();
    }
    let new = database.runs("new").await;
    for n in 6..16 {
        new.append(&generated(&org, &main, n)).await.unwrap();
    }
    (database, new)
}

/// A look at everything, so many rows at a time.
async fn seen(runs: &PostgresRuns, page_rows: usize) -> RunsReport {
    verify::verify(&runs.shared, page_rows, &mut |_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_taken_out_is_missed_by_a_look_at_everything_on_whatever_page() {
    let Some(cluster) = Cluster::shared() else { return };
    let back = "UPDATE run_heads h SET seq = r.seq, hash = r.hash, pos = r.pos FROM runs r \
                WHERE h.node = 'old' AND r.node = 'old' AND r.seq = 4";
    let none = "UPDATE run_heads SET seq = 0, pos = 0, hash = anchor_hash, seal = '' WHERE node = 'old'";
    let attacks = [
        // None of the rows that are left is on the last page of four.
        ("DELETE FROM runs WHERE node = 'old' AND seq > 4".to_owned(), "runs at its end are missing", 14),
        ("DELETE FROM runs WHERE node = 'old'".to_owned(), "runs at its end are missing", 10),
        ("DELETE FROM runs WHERE node = 'old' AND seq < 3".to_owned(), "runs beside it are missing", 10),
        // The first one of the third page of four.
        ("DELETE FROM runs WHERE node = 'new' AND seq = 3".to_owned(), "runs beside it are missing", 8),
        (format!("{back}; DELETE FROM runs WHERE node = 'old' AND seq > 4"), "the seal of its head", 10),
        (format!("{none}; DELETE FROM runs WHERE node = 'old'"), "the seal of its head", 10),
        ("DELETE FROM run_heads WHERE node = 'old'".to_owned(), "no head knows its chain", 10),
        ("UPDATE runs SET status = 'x' WHERE node = 'old' AND seq = 5".to_owned(), "its column status", 14),
    ];
    for (sql, reason, records) in attacks {
        let (database, runs) = of_two_nodes(cluster).await;
        for page_rows in [1, 4, 16, 500] {
            assert_eq!(seen(&runs, page_rows).await, RunsReport { records: 16, bad: Vec::new() });
        }
        database.sql(&sql);
        for page_rows in [1, 4, 500] {
            let report = seen(&runs, page_rows).await;
            let [fault] = report.bad.as_slice() else { panic!("{sql}: {report:?}") };
            assert!(fault.place.contains("acme/main"), "{sql}: {fault:?}");
            assert!(fault.reason.contains(reason), "{sql}: {fault:?}");
            assert_eq!(report.records, records, "{sql}: the other chain is read to its end");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_was_put_back_is_refused_by_lists() {
    let Some(cluster) = Cluster::shared() else { return };
    let (database, runs) = of_two_nodes(cluster).await;
    let (org, main) = ids("acme", "main");
    let query = newest_first(RunScope::Workspace(org, main), 50);
    assert_eq!(all_pages(&runs, &query).await.len(), 16);
    database.sql(
        "UPDATE run_heads h SET seq = r.seq, hash = r.hash, pos = r.pos FROM runs r \
         WHERE h.node = 'old' AND r.node = 'old' AND r.seq = 4; \
         DELETE FROM runs WHERE node = 'old' AND seq > 4",
    );
    let error = runs.query(&query).await.expect_err("the seal does not fit");
    assert!(error.to_string().contains("the seal of its head does not match"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_beside_nodes_that_write_drop_and_remove_finds_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let (database, runs) = of_two_nodes(cluster).await;
    let (org, main) = ids("acme", "main");
    let side = ids("acme", "side").1;
    let other = database.runs("other").await;
    let writing = tokio::spawn(async move {
        for n in 16..120 {
            other.append(&generated(&org, &main, n)).await.unwrap();
            other.append(&generated(&org, &side, 1000 + n)).await.unwrap();
            if n % 10 == 0 {
                let half = other.bytes(&org).await.unwrap() / 2;
                other.retain(&org, &RunCut { bytes: Some(half), ..RunCut::default() }).await.unwrap();
            }
            if n % 25 == 0 {
                other.remove(&org, &side).await.unwrap();
            }
        }
    });
    while !writing.is_finished() {
        assert_eq!(seen(&runs, 3).await.bad, []);
    }
    writing.await.unwrap();
    let report = seen(&runs, 3).await;
    let kept: u64 = database.sql("SELECT count(*) FROM runs").parse().unwrap();
    assert_eq!(report, RunsReport { records: kept, bad: Vec::new() });
    assert!(kept > 19, "some are left: {kept}");
}
