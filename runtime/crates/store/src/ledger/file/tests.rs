//! Tests of the chain: what continues it, and everything that must not be accepted.

use std::ops::ControlFlow;
use std::path::Path;

use super::*;
use crate::ledger::tests::{org, refused};

async fn filled(dir: &Path, records: u32, segment_bytes: u64) {
    let ledger = FileLedger::open_with_segments(dir, LedgerSync::Group, segment_bytes).unwrap();
    for entry in 0..records {
        ledger.append(&refused(entry)).await.unwrap();
    }
}

fn verified(dir: &Path) -> VerifyReport {
    verify_directory(&dir.join("acme")).unwrap()
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join("acme/0000000001.ndjson")
}

fn lines(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(first_segment(dir)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write_lines(dir: &Path, lines: &[String]) {
    std::fs::write(first_segment(dir), lines.join("\n") + "\n").unwrap();
}

async fn append_fails(dir: &Path) -> LedgerError {
    let ledger = FileLedger::open(dir, LedgerSync::Group).unwrap();
    ledger.append(&refused(999)).await.unwrap_err()
}

#[tokio::test]
async fn a_thousand_records_verify_and_reopening_continues_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1000, 100_000).await;
    let report = verified(dir.path());
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.records, report.first_seq, report.last_seq), (1000, Some(1), 1000));
    assert!(report.segments > 3, "{report:?}");
    let ledger = FileLedger::open_with_segments(dir.path(), LedgerSync::Strict, 100_000).unwrap();
    assert_eq!(ledger.append(&refused(1000)).await.unwrap(), 1001);
    let report = ledger.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 1001, "{report:?}");
    let none = ledger.verify(&org("nobody")).await.unwrap();
    assert!(none.is_intact() && none.records == 0);
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 20, SEGMENT_BYTES).await;
    let good = std::fs::read(first_segment(dir.path())).unwrap();
    for at in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        for bit in [0x01, 0x20] {
            let mut flipped = good.clone();
            flipped[at] ^= bit;
            std::fs::write(first_segment(dir.path()), &flipped).unwrap();
            let bad = verified(dir.path()).bad.unwrap_or_else(|| panic!("byte {at} bit {bit}"));
            let line = 1 + good[..at].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(bad.segment, "0000000001.ndjson");
            assert_eq!((bad.line, bad.seq), (line as u64, line as u64), "byte {at}: {bad}");
        }
    }
    assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }));
    std::fs::write(first_segment(dir.path()), &good).unwrap();
    assert!(verified(dir.path()).is_intact());
}

#[tokio::test]
async fn dropped_swapped_and_foreign_lines_are_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 10, SEGMENT_BYTES).await;
    let good = lines(dir.path());
    let other = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(other.path(), LedgerSync::Group).unwrap();
    for entry in 0..10 {
        ledger.append(&LedgerEvent { org: org("other"), ..refused(entry) }).await.unwrap();
    }
    let foreign = std::fs::read_to_string(other.path().join("other/0000000001.ndjson")).unwrap();
    for at in 0..10_usize {
        let mut dropped = good.clone();
        dropped.remove(at);
        write_lines(dir.path(), &dropped);
        let bad = verified(dir.path()).bad.unwrap();
        assert_eq!((bad.line, bad.seq), (at as u64 + 1, at as u64 + 1), "{bad}");
        if at > 0 {
            let mut swapped = good.clone();
            swapped.swap(at - 1, at);
            write_lines(dir.path(), &swapped);
            assert_eq!(verified(dir.path()).bad.unwrap().seq, at as u64);
        }
        let mut replaced = good.clone();
        replaced[at] = foreign.lines().nth(at).unwrap().to_owned();
        write_lines(dir.path(), &replaced);
        assert_eq!(verified(dir.path()).bad.unwrap().line, at as u64 + 1);
    }
    write_lines(dir.path(), &good);
    assert!(verified(dir.path()).is_intact());
}

#[tokio::test]
async fn a_tail_cut_off_anywhere_is_named_and_stops_appends() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5, SEGMENT_BYTES).await;
    let good = std::fs::read(first_segment(dir.path())).unwrap();
    for end in (0..good.len()).step_by(31).chain([good.len() - 1]) {
        std::fs::write(first_segment(dir.path()), &good[..end]).unwrap();
        let bad = verified(dir.path()).bad.unwrap();
        assert!(bad.reason.contains("its head says 5"), "{end}: {bad}");
        assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }), "{end}");
        assert_eq!(std::fs::read(first_segment(dir.path())).unwrap().len(), end, "nothing is cut");
    }
    std::fs::remove_file(first_segment(dir.path())).unwrap();
    assert!(verified(dir.path()).bad.is_some());
    assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }));
}

