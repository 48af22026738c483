//! Terms: which of several counts, and when a shorter one does.

use super::*;

fn terms(runs_days: Option<u32>, ledger_days: Option<u32>) -> RetentionTerms {
    RetentionTerms { runs_days, ledger_days, ..RetentionTerms::default() }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
}

/// Terms that were set at these hours.
fn record(changes: &[(i64, RetentionTerms)]) -> RetentionRecord {
    let mut record = RetentionRecord::default();
    for (hour, terms) in changes {
        add(&mut record, RetentionChange { terms: *terms, at: text(at(*hour)), token_id: None });
    }
    record
}

#[test]
fn a_shorter_term_counts_a_day_later_and_a_longer_one_at_once() {
    let record =
        record(&[(0, terms(Some(90), None)), (100, terms(Some(30), None)), (300, terms(Some(60), None))]);
    let runs_days = |hour| effective(&record_until(&record, hour), at(hour)).runs_days;
    for (hour, days) in
        [(0, None), (23, None), (24, Some(90)), (100, Some(90)), (123, Some(90)), (124, Some(30))]
    {
        assert_eq!(runs_days(hour), days, "after {hour} hours");
    }
    assert_eq!(runs_days(300), Some(60), "longer, at once");
}

/// A record as it was at an hour.
fn record_until(record: &RetentionRecord, hour: i64) -> RetentionRecord {
    let mut record = record.clone();
    record.changes.retain(|change| change.at <= text(at(hour)));
    record
}

#[test]
fn many_changes_within_a_day_do_not_make_a_term_shorter_early() {
    let now = Timestamp::now();
    let mut record = RetentionRecord::default();
    for n in 0..100 {
        let at = text(now.checked_sub(Duration::from_secs(3600 - n)).unwrap());
        let terms = terms(u32::try_from(100 - n).ok(), None);
        add(&mut record, RetentionChange { terms, at, token_id: None });
    }
    assert_eq!(record.changes.len(), CHANGES_MAX);
    assert_eq!(effective(&record, now).runs_days, None, "there was no limit two hours ago");
    let later = now.checked_add(Duration::from_secs(25 * 3600)).unwrap();
    assert_eq!(effective(&record, later).runs_days, Some(1));
}

#[test]
fn the_shorter_of_two_terms_counts_and_the_ledger_never_goes_below_its_least() {
    let both = least(terms(Some(90), Some(40)), terms(Some(30), Some(365)));
    assert_eq!((both.runs_days, both.ledger_days), (Some(30), Some(40)));
    assert_eq!(least(terms(None, Some(7)), RetentionTerms::default()).ledger_days, Some(30), "30 by default");
    let platform = RetentionTerms { ledger_days_min: Some(5), ..RetentionTerms::default() };
    assert_eq!(least(terms(None, Some(7)), platform).ledger_days, Some(7));
    assert_eq!(least(terms(None, Some(3)), platform).ledger_days, Some(5));
    let none = least(RetentionTerms::default(), RetentionTerms::default());
    assert_eq!((none.runs_days, none.ledger_days, none.input_days), (None, None, None));
    for (set, limit, counts) in [(None, 20, 20), (Some(7), 20, 7), (Some(30), 20, 20)] {
        let terms = RetentionTerms { input_days: set, ..RetentionTerms::default() };
        let limits = Limits { input_days: limit, ..Limits::default() };
        assert_eq!(within(terms, &limits).input_days, Some(counts), "{set:?}");
    }
}

#[test]
fn a_term_out_of_range_is_named_with_its_range_and_its_neighbours_pass() {
    let bad = RetentionTerms {
        runs_days: Some(0),
        ledger_days: Some(DAYS_MAX + 1),
        bytes: Some(BYTES_MIN - 1),
        ..RetentionTerms::default()
    };
    let found: Vec<String> =
        violations(&bad).iter().map(|v| format!("{} {}", v.pointer, v.message)).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("/runs_days is 0; it must be 1 to 36500 days"), "{found:?}");
    let good = RetentionTerms {
        runs_days: Some(1),
        ledger_days: Some(DAYS_MAX),
        bytes: Some(BYTES_MIN),
        ..RetentionTerms::default()
    };
    assert!(violations(&good).is_empty());
}
