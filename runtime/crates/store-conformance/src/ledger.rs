//! What every ledger must do.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;
use portcullis_core::ledger::{LedgerEvent, LedgerPhase};
use portcullis_store::for_backends::ledger::{EVENT_BYTES_MAX, SEGMENT_BYTES, parse};
use portcullis_store::{
    Ledger, LedgerCursor, LedgerCut, LedgerError, LedgerLeft, LedgerLine, LedgerQuery, PruneReport,
};
use tokio::sync::broadcast::error::RecvError;

mod long;
mod pages;

/// A few records fill a segment of this size.
const SMALL: u64 = 1500;

/// Runs everything, each check on a fresh ledger whose segment size is passed to `fresh`.
pub async fn check_all<L: Ledger>(fresh: impl Fn(u64) -> Arc<L>) {
    orgs_have_their_own_chains(&*fresh(SMALL)).await;
    a_chain_verifies_across_segments(&*fresh(SMALL)).await;
    an_export_is_what_was_appended(&*fresh(SMALL)).await;
    an_export_ends_when_its_sink_breaks(&*fresh(SMALL)).await;
    pages::attempts_are_one_entry(&*fresh(SMALL)).await;
    pages::pages_join_while_attempts_end(&*fresh(SMALL)).await;
    pages::filters_choose_by_the_joined_entry(&*fresh(SMALL)).await;
    pages::a_look_ends_at_the_first_record_that_is_too_old(&*fresh(SMALL)).await;
    long::pages_go_on_where_a_look_ended(&*fresh(SMALL)).await;
    long::pages_go_on_where_a_look_ended(&*fresh(300_000)).await;
    long::an_entry_far_back_is_found_by_pages(&*fresh(300_000)).await;
    long::attempts_without_beginnings_are_paged(&*fresh(SMALL)).await;
    long::a_place_that_no_page_ended_at_does_no_harm(&*fresh(SMALL)).await;
    pages::a_page_is_bounded(&*fresh(SEGMENT_BYTES)).await;
    pages::unknown_cursors_are_errors(&*fresh(SMALL)).await;
    pages::attempts_outlive_their_dropped_beginnings(&*fresh(SMALL)).await;
    subscribers_follow_their_org(&*fresh(SMALL)).await;
    a_slow_subscriber_learns_what_it_missed(&*fresh(SMALL)).await;
    an_event_too_large_does_not_move_the_chain(&*fresh(SMALL)).await;
    a_pruned_chain_goes_on_from_its_anchor(&*fresh(SMALL)).await;
    old_segments_go_and_the_rest_is_as_it_was(&*fresh(SMALL)).await;
    concurrent_appends_leave_no_gap(fresh(SMALL)).await;
}

pub fn org(name: &str) -> OrgId {
    OrgId::parse(name).unwrap()
}

pub fn event(org: &str, entry: &str, phase: LedgerPhase) -> LedgerEvent {
    serde_json::from_value(serde_json::json!({
        "entry_id": entry, "at": "2026-01-01T00:00:00.000000Z", "phase": phase, "org": org,
        "workspace": "main", "connector_id": "salesforce", "revision": 1, "action_id": "list",
        "run_id": "run_1", "method": "GET", "origin": "https://api.example.com", "path": "/v1",
        "verdict": "allow",
    }))
    .unwrap()
}

pub fn refused(entry: u32) -> LedgerEvent {
    event("acme", &format!("out_{entry}"), LedgerPhase::Refused)
}

async fn fill(ledger: &dyn Ledger, records: u32) {
    for entry in 0..records {
        assert_eq!(ledger.append(&refused(entry)).await.unwrap(), u64::from(entry) + 1);
    }
}

/// Texts and events of an export.
async fn exported(ledger: &dyn Ledger, name: &str, query: &LedgerQuery) -> Vec<(String, LedgerEvent)> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&collected);
    let sink = Box::new(move |line: &LedgerLine| {
        into.lock().unwrap().push((line.as_text().to_owned(), line.event.clone()));
        ControlFlow::Continue(())
    });
    let given = ledger.export(&org(name), query, sink).await.unwrap();
    let lines = std::mem::take(&mut *collected.lock().unwrap());
    assert_eq!(given, lines.len() as u64);
    lines
}

