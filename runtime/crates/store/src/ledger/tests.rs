//! What every ledger must do, and the events that the backends' own tests append.

use portcullis_core::id::OrgId;
use portcullis_core::ledger::{LedgerEvent, LedgerPhase};

pub(super) mod conformance;

pub(crate) fn org(name: &str) -> OrgId {
    OrgId::parse(name).unwrap()
}

pub(crate) fn event(org: &str, entry: &str, phase: LedgerPhase) -> LedgerEvent {
    serde_json::from_value(serde_json::json!({
        "entry_id": entry, "at": "2026-01-01T00:00:00.000000Z", "phase": phase, "org": org,
        "workspace": "main", "connector_id": "salesforce", "revision": 1, "action_id": "list",
        "run_id": "run_1", "method": "GET", "origin": "https://api.example.com", "path": "/v1",
        "verdict": "allow",
    }))
    .unwrap()
}

pub(super) fn refused(entry: u32) -> LedgerEvent {
    event("acme", &format!("out_{entry}"), LedgerPhase::Refused)
}
