//! Lists of runs: both orders, every filter, every scope, and pages beside writes.

use std::collections::HashSet;

use portcullis_core::id::RunId;
use portcullis_store::{RunCursor, RunCut, RunFilter, RunOrder, RunQuery, RunRecord, RunScope, Runs};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{all_pages, generated, ids, run};

const BOTH: [RunOrder; 2] = [RunOrder::NewestFirst, RunOrder::OldestFirst];

fn workspace(name: &str) -> RunScope {
    let (org, workspace) = ids("acme", name);
    RunScope::Workspace(org, workspace)
}

fn acme() -> RunScope {
    RunScope::Org(ids("acme", "main").0)
}

fn wanted(scope: RunScope, order: RunOrder, limit: usize) -> RunQuery {
    RunQuery { scope, filter: RunFilter::default(), order, after: None, limit }
}

/// Runs of three workspaces of two orgs, one after the other.
async fn mixed(runs: &dyn Runs) -> Vec<RunRecord> {
    let places = [("acme", "main"), ("acme", "side"), ("other", "main")];
    let mut all = Vec::new();
    for (n, (org, workspace)) in (0..60).zip(places.into_iter().cycle()) {
        let (org, workspace) = ids(org, workspace);
        let record = generated(&org, &workspace, n);
        runs.append(&record).await.unwrap();
        all.push(record);
    }
    all
}

fn expected(all: &[RunRecord], order: RunOrder, wanted: impl Fn(&RunRecord) -> bool) -> Vec<RunId> {
    let mut found: Vec<_> = all.iter().filter(|r| wanted(r)).map(|r| r.run_id.clone()).collect();
    if order == RunOrder::NewestFirst {
        found.reverse();
    }
    found
}

pub(super) async fn lists_go_both_ways_over_every_scope(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let is = |record: &RunRecord, org: &str, workspace: Option<&str>| {
        record.org.as_str() == org && workspace.is_none_or(|name| record.workspace.as_str() == name)
    };
    for order in BOTH {
        for limit in [1, 7, 100] {
            let main = all_pages(runs, &wanted(workspace("main"), order, limit)).await;
            assert_eq!(main, expected(&all, order, |r| is(r, "acme", Some("main"))), "{order:?} {limit}");
            let org = all_pages(runs, &wanted(acme(), order, limit)).await;
            assert_eq!(org, expected(&all, order, |r| is(r, "acme", None)), "{order:?} {limit}");
            let everything = all_pages(runs, &wanted(RunScope::All, order, limit)).await;
            assert_eq!(everything, expected(&all, order, |_| true), "{order:?} {limit}");
        }
    }
    let (nobody, _) = ids("nobody", "main");
    assert!(all_pages(runs, &wanted(RunScope::Org(nobody), RunOrder::NewestFirst, 5)).await.is_empty());
}

pub(super) async fn every_filter_finds_its_runs_and_no_others(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let body = |record: &RunRecord| serde_json::from_str::<Value>(record.body.get()).unwrap();
    let members = ["status", "class", "code", "connector_id", "action_id", "automation_id", "event_id"];
    for member in members {
        let values: HashSet<String> =
            all.iter().filter_map(|r| body(r)[member].as_str().map(str::to_owned)).collect();
        assert!(values.len() > 1, "{member} differs");
        for value in values.iter().map(String::as_str).chain(["neighbour"]) {
            let mut filter = RunFilter::default();
            let place = match member {
                "status" => &mut filter.status,
                "class" => &mut filter.class,
                "code" => &mut filter.code,
                "connector_id" => &mut filter.connector_id,
                "action_id" => &mut filter.action_id,
                "automation_id" => &mut filter.automation_id,
                _ => &mut filter.event_id,
            };
            *place = Some(value.to_owned());
            for (scope, order) in [(RunScope::All, BOTH[0]), (acme(), BOTH[1]), (workspace("side"), BOTH[0])]
            {
                let query = RunQuery { filter: filter.clone(), ..wanted(scope.clone(), order, 3) };
                let matching = |r: &RunRecord| in_scope(r, &scope) && body(r)[member] == value;
                assert_eq!(
                    all_pages(runs, &query).await,
                    expected(&all, order, matching),
                    "{member}={value}"
                );
            }
        }
    }
}

fn in_scope(record: &RunRecord, scope: &RunScope) -> bool {
    match scope {
        RunScope::All => true,
        RunScope::Org(org) => record.org == *org,
        RunScope::Workspace(org, workspace) => record.org == *org && record.workspace == *workspace,
    }
}

