//! Tests of pages and exports.

use super::*;

fn entries(page: &LedgerPage) -> Vec<String> {
    page.entries.iter().map(|line| line.event.entry_id.to_string()).collect()
}

fn at(event: LedgerEvent, at: &str) -> LedgerEvent {
    LedgerEvent { at: at.to_owned(), ..event }
}

async fn appended(dir: &Path, events: &[LedgerEvent]) -> FileLedger {
    let ledger = FileLedger::open_with_segments(dir, LedgerSync::Group, 1500).unwrap();
    for event in events {
        ledger.append(event).await.unwrap();
    }
    ledger
}

#[tokio::test]
async fn an_attempt_is_one_entry_ordered_by_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let events = [
        event("acme", "out_1", LedgerPhase::Begin),
        event("acme", "out_2", LedgerPhase::Begin),
        event("acme", "out_3", LedgerPhase::Refused),
        event("acme", "out_2", LedgerPhase::Complete),
        event("acme", "out_4", LedgerPhase::Begin),
        event("acme", "out_1", LedgerPhase::Complete),
    ];
    let ledger = appended(dir.path(), &events).await;
    let page = ledger.read(&org("acme"), &LedgerQuery::default()).await.unwrap();
    assert_eq!(entries(&page), ["out_4", "out_3", "out_2", "out_1"]);
    let phases: Vec<LedgerPhase> = page.entries.iter().map(|line| line.event.phase).collect();
    use LedgerPhase::{Begin, Complete, Refused};
    assert_eq!(phases, [Begin, Refused, Complete, Complete]);
    assert!(!page.has_more);
    let empty = ledger.read(&org("nobody"), &LedgerQuery::default()).await.unwrap();
    assert!(empty.entries.is_empty());
    assert!(!dir.path().join("nobody").exists());
}

#[tokio::test]
async fn pages_join_without_gaps_while_attempts_end() {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<LedgerEvent> =
        (0..10).map(|i| event("acme", &format!("out_{i}"), LedgerPhase::Begin)).collect();
    let ledger = appended(dir.path(), &events).await;
    let mut query = LedgerQuery { limit: 4, ..LedgerQuery::default() };
    let mut seen = Vec::new();
    for round in 0..3 {
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert_eq!(page.has_more, round < 2);
        query.starting_after = page.entries.last().map(|line| line.event.entry_id.clone());
        seen.extend(entries(&page));
        let ending = format!("out_{}", 9 - round * 3);
        ledger.append(&event("acme", &ending, LedgerPhase::Complete)).await.unwrap();
    }
    let expected: Vec<String> = (0..10).rev().map(|i| format!("out_{i}")).collect();
    assert_eq!(seen, expected);
    query.starting_after = Some(EntryId::parse("out_unknown").unwrap());
    let error = ledger.read(&org("acme"), &query).await.unwrap_err();
    assert!(matches!(error, LedgerError::UnknownCursor));
}

/// One entry for each filter to find.
fn varied() -> Vec<LedgerEvent> {
    let plain = |entry: &str| event("acme", entry, LedgerPhase::Refused);
    vec![
        event("acme", "out_1", LedgerPhase::Begin),
        LedgerEvent {
            verdict: LedgerVerdict::Error,
            code: Some("upstream_timeout".to_owned()),
            ..event("acme", "out_1", LedgerPhase::Complete)
        },
        LedgerEvent { origin: "https://Other.example.org:8443".to_owned(), ..plain("out_2") },
        LedgerEvent { run_id: RunId::parse("run_2").unwrap(), ..plain("out_3") },
        at(plain("out_4"), "2026-02-01T00:00:00.000000Z"),
        LedgerEvent { workspace: WorkspaceId::parse("side").unwrap(), ..plain("out_5") },
        LedgerEvent { origin: "https://[2001:db8::1]".to_owned(), ..plain("out_6") },
    ]
}

#[tokio::test]
async fn filters_choose_by_the_merged_entry() {
    let dir = tempfile::tempdir().unwrap();
    let events = varied();
    let ledger = appended(dir.path(), &events).await;
    let text = |text: &str| Some(text.to_owned());
    let only = |change: &dyn Fn(&mut LedgerQuery)| {
        let mut query = LedgerQuery::default();
        change(&mut query);
        query
    };
    let cases = [
        (only(&|q| q.verdict = Some(LedgerVerdict::Error)), "out_1"),
        (only(&|q| q.code = text("upstream_timeout")), "out_1"),
        (only(&|q| q.host = text("other.example.org")), "out_2"),
        (only(&|q| q.host = text("[2001:db8::1]")), "out_6"),
        (only(&|q| q.run_id = RunId::parse("run_2").ok()), "out_3"),
        (only(&|q| q.since = text("2026-01-02")), "out_4"),
        (only(&|q| q.workspace = WorkspaceId::parse("side").ok()), "out_5"),
    ];
    for (query, expected) in cases {
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert_eq!(entries(&page), [expected], "{query:?}");
    }
    let early = only(&|q| q.until = text("2026-01-02"));
    assert_eq!(ledger.read(&org("acme"), &early).await.unwrap().entries.len(), 5);
}

#[tokio::test]
async fn an_export_is_every_record_as_written_and_may_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<LedgerEvent> = (0..20).map(refused).collect();
    let ledger = appended(dir.path(), &events).await;
    let collected = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&collected);
    let given = ledger
        .export(&org("acme"), &LedgerQuery::default(), move |line| {
            let mut text = into.lock().unwrap();
            text.push_str(line.as_text());
            text.push('\n');
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    assert_eq!(given, 20);
    let mut files = String::new();
    for segment in segment::list(&dir.path().join("acme"), 1).unwrap() {
        files.push_str(&std::fs::read_to_string(segment.path).unwrap());
    }
    assert_eq!(*collected.lock().unwrap(), files);
    let mut left = 3;
    let given = ledger
        .export(&org("acme"), &LedgerQuery::default(), move |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await
        .unwrap();
    assert_eq!(given, 3);
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_not_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = appended(dir.path(), &[refused(1), refused(2)]).await;
    let text = std::fs::read_to_string(first_segment(dir.path())).unwrap();
    std::fs::write(first_segment(dir.path()), text.replacen("/v1", "/v2", 1)).unwrap();
    let error = ledger.read(&org("acme"), &LedgerQuery::default()).await.unwrap_err();
    assert!(error.to_string().contains("0000000001.ndjson line 1"), "{error}");
    let exported = ledger.export(&org("acme"), &LedgerQuery::default(), |_| ControlFlow::Continue(())).await;
    assert!(matches!(exported, Err(LedgerError::Damaged { .. })));
}
