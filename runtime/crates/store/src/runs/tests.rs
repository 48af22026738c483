//! What every backend of runs must do, and the records that the backends' own tests use.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::to_raw_value;

use super::*;

pub(super) mod conformance;

pub(super) fn ids(org: &str, workspace: &str) -> (OrgId, WorkspaceId) {
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

pub(super) async fn listed(
    runs: &dyn Runs,
    workspace: &str,
    after: Option<&RunId>,
    limit: usize,
) -> Vec<RunId> {
    let (org, workspace) = ids("acme", workspace);
    let found = runs.list(&org, &workspace, after, limit).await.unwrap().unwrap();
    found.into_iter().map(|record| record.run_id).collect()
}

#[test]
fn a_record_is_written_as_serde_writes_it() {
    let mut record = record("main", &run(0));
    for created_at in ["2026-01-01T00:00:00Z", "", "a\"b\\c\nd"] {
        record.created_at = created_at.to_owned();
        assert_eq!(record.to_json(), serde_json::to_string(&record).unwrap());
    }
}
