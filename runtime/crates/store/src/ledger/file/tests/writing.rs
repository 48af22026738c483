//! Tests of writing: failures, concurrency, strictness, and many orgs.

use super::*;
use crate::disk_sync::ToSync as _;

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_the_chain_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the org's directory should be.
    std::fs::write(dir.path().join("acme"), b"").unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    for _ in 0..2 {
        let error = ledger.append(&refused(1)).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    }
    std::fs::remove_file(dir.path().join("acme")).unwrap();
    assert_eq!(ledger.append(&refused(1)).await.unwrap(), 1);
    let huge = LedgerEvent { path: "/x".repeat(40_000), ..refused(2) };
    assert!(matches!(ledger.append(&huge).await, Err(LedgerError::TooLarge { .. })));
    assert_eq!(ledger.append(&refused(2)).await.unwrap(), 2);
    // A file where the ledger's own directory should be.
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(FileLedger::open(&file, LedgerSync::Group).is_err());
}

#[tokio::test]
async fn a_full_disk_refuses_every_record_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("acme")).unwrap();
    std::os::unix::fs::symlink("/dev/full", first_segment(dir.path())).unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    for _ in 0..3 {
        let error = ledger.append(&refused(1)).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    }
    std::fs::remove_file(first_segment(dir.path())).unwrap();
    assert_eq!(ledger.append(&refused(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_directory_that_disappears_stops_the_org() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Strict).unwrap();
    ledger.append(&refused(1)).await.unwrap();
    let handle = ledger.shared.orgs.handle(&org("acme"));
    std::fs::remove_dir_all(dir.path().join("acme")).unwrap();
    // The file is still writable, but its head is not: the next sync fails.
    drop(handle.append("{}", |_| {}));
    handle.sync();
    let error = ledger.append(&refused(2)).await.unwrap_err();
    assert!(error.to_string().contains("did not reach the disk"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_give_a_chain_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    for sync in [LedgerSync::Group, LedgerSync::Strict] {
        let ledger = Arc::new(FileLedger::open_with_segments(dir.path(), sync, 50_000).unwrap());
        let mut tasks = Vec::new();
        for task in 0..16_u32 {
            let ledger = Arc::clone(&ledger);
            tasks.push(tokio::spawn(async move {
                let mut seqs = Vec::new();
                for i in 0..25 {
                    seqs.push(ledger.append(&refused(task * 100 + i)).await.unwrap());
                }
                seqs
            }));
        }
        let mut seqs = Vec::new();
        for task in tasks {
            seqs.extend(task.await.unwrap());
        }
        seqs.sort_unstable();
        let first = seqs[0];
        assert_eq!(seqs, (first..first + 400).collect::<Vec<u64>>());
    }
    let report = verified(dir.path());
    assert!(report.is_intact() && report.records == 800, "{report:?}");
}

#[tokio::test]
async fn a_strict_record_is_covered_by_the_disk_before_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Strict).unwrap();
    ledger.append(&refused(1)).await.unwrap();
    let handle = ledger.shared.orgs.handle(&org("acme"));
    handle.synced(1).await.unwrap();
}

#[tokio::test]
async fn a_log_closed_by_a_failed_write_is_synced_by_opening_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    ledger.append(&refused(1)).await.unwrap();
    let handle = ledger.shared.orgs.handle(&org("acme"));
    handle.close();
    handle.sync();
    handle.synced(1).await.unwrap();
    assert_eq!(ledger.append(&refused(2)).await.unwrap(), 2);
}

#[tokio::test]
async fn orgs_have_chains_of_their_own_that_go_on_after_being_closed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    for round in 0..2_u64 {
        for i in 0..300 {
            let mine = LedgerEvent { org: org(&format!("org{i}")), ..refused(1) };
            assert_eq!(ledger.append(&mine).await.unwrap(), round + 1, "org{i}");
        }
    }
    assert!(ledger.verify(&org("org299")).await.unwrap().is_intact());
    drop(ledger);
    let ledger = FileLedger::open(dir.path(), LedgerSync::Strict).unwrap();
    for i in 0..300 {
        let mine = LedgerEvent { org: org(&format!("org{i}")), ..refused(1) };
        assert_eq!(ledger.append(&mine).await.unwrap(), 3, "org{i}");
    }
}
