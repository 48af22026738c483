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
async fn a_directory_that_disappears_stops_the_org_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Strict).unwrap();
    ledger.append(&refused(1)).await.unwrap();
    assert!(ledger.is_well());
    let known = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !dir.path().join(".heads/acme").exists() {
        assert!(std::time::Instant::now() < known, "the head outside the directory is not written");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    std::fs::rename(dir.path().join("acme"), dir.path().join("aside")).unwrap();
    // The file is still writable, but where it is nobody would find the record.
    ledger.append(&refused(2)).await.unwrap_err();
    let error = ledger.append(&refused(3)).await.unwrap_err();
    assert!(error.to_string().contains("ledger/acme is missing"), "{error}");
    assert!(!ledger.is_well());
    assert!(!verify_directory(&dir.path().join("acme")).unwrap().is_intact());
    std::fs::rename(dir.path().join("aside"), dir.path().join("acme")).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !ledger.is_well() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The record whose append failed is there: it was written, and only its way to the disk was not known.
    assert_eq!(ledger.append(&refused(4)).await.unwrap(), 3);
    assert!(verified(dir.path()).is_intact());
}

#[tokio::test]
async fn what_a_failed_sync_may_have_lost_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
    for entry in 0..5 {
        ledger.append(&refused(entry)).await.unwrap();
    }
    let handle = ledger.shared.orgs.handle(&org("acme"));
    handle.sync();
    let sound = std::fs::read(first_segment(dir.path())).unwrap();
    ledger.append(&refused(5)).await.unwrap();
    // The head knows 5 records; the disk lost the sixth, which was acknowledged.
    handle.close();
    std::fs::write(first_segment(dir.path()), &sound).unwrap();
    let error = ledger.append(&refused(6)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
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
