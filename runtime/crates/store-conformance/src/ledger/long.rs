//! The properties of pages that end early because a look at more would take too long.

use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};
use portcullis_store::{Ledger, LedgerCursor, LedgerError, LedgerLine, LedgerQuery};

use super::{event, org, refused};

/// Bytes of a record's path: a hundred records are more than a page looks at.
const PATH_BYTES: usize = 60_000;
/// Attempts of these tests.
const ATTEMPTS: usize = 100;
/// Attempts that are under way at once.
const OPEN: usize = 9;

/// All entries of a query, page by page, and the number of pages. Each place is taken as its text, as callers have it.
async fn all(ledger: &dyn Ledger, mut query: LedgerQuery) -> (Vec<LedgerLine>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert!(page.entries.len() <= query.limit);
        found.extend(page.entries);
        pages += 1;
        match page.next {
            Some(next) => query.starting_after = LedgerCursor::parse(&next.to_string()),
            None => return (found, pages),
        }
        assert!(query.starting_after.is_some() && pages < 2000, "a list has an end");
    }
}

fn long(entry: usize, phase: LedgerPhase) -> LedgerEvent {
    let is_rare = entry.is_multiple_of(20);
    let failed = is_rare && phase == LedgerPhase::Complete;
    LedgerEvent {
        path: format!("/{}", "x".repeat(PATH_BYTES)),
        code: failed.then(|| "upstream_timeout".to_owned()),
        verdict: if failed { LedgerVerdict::Error } else { LedgerVerdict::Allow },
        ..event("acme", &format!("out_{entry}"), phase)
    }
}

/// Attempts that overlap: each ends when several others have begun; every seventh never ends.
async fn fill(ledger: &dyn Ledger, attempts: usize) {
    for n in 0..attempts + OPEN {
        if n < attempts {
            ledger.append(&long(n, LedgerPhase::Begin)).await.unwrap();
        }
        if let Some(ending) = n.checked_sub(OPEN)
            && ending % 7 != 1
        {
            ledger.append(&long(ending, LedgerPhase::Complete)).await.unwrap();
        }
    }
}

fn ids(lines: &[LedgerLine]) -> Vec<String> {
    lines.iter().map(|line| line.event.entry_id.to_string()).collect()
}

pub(super) async fn pages_go_on_where_a_look_ended(ledger: &dyn Ledger) {
    let attempts = ATTEMPTS;
    fill(ledger, attempts).await;
    let expected: Vec<String> = (0..attempts).rev().map(|n| format!("out_{n}")).collect();
    for limit in [3, 50, 1000] {
        let (found, pages) = all(ledger, LedgerQuery { limit, ..LedgerQuery::default() }).await;
        assert_eq!(ids(&found), expected, "{limit}");
        assert!(pages > 3, "{limit}: {pages} pages");
        let unended: Vec<_> = found.iter().filter(|line| line.event.phase == LedgerPhase::Begin).collect();
        assert!(
            unended.iter().all(|line| line.event.entry_id.as_str()[4..].parse::<usize>().unwrap() % 7 == 1)
        );
        assert_eq!(unended.len(), (0..attempts).filter(|n| n % 7 == 1).count(), "the others have ended");
    }
    // Found by how the attempt ended, which is written long after its beginning.
    let rare = LedgerQuery { code: Some("upstream_timeout".to_owned()), ..LedgerQuery::default() };
    let (found, pages) = all(ledger, rare.clone()).await;
    let expected: Vec<String> =
        (0..attempts).rev().filter(|n| n % 20 == 0 && n % 7 != 1).map(|n| format!("out_{n}")).collect();
    assert_eq!(ids(&found), expected);
    assert!(pages > 3, "{pages} pages");
    let first = ledger.read(&org("acme"), &rare).await.unwrap();
    assert!(first.entries.len() < expected.len() && first.next.is_some(), "a look is bounded");
    let none = LedgerQuery { code: Some("dns_failed".to_owned()), ..LedgerQuery::default() };
    let (found, pages) = all(ledger, none).await;
    assert!(found.is_empty() && pages > 3, "{pages} pages");
}

