//! The properties of every ledger's pages.

use portcullis_core::id::{ActionId, ConnectorId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};
use portcullis_store::{LEDGER_PAGE_ENTRIES_MAX, Ledger, LedgerCursor, LedgerError, LedgerPage, LedgerQuery};

use super::{event, fill, org, refused};

async fn append(ledger: &dyn Ledger, events: &[LedgerEvent]) {
    for event in events {
        ledger.append(event).await.unwrap();
    }
}

fn entries(page: &LedgerPage) -> Vec<String> {
    page.entries.iter().map(|line| line.event.entry_id.to_string()).collect()
}

pub(super) async fn attempts_are_one_entry(ledger: &dyn Ledger) {
    let events = [
        event("acme", "out_1", LedgerPhase::Begin),
        event("acme", "out_2", LedgerPhase::Begin),
        event("acme", "out_3", LedgerPhase::Refused),
        event("acme", "out_2", LedgerPhase::Complete),
        event("acme", "out_4", LedgerPhase::Begin),
        event("acme", "out_1", LedgerPhase::Complete),
    ];
    append(ledger, &events).await;
    let page = ledger.read(&org("acme"), &LedgerQuery::default()).await.unwrap();
    assert_eq!(entries(&page), ["out_4", "out_3", "out_2", "out_1"], "by their beginnings, newest first");
    let found: Vec<(LedgerPhase, u64)> =
        page.entries.iter().map(|line| (line.event.phase, line.seq)).collect();
    use LedgerPhase::{Begin, Complete, Refused};
    assert_eq!(found, [(Begin, 5), (Refused, 3), (Complete, 4), (Complete, 6)]);
    assert!(page.next.is_none());
}

pub(super) async fn pages_join_while_attempts_end(ledger: &dyn Ledger) {
    let events: Vec<LedgerEvent> =
        (0..10).map(|n| event("acme", &format!("out_{n}"), LedgerPhase::Begin)).collect();
    append(ledger, &events).await;
    let mut query = LedgerQuery { limit: 4, ..LedgerQuery::default() };
    let mut seen = Vec::new();
    for round in 0..3 {
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert_eq!(page.next.is_some(), round < 2);
        query.starting_after =
            page.entries.last().map(|line| LedgerCursor::Entry(line.event.entry_id.clone()));
        seen.extend(entries(&page));
        let ending = format!("out_{}", 9 - round * 3);
        ledger.append(&event("acme", &ending, LedgerPhase::Complete)).await.unwrap();
    }
    let expected: Vec<String> = (0..10).rev().map(|n| format!("out_{n}")).collect();
    assert_eq!(seen, expected);
    let end = ledger.read(&org("acme"), &query).await.unwrap();
    assert!(end.entries.is_empty() && end.next.is_none(), "after the oldest there is nothing");
}

fn after(entry: &str) -> Option<LedgerCursor> {
    LedgerCursor::parse(entry)
}

/// Entries such that each filter finds one.
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
        LedgerEvent { at: "2026-02-01T00:00:00.000000Z".to_owned(), ..plain("out_4") },
        LedgerEvent { workspace: WorkspaceId::parse("side").unwrap(), ..plain("out_5") },
        LedgerEvent { origin: "https://[2001:db8::1]".to_owned(), ..plain("out_6") },
        LedgerEvent { connector_id: ConnectorId::parse("slack").unwrap(), ..plain("out_7") },
        LedgerEvent { action_id: ActionId::parse("create").unwrap(), ..plain("out_8") },
    ]
}

