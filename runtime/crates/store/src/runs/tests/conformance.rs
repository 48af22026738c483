//! The conformance suite: what every backend of runs must do, run over each of them by its own tests.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{ids, listed, oldest_first, record, run};
use crate::StoreError;
use crate::runs::{RECORD_BYTES_MAX, RunRecord, Runs};

pub(in crate::runs) mod pages;

/// Runs everything, each check on fresh runs.
pub(in crate::runs) async fn check_all<R: Runs>(fresh: impl Fn() -> Arc<R>) {
    records_come_back_as_they_were(&*fresh()).await;
    lists_are_pages_in_order(&*fresh()).await;
    workspaces_and_orgs_are_apart(&*fresh()).await;
    a_record_too_long_is_refused(&*fresh()).await;
    removing_takes_one_workspace_s_runs(&*fresh()).await;
    concurrent_appends_are_all_kept(fresh()).await;
    pages::lists_go_both_ways_over_every_scope(&*fresh()).await;
    pages::every_filter_finds_its_runs_and_no_others(&*fresh()).await;
    pages::a_range_of_time_has_its_first_moment_and_not_its_last(&*fresh()).await;
    pages::several_filters_must_all_hold(&*fresh()).await;
    pages::a_cursor_of_another_list_is_none_of_this_one(&*fresh()).await;
    pages::pages_beside_writes_lose_nothing_and_show_nothing_twice(&*fresh()).await;
    pages::several_workspaces_are_merged_though_times_go_back(&*fresh()).await;
    pages::old_runs_go_by_their_end(&*fresh()).await;
}

async fn records_come_back_as_they_were(runs: &dyn Runs) {
    let (org, main) = ids("acme", "main");
    let bodies = ["{}", r#"{ "n": 1.50, "a" : [ 9007199254740993 ] }"#, r#"{"t":"\u00fc\"\n","u":"ü"}"#];
    for (body, offset) in bodies.iter().zip(0..) {
        let body = RawValue::from_string((*body).to_owned()).unwrap();
        let created_at = "a\"b\\c\nd".to_owned();
        runs.append(&RunRecord { body, created_at, ..record("main", &run(offset)) }).await.unwrap();
    }
    for (body, offset) in bodies.iter().zip(0..) {
        let found = runs.get(&org, &main, &run(offset)).await.unwrap().unwrap();
        assert_eq!((&found.run_id, found.body.get()), (&run(offset), *body));
        assert_eq!((&found.org, &found.workspace, found.created_at.as_str()), (&org, &main, "a\"b\\c\nd"));
    }
    assert!(runs.get(&org, &main, &run(50)).await.unwrap().is_none());
}

async fn lists_are_pages_in_order(runs: &dyn Runs) {
    // In the order in which they ended, which is not the order in which they started.
    let all: Vec<_> = (0..50).map(|n| run(n ^ 1)).collect();
    for id in &all {
        runs.append(&record("main", id)).await.unwrap();
    }
    assert_eq!(listed(runs, "main", None, 100).await, all);
    assert_eq!(listed(runs, "main", None, 7).await, all[..7]);
    assert_eq!(listed(runs, "main", Some(&all[9]), 20).await, all[10..30]);
    assert_eq!(listed(runs, "main", Some(&all[39]), 20).await, all[40..]);
    assert!(listed(runs, "main", all.last(), 20).await.is_empty());
    assert!(listed(runs, "main", None, 0).await.is_empty());
    assert!(listed(runs, "empty", None, 5).await.is_empty());
    let (org, main) = ids("acme", "main");
    assert!(
        runs.query(&oldest_first((org.clone(), main.clone()), Some(&run(99)), 5)).await.unwrap().is_none(),
        "an unknown cursor"
    );
    let (_, empty) = ids("acme", "empty");
    assert!(
        runs.query(&oldest_first((org.clone(), empty.clone()), Some(&all[0]), 5)).await.unwrap().is_none()
    );
}

async fn workspaces_and_orgs_are_apart(runs: &dyn Runs) {
    let (other_org, main) = ids("other", "main");
    runs.append(&record("main", &run(1))).await.unwrap();
    runs.append(&record("side", &run(2))).await.unwrap();
    runs.append(&RunRecord { org: other_org.clone(), ..record("main", &run(3)) }).await.unwrap();
    let (acme, side) = ids("acme", "side");
    assert_eq!(listed(runs, "main", None, 9).await, [run(1)]);
    assert_eq!(listed(runs, "side", None, 9).await, [run(2)]);
    for (org, workspace, own) in [(&acme, &main, 1), (&acme, &side, 2), (&other_org, &main, 3)] {
        for offset in 1..4 {
            let found = runs.get(org, workspace, &run(offset)).await.unwrap();
            assert_eq!(found.is_some(), offset == own, "{org}/{workspace} {offset}");
            let after = runs
                .query(&oldest_first((org.clone(), workspace.clone()), Some(&run(offset)), 9))
                .await
                .unwrap();
            assert_eq!(after.is_some(), offset == own, "another's run is no cursor");
        }
    }
}

async fn a_record_too_long_is_refused(runs: &dyn Runs) {
    let of = |bytes: usize, offset| RunRecord {
        body: to_raw_value(&"x".repeat(bytes)).unwrap(),
        ..record("main", &run(offset))
    };
    let spare = RECORD_BYTES_MAX - of(0, 1).to_json().len();
    let error = runs.append(&of(spare + 1, 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: 65_537, limit: 65_536, .. }), "{error}");
    assert!(listed(runs, "main", None, 10).await.is_empty());
    runs.append(&of(spare, 2)).await.unwrap();
    runs.append(&record("main", &run(3))).await.unwrap();
    assert_eq!(listed(runs, "main", None, 10).await, [run(2), run(3)]);
}

async fn removing_takes_one_workspace_s_runs(runs: &dyn Runs) {
    let (other_org, main) = ids("other", "main");
    runs.append(&record("main", &run(1))).await.unwrap();
    runs.append(&record("side", &run(2))).await.unwrap();
    runs.append(&RunRecord { org: other_org.clone(), ..record("main", &run(3)) }).await.unwrap();
    let (acme, _) = ids("acme", "main");
    for _ in 0..2 {
        runs.remove(&acme, &main).await.unwrap();
        assert!(listed(runs, "main", None, 10).await.is_empty());
        assert!(runs.get(&acme, &main, &run(1)).await.unwrap().is_none());
    }
    assert_eq!(listed(runs, "side", None, 10).await, [run(2)]);
    assert!(runs.get(&other_org, &main, &run(3)).await.unwrap().is_some());
    runs.append(&record("main", &run(4))).await.unwrap();
    assert_eq!(listed(runs, "main", None, 10).await, [run(4)]);
}

async fn concurrent_appends_are_all_kept(runs: Arc<dyn Runs>) {
    let mut tasks = Vec::new();
    for task in 0..8_u64 {
        let runs = Arc::clone(&runs);
        tasks.push(tokio::spawn(async move {
            for n in 0..25 {
                runs.append(&record("main", &run(task * 100 + n))).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let found = listed(&*runs, "main", None, 1000).await;
    for task in 0..8 {
        let mine: Vec<_> = (0..25).map(|n| run(task * 100 + n)).collect();
        let kept: Vec<_> = found.iter().filter(|id| mine.contains(id)).cloned().collect();
        assert_eq!(kept, mine, "one task's, in its order");
    }
    assert_eq!(found.len(), 200);
}