pub(super) async fn an_entry_far_back_is_found_by_pages(ledger: &dyn Ledger) {
    fill(ledger, ATTEMPTS).await;
    let after = LedgerQuery { starting_after: LedgerCursor::parse("out_3"), ..LedgerQuery::default() };
    let first = ledger.read(&org("acme"), &after).await.unwrap();
    assert!(first.entries.is_empty() && first.next.is_some(), "the look for it goes on");
    let (found, _) = all(ledger, after).await;
    assert_eq!(ids(&found), ["out_2", "out_1", "out_0"]);
    // One that is not there is known at the end.
    let mut query = LedgerQuery { starting_after: LedgerCursor::parse("out_none"), ..LedgerQuery::default() };
    let error = loop {
        match ledger.read(&org("acme"), &query).await {
            Ok(page) => query.starting_after = Some(page.next.expect("it was not found")),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LedgerError::UnknownCursor), "{error}");
}

pub(super) async fn attempts_without_beginnings_are_paged(ledger: &dyn Ledger) {
    for n in 0..5 {
        ledger.append(&event("acme", &format!("out_{n}"), LedgerPhase::Begin)).await.unwrap();
    }
    for n in 0..20 {
        ledger.append(&refused(100 + n)).await.unwrap();
    }
    for n in 0..5 {
        ledger.append(&event("acme", &format!("out_{n}"), LedgerPhase::Complete)).await.unwrap();
        ledger.append(&refused(200 + n)).await.unwrap();
    }
    let mut expected = ids(&all(ledger, LedgerQuery::default()).await.0);
    assert_eq!(expected.len(), 30);
    assert!(ledger.prune(&org("acme"), 8).await.unwrap().segments_dropped > 0);
    let whole = LedgerQuery { limit: 1000, ..LedgerQuery::default() };
    let after = ids(&ledger.read(&org("acme"), &whole).await.unwrap().entries);
    expected.retain(|entry| after.contains(entry));
    assert_eq!(after.len(), expected.len());
    for limit in [1, 2, 4] {
        let (found, _) = all(ledger, LedgerQuery { limit, ..LedgerQuery::default() }).await;
        assert_eq!(ids(&found), after, "{limit}");
    }
}

pub(super) async fn a_place_that_no_page_ended_at_does_no_harm(ledger: &dyn Ledger) {
    for n in 0..10 {
        ledger.append(&refused(n)).await.unwrap();
    }
    let first = ledger.read(&org("acme"), &LedgerQuery { limit: 5, ..LedgerQuery::default() }).await.unwrap();
    let is_by_seq = first.next.unwrap().to_string() == "at.6.5";
    for (text, count) in [
        ("at.0.0", 0),
        ("at.0.18446744073709551615", 0),
        ("at.5.4", 4),
        ("at.5.18446744073709551615", 4),
        ("at.18446744073709551615.18446744073709551615", 10),
        ("at.18446744073709551615.3", 3),
    ] {
        let query = LedgerQuery { starting_after: LedgerCursor::parse(text), ..LedgerQuery::default() };
        assert!(query.starting_after.is_some(), "{text}");
        let page = ledger.read(&org("acme"), &query).await.unwrap();
        assert!(page.entries.len() <= 10, "{text}");
        // Where an org has one chain, places are sequences.
        if is_by_seq {
            assert_eq!((page.entries.len(), page.next), (count, None), "{text}");
        }
    }
    for text in ["", "at.", "at.1", "at.1.2.3.4", "at.-1.2", "at.1.x", "in.1.2", "at.1.2.NO", "a b"] {
        assert_eq!(LedgerCursor::parse(text), None, "{text}");
    }
}
