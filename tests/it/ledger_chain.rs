//! The ledger at size: ten thousand calls, then every kind of tampering, detected offline.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_core::id::{ActionId, ConnectorId, EntryId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict, PhaseDurations};
use portcullis_store::{FileLedger, Ledger as _, LedgerSync, VerifyReport, verify_directory};

const CALLS: usize = 10_000;
const ORG: &str = "acme";

fn event(call: usize, phase: LedgerPhase) -> LedgerEvent {
    LedgerEvent {
        entry_id: EntryId::parse(&format!("out_{call}")).unwrap(),
        at: "2026-01-01T00:00:00.000000Z".to_owned(),
        phase,
        org: OrgId::parse(ORG).unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        connector_id: ConnectorId::parse("salesforce").unwrap(),
        connection: None,
        revision: 1,
        action_id: ActionId::parse("create-contact").unwrap(),
        run_id: RunId::parse(&format!("run_{call}")).unwrap(),
        automation_id: None,
        method: "POST".to_owned(),
        origin: "https://api.salesforce.com".to_owned(),
        path: "/v1/contacts".to_owned(),
        verdict: LedgerVerdict::Allow,
        code: None,
        matched_connector: Some("*.salesforce.com".to_owned()),
        matched_org: None,
        would_refuse: false,
        addresses: vec!["93.184.216.34".to_owned()],
        chosen_address: Some("93.184.216.34".to_owned()),
        tls_version: Some("TLSv1.3".to_owned()),
        status: (phase == LedgerPhase::Complete).then_some(201),
        bytes_out: 27,
        bytes_in: 41,
        durations: PhaseDurations::default(),
        credential_slot: Some("default".to_owned()),
        credential_version: Some(1),
        redacted: false,
    }
}

/// The segments of the org's ledger in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|x| x == "ndjson"))
        .collect();
    found.sort();
    found
}

fn verify(dir: &Path) -> VerifyReport {
    verify_directory(dir).unwrap()
}

/// Changes one segment, verifies the ledger, and restores the segment.
fn tampered(dir: &Path, segment: &Path, change: impl FnOnce(&mut Vec<u8>)) -> VerifyReport {
    let sound = fs::read(segment).unwrap();
    let mut bytes = sound.clone();
    change(&mut bytes);
    assert_ne!(bytes, sound, "the change must change something");
    fs::write(segment, &bytes).unwrap();
    let report = verify(dir);
    fs::write(segment, &sound).unwrap();
    report
}

fn line_start(bytes: &[u8], line: usize) -> usize {
    if line == 0 {
        return 0;
    }
    bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(line - 1).map(|(at, _)| at + 1).unwrap()
}

/// A small random generator with a seed, so that a failure can be repeated.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[tokio::test]
async fn ten_thousand_calls_verify_and_every_tampering_names_the_first_bad_record() {
    let root = tempfile::tempdir().unwrap();
    {
        let ledger = FileLedger::open(root.path(), LedgerSync::Group).unwrap();
        for call in 0..CALLS {
            ledger.append(&event(call, LedgerPhase::Begin)).await.unwrap();
            ledger.append(&event(call, LedgerPhase::Complete)).await.unwrap();
        }
    }
    let dir = root.path().join(ORG);
    let report = verify(&dir);
    assert!(report.is_intact(), "{:?}", report.bad);
    assert_eq!(report.records, 2 * CALLS as u64);

    let all = segments(&dir);
    let mut seed = 7;
    let mut first_seq = 1_u64;
    let mut tried = 0;
    for segment in &all {
        let bytes = fs::read(segment).unwrap();
        let lines = bytes.iter().filter(|b| **b == b'\n').count();
        for _ in 0..30 {
            let at = next(&mut seed) % bytes.len();
            let line = bytes[..at].iter().filter(|b| **b == b'\n').count();
            let flipped = tampered(&dir, segment, |b| b[at] ^= 1 << (next(&mut seed) % 8));
            let bad = flipped.bad.unwrap_or_else(|| panic!("a flip at byte {at} went unnoticed"));
            assert_eq!(bad.seq, first_seq + line as u64, "byte {at}: {bad}");
            tried += 1;
        }
        for _ in 0..5 {
            let line = next(&mut seed) % (lines - 2);
            let (from, middle, to) =
                (line_start(&bytes, line), line_start(&bytes, line + 1), line_start(&bytes, line + 2));
            let dropped = tampered(&dir, segment, |b| drop(b.drain(from..middle)));
            assert!(dropped.bad.is_some(), "line {line} was dropped unnoticed");
            let swapped = tampered(&dir, segment, |b| b[from..to].rotate_left(middle - from));
            assert!(swapped.bad.is_some(), "lines {line} and {} were swapped unnoticed", line + 1);
            tried += 2;
        }
        first_seq += lines as u64;
    }
    let last = all.last().unwrap();
    let cut = tampered(&dir, last, |b| b.truncate(line_start(b, 1)));
    assert!(cut.bad.is_some(), "the tail was cut unnoticed");
    assert!(tried >= 40, "{tried} changes were tried");
    assert!(verify(&dir).is_intact(), "everything was put back");
}