#[tokio::test]
async fn a_torn_line_beyond_the_head_is_cut_away() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5, SEGMENT_BYTES).await;
    let good = std::fs::read(first_segment(dir.path())).unwrap();
    let mut torn = good.clone();
    torn.extend_from_slice(&good[..40]);
    std::fs::write(first_segment(dir.path()), &torn).unwrap();
    let report = verified(dir.path());
    assert!(report.is_intact() && report.torn_tail_bytes == 40, "{report:?}");
    let ledger = FileLedger::open(dir.path(), LedgerSync::Strict).unwrap();
    assert_eq!(ledger.append(&refused(5)).await.unwrap(), 6);
    drop(ledger);
    let report = verified(dir.path());
    assert!(report.is_intact() && report.records == 6 && report.torn_tail_bytes == 0);
    // A complete line that does not belong there is refused, not removed.
    let mut odd = std::fs::read(first_segment(dir.path())).unwrap();
    odd.extend_from_slice(b"{}\n");
    std::fs::write(first_segment(dir.path()), &odd).unwrap();
    assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }));
}

#[tokio::test]
async fn a_head_that_lags_behind_the_records_is_fine_and_a_wrong_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, SEGMENT_BYTES).await;
    let head = dir.path().join("acme/head.json");
    let lagging = std::fs::read(&head).unwrap();
    filled(dir.path(), 3, SEGMENT_BYTES).await;
    let newest = std::fs::read_to_string(&head).unwrap();
    std::fs::write(&head, lagging).unwrap();
    assert!(verified(dir.path()).is_intact());
    for wrong in [newest.replace(":6", ":5"), newest.replace(":6", ":7"), "{}".to_owned()] {
        std::fs::write(&head, wrong).unwrap();
        assert!(!verified(dir.path()).is_intact());
        assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }));
    }
    // Deleted before the first sync: the state after an early crash.
    std::fs::remove_file(&head).unwrap();
    assert!(verified(dir.path()).is_intact());
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    assert_eq!(ledger.append(&refused(7)).await.unwrap(), 7);
}

#[test]
fn appending_and_reading_are_futures_for_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    let (event, org, query) = (refused(1), org("acme"), LedgerQuery::default());
    is_send(&ledger.append(&event));
    is_send(&ledger.read(&org, &query));
    is_send(&ledger.export(&org, &query, Box::new(|_| ControlFlow::Continue(()))));
}

#[tokio::test]
async fn a_pruned_chain_verifies_from_its_anchor_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 10_000).await;
    let ledger = FileLedger::open_with_segments(dir.path(), LedgerSync::Group, 10_000).unwrap();
    let before = ledger.verify(&org("acme")).await.unwrap();
    let backup = std::fs::read(first_segment(dir.path())).unwrap();
    let report = ledger.prune(&org("acme"), 3).await.unwrap();
    assert_eq!(report.segments_dropped, before.segments - 3);
    let after = ledger.verify(&org("acme")).await.unwrap();
    assert!(after.is_intact() && after.anchored, "{after:?}");
    assert_eq!(after.first_seq, Some(report.dropped_to_seq + 1));
    assert_eq!((after.last_seq, after.segments), (200, 3));
    assert_eq!(ledger.append(&refused(200)).await.unwrap(), 201);
    assert_eq!(ledger.prune(&org("acme"), 3).await.unwrap().segments_dropped, 0);
    assert_eq!(ledger.prune(&org("nobody"), 1).await.unwrap(), PruneReport::default());
    ledger.prune(&org("acme"), 0).await.unwrap();
    assert_eq!(ledger.append(&refused(201)).await.unwrap(), 202);
    drop(ledger);
    // A prune that was interrupted after writing its anchor leaves files behind; they do not matter.
    std::fs::write(first_segment(dir.path()), backup).unwrap();
    assert!(verified(dir.path()).is_intact());
    let ledger = FileLedger::open_with_segments(dir.path(), LedgerSync::Group, 10_000).unwrap();
    assert_eq!(ledger.append(&refused(202)).await.unwrap(), 203);
    assert!(!first_segment(dir.path()).exists());
    drop(ledger);
    // Dropping a segment without moving the anchor is damage.
    let anchor = dir.path().join("acme/anchor.json");
    std::fs::remove_file(anchor).unwrap();
    assert!(!verified(dir.path()).is_intact());
    assert!(matches!(append_fails(dir.path()).await, LedgerError::Damaged { .. }));
}

#[tokio::test]
async fn the_ledgers_open_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    let second = FileLedger::open(dir.path(), LedgerSync::Group);
    assert!(matches!(second, Err(LedgerError::AlreadyOpen { .. })));
    drop(ledger);
    FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
}

mod reading;
mod retention;
mod writing;