pub(super) async fn filters_choose_by_the_joined_entry(ledger: &dyn Ledger) {
    append(ledger, &varied()).await;
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
        (only(&|q| q.connector_id = ConnectorId::parse("slack").ok()), "out_7"),
        (only(&|q| q.action_id = ActionId::parse("create").ok()), "out_8"),
    ];
    for (query, expected) in cases {
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert_eq!(entries(&page), [expected], "{query:?}");
    }
    let early = only(&|q| q.until = text("2026-01-02"));
    assert_eq!(ledger.read(&org("acme"), &early).await.unwrap().entries.len(), 7);
    let after = LedgerQuery { starting_after: after("out_4"), ..early };
    let page = ledger.read(&org("acme"), &after).await.unwrap();
    assert_eq!(entries(&page), ["out_3", "out_2", "out_1"], "a cursor need not match the filter");
}

pub(super) async fn a_look_ends_at_the_first_record_that_is_too_old(ledger: &dyn Ledger) {
    for (entry, day) in [("out_1", 3), ("out_2", 1), ("out_3", 2), ("out_4", 3)] {
        let at = format!("2026-01-0{day}T00:00:00.000000Z");
        ledger.append(&LedgerEvent { at, ..event("acme", entry, LedgerPhase::Refused) }).await.unwrap();
    }
    for (back_to, expected) in [
        (None, &["out_4", "out_3", "out_2", "out_1"][..]),
        (Some("2026-01-02T00:00:00.000000Z"), &["out_4", "out_3"][..]),
        (Some("2026-01-04T00:00:00.000000Z"), &[][..]),
    ] {
        let query = LedgerQuery { back_to: back_to.map(str::to_owned), ..LedgerQuery::default() };
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert_eq!(entries(&page), expected, "{back_to:?}");
        assert!(page.next.is_none(), "{back_to:?}");
    }
}

pub(super) async fn a_page_is_bounded(ledger: &dyn Ledger) {
    fill(ledger, u32::try_from(LEDGER_PAGE_ENTRIES_MAX).unwrap() + 1).await;
    let query = LedgerQuery { limit: usize::MAX, ..LedgerQuery::default() };
    let page = ledger.read(&org("acme"), &query).await.unwrap();
    assert_eq!((page.entries.len(), page.next.is_some()), (LEDGER_PAGE_ENTRIES_MAX, true));
    let none = ledger.read(&org("acme"), &LedgerQuery { limit: 0, ..query }).await.unwrap();
    assert_eq!((none.entries.len(), none.next.is_some()), (0, true));
}

pub(super) async fn unknown_cursors_are_errors(ledger: &dyn Ledger) {
    fill(ledger, 3).await;
    let unknown = LedgerQuery { starting_after: after("out_x"), ..LedgerQuery::default() };
    for name in ["acme", "nobody"] {
        let error = ledger.read(&org(name), &unknown).await.unwrap_err();
        assert!(matches!(error, LedgerError::UnknownCursor), "{name}: {error}");
    }
    ledger.append(&event("other", "out_x", LedgerPhase::Refused)).await.unwrap();
    let error = ledger.read(&org("acme"), &unknown).await.unwrap_err();
    assert!(matches!(error, LedgerError::UnknownCursor), "another org's entry is not one of this");
}

pub(super) async fn attempts_outlive_their_dropped_beginnings(ledger: &dyn Ledger) {
    ledger.append(&event("acme", "out_begun", LedgerPhase::Begin)).await.unwrap();
    for n in 0..20 {
        ledger.append(&refused(n)).await.unwrap();
    }
    ledger.append(&event("acme", "out_begun", LedgerPhase::Complete)).await.unwrap();
    assert!(ledger.prune(&org("acme"), 1).await.unwrap().segments_dropped > 0);
    let page = ledger.read(&org("acme"), &LedgerQuery::default()).await.unwrap();
    assert_eq!(entries(&page).last().map(String::as_str), Some("out_begun"), "as the oldest");
    let gone = LedgerQuery { starting_after: after("out_0"), ..LedgerQuery::default() };
    let error = ledger.read(&org("acme"), &gone).await.unwrap_err();
    assert!(matches!(error, LedgerError::UnknownCursor), "its entry was dropped");
}