async fn orgs_have_their_own_chains(ledger: &dyn Ledger) {
    for round in 1..=3 {
        for name in ["acme", "other"] {
            let mine = event(name, &format!("out_{name}{round}"), LedgerPhase::Refused);
            assert_eq!(ledger.append(&mine).await.unwrap(), round);
        }
    }
    for name in ["acme", "other"] {
        let page = ledger.read(&org(name), &LedgerQuery::default()).await.unwrap();
        assert!(page.entries.len() == 3 && page.entries.iter().all(|line| line.event.org == org(name)));
        let lines = exported(ledger, name, &LedgerQuery::default()).await;
        assert!(lines.len() == 3 && lines.iter().all(|(_, event)| event.org == org(name)));
        let report = ledger.verify(&org(name)).await.unwrap();
        assert!(report.is_intact() && report.records == 3 && report.org == org(name), "{report:?}");
    }
    assert!(ledger.bytes(&org("acme")).await.unwrap() > 100);
    assert_eq!(ledger.bytes(&org("nobody")).await.unwrap(), 0);
    let hashes = [
        ledger.verify(&org("acme")).await.unwrap().last_hash,
        ledger.verify(&org("other")).await.unwrap().last_hash,
        ledger.verify(&org("nobody")).await.unwrap().last_hash,
    ];
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    let none = ledger.verify(&org("nobody")).await.unwrap();
    assert!(none.is_intact() && none.records == 0 && none.segments == 0 && none.first_seq.is_none());
    assert!(exported(ledger, "nobody", &LedgerQuery::default()).await.is_empty());
    assert!(ledger.read(&org("nobody"), &LedgerQuery::default()).await.unwrap().entries.is_empty());
    assert_eq!(ledger.prune(&org("nobody"), 1).await.unwrap(), PruneReport::default());
    assert_eq!(ledger.append(&event("nobody", "out_1", LedgerPhase::Refused)).await.unwrap(), 1);
}

async fn a_chain_verifies_across_segments(ledger: &dyn Ledger) {
    fill(ledger, 30).await;
    let report = ledger.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && !report.anchored && report.torn_tail_bytes == 0, "{report:?}");
    assert_eq!((report.records, report.first_seq, report.last_seq), (30, Some(1), 30));
    assert!(report.segments > 3, "{report:?}");
    let lines = exported(ledger, "acme", &LedgerQuery::default()).await;
    let mut last: Option<[u8; 32]> = None;
    for ((text, _), seq) in lines.iter().zip(1..) {
        let line = parse(&org("acme"), text.as_bytes()).unwrap();
        assert_eq!(line.seq, seq);
        assert!(last.is_none_or(|last| last == line.prev), "{seq} continues the one before");
        assert!(parse(&org("other"), text.as_bytes()).is_err(), "it is this org's record");
        last = Some(line.hash);
    }
    assert_eq!(report.last_hash, portcullis_core::hex::encode(&last.unwrap()));
}

async fn an_export_is_what_was_appended(ledger: &dyn Ledger) {
    let events: Vec<LedgerEvent> = (0..12)
        .flat_map(|n| {
            let entry = format!("out_{n}");
            [LedgerPhase::Begin, LedgerPhase::Complete].map(|phase| LedgerEvent {
                path: format!("/v{n}/\"ü\\\u{1}"),
                ..event("acme", &entry, phase)
            })
        })
        .collect();
    for event in &events {
        ledger.append(event).await.unwrap();
    }
    let ignored = LedgerQuery {
        limit: 1,
        starting_after: Some(LedgerCursor::Entry(events[4].entry_id.clone())),
        ..LedgerQuery::default()
    };
    let lines = exported(ledger, "acme", &ignored).await;
    assert_eq!(lines.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), events);
    for ((text, event), seq) in lines.iter().zip(1..) {
        let line = parse(&org("acme"), text.as_bytes()).unwrap();
        assert_eq!(line.seq, seq);
        assert_eq!(serde_json::from_str::<LedgerEvent>(line.event).unwrap(), *event);
    }
    ledger.append(&LedgerEvent { code: Some("dns_failed".to_owned()), ..refused(99) }).await.unwrap();
    let wanted = LedgerQuery { code: Some("dns_failed".to_owned()), ..LedgerQuery::default() };
    let lines = exported(ledger, "acme", &wanted).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].1.entry_id.to_string(), "out_99");
}

