//! What every backend of runs must do, and the records that the backends' own tests use.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::to_raw_value;

use super::*;

pub(super) mod conformance;

pub(crate) fn ids(org: &str, workspace: &str) -> (OrgId, WorkspaceId) {
    (OrgId::parse(org).unwrap(), WorkspaceId::parse(workspace).unwrap())
}

/// A run that starts `offset` milliseconds after a time close to now.
pub(super) fn run(offset: u64) -> RunId {
    static FIRST: LazyLock<u64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    });
    RunId::parse(&format!("run_{:012x}7abc8def0123456789ab", *FIRST + offset)).unwrap()
}

pub(super) fn record(workspace: &str, id: &RunId) -> RunRecord {
    let (org, workspace) = ids("acme", workspace);
    let body = to_raw_value(&serde_json::json!({ "status": "succeeded", "n": 1 })).unwrap();
    RunRecord { run_id: id.clone(), org, workspace, created_at: "2026-01-01T00:00:00Z".to_owned(), body }
}

/// The generator: run number `n` of a workspace, one a second, whose head differs from its neighbours'.
pub(crate) fn generated(org: &OrgId, workspace: &WorkspaceId, n: u64) -> RunRecord {
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
    RunRecord {
        run_id: RunId::parse(&run_id).unwrap(),
        org: org.clone(),
        workspace: workspace.clone(),
        created_at: format!("{at:.6}"),
        body: to_raw_value(&body).unwrap(),
    }
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

#[test]
fn a_record_is_written_as_serde_writes_it() {
    let mut record = record("main", &run(0));
    for created_at in ["2026-01-01T00:00:00Z", "", "a\"b\\c\nd"] {
        record.created_at = created_at.to_owned();
        assert_eq!(record.to_json(), serde_json::to_string(&record).unwrap());
    }
}
