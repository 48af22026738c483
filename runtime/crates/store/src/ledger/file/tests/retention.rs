//! Old segments go, the chain verifies before, during and after, and a cut that nobody asked for is found.

use super::*;
use crate::ledger::LedgerCut;

/// The time of every record of these tests, and one later.
const LATER: &str = "2999-01-01T00:00:00.000000Z";

fn everything() -> LedgerCut {
    LedgerCut { before: Some(LATER.to_owned()), close_before: Some(LATER.to_owned()), ..LedgerCut::default() }
}

/// Makes files look as if they had been written long ago, as they are when their records are old.
fn aged(dir: &Path) {
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(dir.join("acme")).unwrap() {
        let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(long_ago).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_segments_go_while_records_are_written_and_the_chain_verifies_all_the_while() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 10_000).await;
    let ledger = Arc::new(FileLedger::open_with_segments(dir.path(), LedgerSync::Group, 10_000).unwrap());
    let before = ledger.verify(&org("acme")).await.unwrap();
    let writing = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            for n in 200..400 {
                ledger.append(&refused(n)).await.unwrap();
            }
        })
    };
    let mut dropped = 0;
    while !writing.is_finished() {
        assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
        dropped += ledger.retain(&org("acme"), &everything()).await.unwrap().segments_dropped;
        assert!(verified(dir.path()).is_intact(), "as the command line sees it");
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    dropped += ledger.retain(&org("acme"), &everything()).await.unwrap().segments_dropped;
    let after = ledger.verify(&org("acme")).await.unwrap();
    assert!(after.is_intact() && after.anchored && after.last_seq == 400, "{after:?}");
    assert!(dropped >= before.segments);
    drop(ledger);
    let ledger = FileLedger::open_with_segments(dir.path(), LedgerSync::Group, 10_000).unwrap();
    assert_eq!(ledger.append(&refused(400)).await.unwrap(), 401, "the chain goes on");
}

#[tokio::test]
async fn what_is_within_its_time_or_its_bytes_stays() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 10_000).await;
    aged(dir.path());
    let ledger = FileLedger::open_with_segments(dir.path(), LedgerSync::Group, 10_000).unwrap();
    let early = || Some("2000-01-01T00:00:00.000000Z".to_owned());
    let late = || Some(LATER.to_owned());
    for (what, cut) in [
        ("nothing is old", LedgerCut { before: early(), ..LedgerCut::default() }),
        (
            "there are few bytes",
            LedgerCut { bytes: Some(1 << 30), bytes_before: late(), ..LedgerCut::default() },
        ),
        (
            "many bytes, and none old",
            LedgerCut { bytes: Some(1), bytes_before: early(), ..LedgerCut::default() },
        ),
        ("no term", LedgerCut::default()),
    ] {
        assert_eq!(ledger.retain(&org("acme"), &cut).await.unwrap().segments_dropped, 0, "{what}");
    }
    let segments = ledger.verify(&org("acme")).await.unwrap().segments;
    let cut = LedgerCut { bytes: Some(25_000), bytes_before: late(), ..LedgerCut::default() };
    let dropped = ledger.retain(&org("acme"), &cut).await.unwrap().segments_dropped;
    assert!(dropped > 0 && dropped + 2 <= segments, "{dropped} of {segments}");
    assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
}

#[tokio::test]
async fn a_cut_that_nobody_asked_for_is_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 10_000).await;
    let (cut, forged) = (dir.path().join("cut"), dir.path().join("forged"));
    for to in [&cut, &forged] {
        copied(dir.path(), to);
    }
    // What retention makes of the same chain, so that the forged anchor is right in everything.
    let ledger = FileLedger::open_with_segments(&cut, LedgerSync::Group, 10_000).unwrap();
    ledger.prune(&org("acme"), 3).await.unwrap();
    drop(ledger);
    assert!(verified(&cut).is_intact());
    std::fs::copy(cut.join("acme/anchor.json"), forged.join("acme/anchor.json")).unwrap();
    let report = verified(&forged);
    assert!(report.bad.is_some_and(|bad| bad.reason.contains("no retention")), "with the files still there");
    for entry in std::fs::read_dir(forged.join("acme")).unwrap() {
        let path = entry.unwrap().path();
        let kept = cut.join("acme").join(path.file_name().unwrap()).exists();
        if !kept {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(verified(&forged).bad.is_some_and(|bad| bad.reason.contains("no retention")));
    assert!(matches!(append_fails(&forged).await, LedgerError::Damaged { .. }));
    // Either head is enough to know a cut that was asked for.
    std::fs::remove_file(cut.join(".heads/acme")).unwrap();
    assert!(verified(&cut).is_intact());
    let ledger = FileLedger::open_with_segments(&cut, LedgerSync::Group, 10_000).unwrap();
    assert_eq!(ledger.append(&refused(200)).await.unwrap(), 201);
}

#[tokio::test]
async fn a_cut_that_was_interrupted_at_any_step_is_no_damage_and_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 10_000).await;
    let cut = dir.path().join("cut");
    copied(dir.path(), &cut);
    let ledger = FileLedger::open_with_segments(&cut, LedgerSync::Group, 10_000).unwrap();
    ledger.prune(&org("acme"), 3).await.unwrap();
    drop(ledger);
    for steps in [
        &["acme/head.json"][..],
        &["acme/head.json", ".heads/acme"],
        &["acme/head.json", ".heads/acme", "acme/anchor.json"],
    ] {
        let stopped = dir.path().join(steps.len().to_string());
        copied(dir.path(), &stopped);
        for step in steps {
            std::fs::copy(cut.join(step), stopped.join(step)).unwrap();
        }
        assert!(verified(&stopped).is_intact(), "{steps:?}");
        let ledger = FileLedger::open_with_segments(&stopped, LedgerSync::Group, 10_000).unwrap();
        assert_eq!(ledger.append(&refused(200)).await.unwrap(), 201);
        ledger.prune(&org("acme"), 3).await.unwrap();
        let report = ledger.verify(&org("acme")).await.unwrap();
        assert!(report.is_intact() && report.anchored && report.segments == 3, "{steps:?}: {report:?}");
        drop(ledger);
        assert!(verified(&stopped).is_intact(), "{steps:?}");
    }
}

/// Copies the ledger of acme with its head.
fn copied(from: &Path, to: &Path) {
    for folder in ["acme", ".heads"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
}
