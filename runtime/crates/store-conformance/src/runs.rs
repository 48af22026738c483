//! What every backend of runs must do.

use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::for_backends::runs::RECORD_BYTES_MAX;
use portcullis_store::{
    RunCursor, RunFilter, RunOrder, RunQuery, RunRecord, RunScope, Runs, RunsReport, StoreError,
};
use serde_json::value::{RawValue, to_raw_value};

mod pages;

/// Runs everything, each check on fresh runs.
pub async fn check_all<R: Runs>(fresh: impl Fn() -> Arc<R>) {
    records_come_back_as_they_were(&*fresh()).await;
    lists_are_pages_in_order(&*fresh()).await;
    workspaces_and_orgs_are_apart(&*fresh()).await;
    a_record_too_long_is_refused(&*fresh()).await;
    removing_takes_one_workspace_s_runs(&*fresh()).await;
    concurrent_appends_are_all_kept(fresh()).await;
    a_look_at_everything_counts_every_run(&*fresh()).await;
    pages::lists_go_both_ways_over_every_scope(&*fresh()).await;
    pages::every_filter_finds_its_runs_and_no_others(&*fresh()).await;
    pages::a_range_of_time_has_its_first_moment_and_not_its_last(&*fresh()).await;
    pages::several_filters_must_all_hold(&*fresh()).await;
    pages::a_cursor_of_another_list_is_none_of_this_one(&*fresh()).await;
    pages::pages_beside_writes_lose_nothing_and_show_nothing_twice(&*fresh()).await;
    pages::several_workspaces_are_merged_though_times_go_back(&*fresh()).await;
    pages::old_runs_go_by_their_end(&*fresh()).await;
}

pub fn ids(org: &str, workspace: &str) -> (OrgId, WorkspaceId) {
    (OrgId::parse(org).unwrap(), WorkspaceId::parse(workspace).unwrap())
}

/// A run that starts `offset` milliseconds after a time close to now.
pub fn run(offset: u64) -> RunId {
    static FIRST: LazyLock<u64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    });
    RunId::parse(&format!("run_{:012x}7abc8def0123456789ab", *FIRST + offset)).unwrap()
}

pub fn record(workspace: &str, id: &RunId) -> RunRecord {
    let (org, workspace) = ids("acme", workspace);
    let body = to_raw_value(&serde_json::json!({ "status": "succeeded", "n": 1 })).unwrap();
    RunRecord { run_id: id.clone(), org, workspace, created_at: "2026-01-01T00:00:00Z".to_owned(), body }
}

/// What is different in generated run number `n`: one a second, whose head differs from its neighbours'. Identifier, end
/// and body.
pub fn generated_parts(org: &OrgId, n: u64) -> (RunId, String, Box<RawValue>) {
    // 2026-01-01; a run id begins with the milliseconds of its start.
    let ended_us = 1_767_225_600_000_000 + n * 1_000_000;
    let run_id =
        format!("run_{:012x}7abc8{:08x}{:07x}", ended_us / 1000, n % 0xffff_ffff, org.as_str().len());
    let at = jiff::Timestamp::from_microsecond(i64::try_from(ended_us).unwrap()).unwrap();
    let (status, code, class) = match n % 5 {
        0 => {
            ("failed", Some("upstream_status"), Some(if n.is_multiple_of(2) { "auth" } else { "transient" }))
        }
        1 => ("refused", Some("host_not_in_org"), None),
        2 => ("skipped", None, None),
        _ => ("succeeded", None, None),
    };
    let body = serde_json::json!({
        "run_id": run_id, "status": status, "code": code, "class": class,
        "connector_id": format!("crm-{}", n % 3), "action_id": format!("act-{}", n % 4),
        "automation_id": n.is_multiple_of(2).then(|| format!("auto_{}", n % 7)),
        "event_id": format!("event {}", n / 2), "message": "m".repeat(600),
    });
    (RunId::parse(&run_id).unwrap(), format!("{at:.6}"), to_raw_value(&body).unwrap())
}

/// Generated run number `n` of a workspace.
pub fn generated(org: &OrgId, workspace: &WorkspaceId, n: u64) -> RunRecord {
    let (run_id, created_at, body) = generated_parts(org, n);
    RunRecord { run_id, org: org.clone(), workspace: workspace.clone(), created_at, body }
}

/// Oldest first, after the run `after`; `None` if that is no run of the workspace.
pub fn oldest_first(workspace: (OrgId, WorkspaceId), after: Option<&RunId>, limit: usize) -> RunQuery {
    RunQuery {
        scope: RunScope::Workspace(workspace.0, workspace.1),
        filter: RunFilter::default(),
        order: RunOrder::OldestFirst,
        after: after.cloned().map(RunCursor::Run),
        limit,
    }
}

pub async fn listed(runs: &dyn Runs, workspace: &str, after: Option<&RunId>, limit: usize) -> Vec<RunId> {
    let wanted = oldest_first(ids("acme", workspace), after, limit);
    let page = runs.query(&wanted).await.unwrap().unwrap();
    page.records.into_iter().map(|record| record.run_id).collect()
}

/// All pages of a list, however many there are.
pub async fn all_pages(runs: &dyn Runs, query: &RunQuery) -> Vec<RunId> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    for _ in 0..10_000 {
        let page = runs.query(&query).await.unwrap().expect("its own cursor is known");
        assert!(page.records.len() <= query.limit, "no page is longer than its limit");
        found.extend(page.records.into_iter().map(|record| record.run_id));
        match page.next {
            // As text, because that is how it travels.
            Some(next) => query.after = Some(RunCursor::parse(&next.to_string()).unwrap()),
            None => return found,
        }
    }
    panic!("a list without an end");
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

async fn a_look_at_everything_counts_every_run(runs: &dyn Runs) {
    assert_eq!(runs.verify(&mut |_| ()).await.unwrap(), RunsReport::default());
    let (org, main) = ids("acme", "main");
    for n in 0..40 {
        let workspace = if n % 2 == 0 { main.clone() } else { ids("acme", "side").1 };
        runs.append(&generated(&org, &workspace, n)).await.unwrap();
    }
    let mut last = 0;
    let seen = runs.verify(&mut |records| last = records).await.unwrap();
    assert_eq!(seen, RunsReport { records: 40, bad: Vec::new() });
    assert_eq!(last, 40, "it is told of all");
    runs.remove(&org, &main).await.unwrap();
    assert_eq!(runs.verify(&mut |_| ()).await.unwrap().records, 20);
}