async fn an_export_ends_when_its_sink_breaks(ledger: &dyn Ledger) {
    fill(ledger, 20).await;
    let mut left = 7;
    let sink = Box::new(move |_: &LedgerLine| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(ledger.export(&org("acme"), &LedgerQuery::default(), sink).await.unwrap(), 7);
}

async fn subscribers_follow_their_org(ledger: &dyn Ledger) {
    fill(ledger, 1).await;
    let mut mine = [ledger.subscribe(&org("acme")), ledger.subscribe(&org("acme"))];
    let mut theirs = ledger.subscribe(&org("other"));
    drop(ledger.subscribe(&org("acme")));
    for entry in 1..12 {
        ledger.append(&refused(entry)).await.unwrap();
    }
    let lines = exported(ledger, "acme", &LedgerQuery::default()).await;
    for (text, event) in &lines[1..] {
        for subscriber in &mut mine {
            let line = subscriber.recv().await.unwrap();
            assert_eq!((line.as_text(), &line.event), (text.as_str(), event));
            assert_eq!(serde_json::to_string(&*line).unwrap(), *text);
        }
    }
    assert!(mine[0].try_recv().is_err(), "there are no more");
    assert!(theirs.try_recv().is_err(), "another org's records are not given");
    let other = event("other", "out_1", LedgerPhase::Refused);
    ledger.append(&other).await.unwrap();
    assert_eq!(theirs.recv().await.unwrap().event, other);
}

async fn a_slow_subscriber_learns_what_it_missed(ledger: &dyn Ledger) {
    let mut slow = ledger.subscribe(&org("acme"));
    fill(ledger, 1024 + 5).await;
    assert!(matches!(slow.recv().await, Err(RecvError::Lagged(5))));
    assert_eq!(slow.recv().await.unwrap().seq, 6);
}

async fn an_event_too_large_does_not_move_the_chain(ledger: &dyn Ledger) {
    fill(ledger, 1).await;
    let spare = EVENT_BYTES_MAX - LedgerEvent { path: String::new(), ..refused(1) }.to_json().len();
    let over = LedgerEvent { path: "x".repeat(spare + 1), ..refused(1) };
    let error = ledger.append(&over).await.unwrap_err();
    assert!(matches!(error, LedgerError::TooLarge { bytes: 65_537, limit: 65_536 }), "{error}");
    let fits = LedgerEvent { path: "x".repeat(spare), ..refused(1) };
    assert_eq!(ledger.append(&fits).await.unwrap(), 2);
    assert_eq!(exported(ledger, "acme", &LedgerQuery::default()).await[1].1, fits);
    assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
}

async fn a_pruned_chain_goes_on_from_its_anchor(ledger: &dyn Ledger) {
    fill(ledger, 40).await;
    let before = ledger.verify(&org("acme")).await.unwrap();
    let whole = exported(ledger, "acme", &LedgerQuery::default()).await;
    assert_eq!(ledger.prune(&org("acme"), before.segments).await.unwrap(), PruneReport::default());
    let report = ledger.prune(&org("acme"), 3).await.unwrap();
    assert_eq!(report.segments_dropped, before.segments - 3);
    assert!(report.dropped_to_seq > 0);
    let after = ledger.verify(&org("acme")).await.unwrap();
    assert!(after.is_intact() && after.anchored && after.segments == 3, "{after:?}");
    assert_eq!(after.first_seq, Some(report.dropped_to_seq + 1));
    assert_eq!((after.last_seq, &after.last_hash), (40, &before.last_hash));
    let dropped = usize::try_from(report.dropped_to_seq).unwrap();
    assert_eq!(exported(ledger, "acme", &LedgerQuery::default()).await, whole[dropped..]);
    let again = ledger.prune(&org("acme"), 3).await.unwrap();
    assert_eq!(again, PruneReport { segments_dropped: 0, dropped_to_seq: report.dropped_to_seq });
    assert_eq!(ledger.append(&refused(40)).await.unwrap(), 41);
    ledger.prune(&org("acme"), 0).await.unwrap();
    let last = ledger.verify(&org("acme")).await.unwrap();
    assert!(last.is_intact() && last.segments == 1 && last.last_seq == 41, "one segment always stays");
    assert_eq!(ledger.append(&refused(41)).await.unwrap(), 42);
}

async fn old_segments_go_and_the_rest_is_as_it_was(ledger: &dyn Ledger) {
    fill(ledger, 40).await;
    let before = ledger.verify(&org("acme")).await.unwrap();
    let whole = exported(ledger, "acme", &LedgerQuery::default()).await;
    let cut = |before: &str| LedgerCut { before: Some(before.to_owned()), ..LedgerCut::default() };
    // Every record is of this moment.
    let young = ledger.retain(&org("acme"), &cut("2026-01-01T00:00:00.000000Z")).await.unwrap();
    assert_eq!(young.segments_dropped, 0, "not from before that moment");
    assert_eq!(ledger.retain(&org("nobody"), &cut("2999")).await.unwrap(), LedgerLeft::default());
    let old = ledger.retain(&org("acme"), &cut("2999-01-01T00:00:00.000000Z")).await.unwrap();
    assert_eq!(old.segments_dropped, before.segments - 1, "the last one stays");
    assert!(old.bytes > 0 && old.bytes < young.bytes);
    let after = ledger.verify(&org("acme")).await.unwrap();
    assert!(after.is_intact() && after.anchored && after.last_hash == before.last_hash, "{after:?}");
    let left = exported(ledger, "acme", &LedgerQuery::default()).await;
    assert!(!left.is_empty() && whole.ends_with(&left));
    assert_eq!(ledger.append(&refused(40)).await.unwrap(), 41);
    let orgs: Vec<_> = ledger.orgs().await.unwrap().into_iter().collect();
    assert_eq!(orgs, [org("acme")]);
}

async fn concurrent_appends_leave_no_gap(ledger: Arc<dyn Ledger>) {
    let mut tasks = Vec::new();
    for task in 0..16_u32 {
        let ledger = Arc::clone(&ledger);
        tasks.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..25 {
                seqs.push(ledger.append(&refused(task * 100 + n)).await.unwrap());
            }
            assert!(seqs.is_sorted(), "one after the other");
            seqs
        }));
    }
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.extend(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=400).collect::<Vec<u64>>());
    let report = ledger.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 400, "{report:?}");
}
