//! Tests of pages and exports, as far as they concern files.

use std::sync::Mutex;

use super::*;

async fn appended(dir: &Path, events: &[LedgerEvent]) -> FileLedger {
    let ledger = FileLedger::open_with_segments(dir, LedgerSync::Group, 1500).unwrap();
    for event in events {
        ledger.append(event).await.unwrap();
    }
    ledger
}

#[tokio::test]
async fn reading_makes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = appended(dir.path(), &[refused(1)]).await;
    ledger.read(&org("nobody"), &LedgerQuery::default()).await.unwrap();
    ledger.verify(&org("nobody")).await.unwrap();
    ledger.prune(&org("nobody"), 1).await.unwrap();
    assert!(!dir.path().join("nobody").exists());
}

#[tokio::test]
async fn an_export_is_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<LedgerEvent> = (0..20).map(refused).collect();
    let ledger = appended(dir.path(), &events).await;
    let collected = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&collected);
    let given = ledger
        .export(
            &org("acme"),
            &LedgerQuery::default(),
            Box::new(move |line| {
                let mut text = into.lock().unwrap();
                text.push_str(line.as_text());
                text.push('\n');
                ControlFlow::Continue(())
            }),
        )
        .await
        .unwrap();
    assert_eq!(given, 20);
    let mut files = String::new();
    for segment in segment::list(&dir.path().join("acme"), 1).unwrap() {
        files.push_str(&std::fs::read_to_string(segment.path).unwrap());
    }
    assert_eq!(*collected.lock().unwrap(), files);
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_not_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = appended(dir.path(), &[refused(1), refused(2)]).await;
    let text = std::fs::read_to_string(first_segment(dir.path())).unwrap();
    std::fs::write(first_segment(dir.path()), text.replacen("/v1", "/v2", 1)).unwrap();
    let error = ledger.read(&org("acme"), &LedgerQuery::default()).await.unwrap_err();
    assert!(error.to_string().contains("0000000001.ndjson line 1"), "{error}");
    let exported =
        ledger.export(&org("acme"), &LedgerQuery::default(), Box::new(|_| ControlFlow::Continue(()))).await;
    assert!(matches!(exported, Err(LedgerError::Damaged { .. })));
}