pub(super) async fn a_range_of_time_has_its_first_moment_and_not_its_last(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let ended = |record: &RunRecord| {
        u64::try_from(record.created_at.parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap()
    };
    let (from, to) = (ended(&all[10]), ended(&all[40]));
    for order in BOTH {
        for scope in [RunScope::All, acme(), workspace("main")] {
            for (since, until) in [
                (Some(from), Some(to)),
                (Some(from), None),
                (None, Some(to)),
                (Some(to + 1_000_000_000), None),
            ] {
                let filter = RunFilter { since_us: since, until_us: until, ..RunFilter::default() };
                let query = RunQuery { filter, ..wanted(scope.clone(), order, 4) };
                let inside = |r: &RunRecord| {
                    let at = ended(r);
                    in_scope(r, &scope) && since.is_none_or(|s| at >= s) && until.is_none_or(|u| at < u)
                };
                assert_eq!(
                    all_pages(runs, &query).await,
                    expected(&all, order, inside),
                    "{scope:?} {order:?}"
                );
            }
        }
    }
}

pub(super) async fn several_filters_must_all_hold(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let body = |record: &RunRecord| serde_json::from_str::<Value>(record.body.get()).unwrap();
    let filter = RunFilter {
        status: Some("failed".to_owned()),
        connector_id: Some("crm-1".to_owned()),
        ..RunFilter::default()
    };
    let query = RunQuery { filter, ..wanted(RunScope::All, RunOrder::NewestFirst, 2) };
    let both = |r: &RunRecord| body(r)["status"] == "failed" && body(r)["connector_id"] == "crm-1";
    let found = all_pages(runs, &query).await;
    assert!(!found.is_empty());
    assert_eq!(found, expected(&all, RunOrder::NewestFirst, both));
}

pub(super) async fn a_cursor_of_another_list_is_none_of_this_one(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let page = |query: RunQuery| async move { runs.query(&query).await.unwrap() };
    let next = |query: RunQuery| async move { page(query).await.unwrap().next.unwrap() };
    let of_main = next(wanted(workspace("main"), RunOrder::NewestFirst, 2)).await;
    let of_org = next(wanted(acme(), RunOrder::NewestFirst, 2)).await;
    let own = RunCursor::Run(all[0].run_id.clone());
    for (scope, cursor, known) in [
        (workspace("main"), &of_main, true),
        (workspace("side"), &of_main, false),
        (acme(), &of_main, false),
        (acme(), &of_org, true),
        (workspace("main"), &of_org, false),
        (workspace("main"), &own, true),
        (workspace("side"), &own, false),
        (acme(), &own, false),
    ] {
        let query =
            RunQuery { after: Some(cursor.clone()), ..wanted(scope.clone(), RunOrder::NewestFirst, 2) };
        assert_eq!(page(query).await.is_some(), known, "{scope:?} {cursor}");
    }
}

pub(super) async fn pages_beside_writes_lose_nothing_and_show_nothing_twice(runs: &dyn Runs) {
    let before: HashSet<RunId> = mixed(runs).await.into_iter().map(|record| record.run_id).collect();
    for (order, scope) in
        [(BOTH[0], RunScope::All), (BOTH[0], workspace("main")), (BOTH[1], workspace("main"))]
    {
        let mut query = wanted(scope.clone(), order, 3);
        let (mut seen, mut written) = (Vec::new(), Vec::new());
        let base = 1000 + 1000 * u64::from(order == BOTH[1]) + 5000 * u64::from(scope == RunScope::All);
        for n in 0.. {
            let page = runs.query(&query).await.unwrap().unwrap();
            seen.extend(page.records.into_iter().map(|record| record.run_id));
            let Some(next) = page.next else { break };
            query.after = Some(next);
            if n < 5 {
                let (org, main) = ids("acme", "main");
                let record = generated(&org, &main, base + n);
                runs.append(&record).await.unwrap();
                written.push(record.run_id);
            }
        }
        let distinct: HashSet<_> = seen.iter().cloned().collect();
        assert_eq!(distinct.len(), seen.len(), "{order:?} {scope:?}: none is shown twice");
        if scope == RunScope::All {
            assert!(before.is_subset(&distinct), "what was there is shown");
        }
        if order == RunOrder::OldestFirst {
            assert!(written.iter().all(|run| distinct.contains(run)), "what is written meanwhile comes last");
        }
    }
}

/// Concurrent calls end in one order and are written in another, and clocks are set back.
pub(super) async fn several_workspaces_are_merged_though_times_go_back(runs: &dyn Runs) {
    let ends = [50, 10, 12, 11, 90, 20, 21, 5, 60, 95, 94, 93];
    let mut all = HashSet::new();
    for (n, end) in (0..).zip(ends) {
        for workspace in ["main", "side", "third"] {
            let (org, workspace) = ids("acme", workspace);
            let id = run(n * 10 + all.len() as u64 % 3);
            let created_at = format!("2026-01-01T00:00:{:02}.{:06}Z", end / 60 * 59, end);
            let body = to_raw_value(&json!({ "status": "succeeded" })).unwrap();
            all.insert(id.clone());
            runs.append(&RunRecord { run_id: id, org, workspace, created_at, body }).await.unwrap();
        }
    }
    for order in BOTH {
        for limit in [1, 2, 5, 50] {
            let found = all_pages(runs, &wanted(acme(), order, limit)).await;
            let distinct: HashSet<_> = found.iter().cloned().collect();
            assert_eq!((found.len(), &distinct), (all.len(), &all), "{order:?} {limit}");
        }
    }
}

pub(super) async fn old_runs_go_by_their_end(runs: &dyn Runs) {
    let all = mixed(runs).await;
    let (acme_id, _) = ids("acme", "main");
    let everything = wanted(RunScope::All, RunOrder::OldestFirst, 50);
    let of_nobody = runs.bytes(&ids("nobody", "main").0).await.unwrap();
    assert!(runs.bytes(&acme_id).await.unwrap() > 1000 && of_nobody == 0);
    let none = runs.retain(&acme_id, &RunCut { before_us: Some(1), ..RunCut::default() }).await.unwrap();
    assert_eq!((none.dropped, all_pages(runs, &everything).await.len()), (0, 60));
    runs.retain(&acme_id, &RunCut { before_us: Some(u64::MAX), ..RunCut::default() }).await.unwrap();
    let left = all_pages(runs, &everything).await;
    assert_eq!(left, expected(&all, RunOrder::OldestFirst, |r| r.org != acme_id), "another org's stay");
    let (org, main) = ids("acme", "main");
    let next = generated(&org, &main, 100);
    runs.append(&next).await.unwrap();
    assert_eq!(all_pages(runs, &wanted(acme(), RunOrder::NewestFirst, 5)).await, [next.run_id]);
}
