//! The records that the backends' own tests use.

use serde_json::value::to_raw_value;

use super::*;

pub(crate) use portcullis_store_conformance::runs::{generated_parts, ids, run};

pub(super) fn record(workspace: &str, id: &RunId) -> RunRecord {
    let (org, workspace) = ids("acme", workspace);
    let body = to_raw_value(&serde_json::json!({ "status": "succeeded", "n": 1 })).unwrap();
    RunRecord { run_id: id.clone(), org, workspace, created_at: "2026-01-01T00:00:00Z".to_owned(), body }
}

/// Generated run number `n` of a workspace.
pub(crate) fn generated(org: &OrgId, workspace: &WorkspaceId, n: u64) -> RunRecord {
    let (run_id, created_at, body) = generated_parts(org, n);
    RunRecord { run_id, org: org.clone(), workspace: workspace.clone(), created_at, body }
}

/// Oldest first, after the run `after`; `None` if that is no run of the workspace.
pub(crate) fn oldest_first(workspace: (OrgId, WorkspaceId), after: Option<&RunId>, limit: usize) -> RunQuery {
    RunQuery {
        scope: RunScope::Workspace(workspace.0, workspace.1),
        filter: RunFilter::default(),
        order: RunOrder::OldestFirst,
        after: after.cloned().map(RunCursor::Run),
        limit,
    }
}

pub(super) async fn listed(
    runs: &dyn Runs,
    workspace: &str,
    after: Option<&RunId>,
    limit: usize,
) -> Vec<RunId> {
    let wanted = oldest_first(ids("acme", workspace), after, limit);
    let page = runs.query(&wanted).await.unwrap().unwrap();
    page.records.into_iter().map(|record| record.run_id).collect()
}

/// All pages of a list, however many there are.
pub(super) async fn all_pages(runs: &dyn Runs, query: &RunQuery) -> Vec<RunId> {
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

#[test]
fn a_record_is_written_as_serde_writes_it() {
    let mut record = record("main", &run(0));
    for created_at in ["2026-01-01T00:00:00Z", "", "a\"b\\c\nd"] {
        record.created_at = created_at.to_owned();
        assert_eq!(record.to_json(), serde_json::to_string(&record).unwrap());
    }
}
