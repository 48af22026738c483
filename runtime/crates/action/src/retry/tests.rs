//! The decision table, and the length of waits.

use super::*;
use serde_json::json;

/// Rows: the failure. Columns: what is known of the request; `promise` is
/// `rate_limited_not_executed`, `allow` is `allow_non_idempotent`. Only `idempotent` is idempotent.
const TABLE: &str = "
    failure              | idempotent | plain   | keyed   | promise | keyed+promise | allow
    unsent               | again      | again   | again   | again   | again         | again
    sent-lost            | again      | stop    | again   | stop    | again         | again
    200                  | stop       | stop    | stop    | stop    | stop          | stop
    200 rule=retry       | again      | stop    | again   | stop    | again         | again
    200 rule=refresh     | refresh    | refresh | refresh | refresh | refresh       | refresh
    400                  | stop       | stop    | stop    | stop    | stop          | stop
    400 rule=retry       | again      | stop    | again   | stop    | again         | again
    401                  | stop       | stop    | stop    | stop    | stop          | stop
    401 rule=refresh     | refresh    | refresh | refresh | refresh | refresh       | refresh
    409                  | stop       | stop    | stop    | stop    | stop          | stop
    409 rule=retry       | again      | stop    | again   | stop    | again         | again
    429                  | again      | stop    | again   | again   | again         | again
    429 wait=2           | again      | stop    | again   | again   | again         | again
    429 wait=60          | toolong    | stop    | toolong | toolong | toolong       | toolong
    429 rule=fail        | stop       | stop    | stop    | stop    | stop          | stop
    500                  | stop       | stop    | stop    | stop    | stop          | stop
    500 rule=retry       | again      | stop    | again   | stop    | again         | again
    502                  | again      | stop    | again   | stop    | again         | again
    503                  | again      | stop    | again   | stop    | again         | again
    503 wait=2           | again      | stop    | again   | again   | again         | again
    503 wait=60          | toolong    | stop    | toolong | toolong | toolong       | toolong
    503 rule=fail        | stop       | stop    | stop    | stop    | stop          | stop
";

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Stop => "stop",
        Decision::Again { .. } => "again",
        Decision::TooLong { .. } => "toolong",
        Decision::RefreshThenAgain => "refresh",
    }
}

/// `429 wait=2` with its headers; without a rule the action is that of the class.
fn failure<'a>(row: &str, headers: &'a mut Map<String, Value>) -> Failure<'a> {
    match row {
        "unsent" => return Failure::Network { sent: false },
        "sent-lost" => return Failure::Network { sent: true },
        _ => {}
    }
    let mut words = row.split(' ');
    let status: u16 = words.next().unwrap().parse().unwrap();
    let mut action = crate::response::ErrorClass::of_status(status).default_action();
    let mut ruled = false;
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        match (name, value) {
            ("wait", seconds) => {
                headers.insert("retry-after".to_owned(), json!(seconds));
                continue;
            }
            ("rule", "fail") => action = ErrorAction::Fail,
            ("rule", "retry") => action = ErrorAction::Retry,
            ("rule", "refresh") => action = ErrorAction::RefreshRetry,
            other => panic!("{other:?}"),
        }
        ruled = true;
    }
    Failure::Upstream { status, action, ruled, headers, body: &Value::Null }
}

fn first(failure: Failure<'_>) -> Tried<'_> {
    Tried { attempt: 1, failure, idempotent: true, keyed: false, refreshed: false, jitter: 0.5, now_ms: 0 }
}

#[test]
fn what_may_have_been_carried_out_is_repeated_only_when_that_does_no_harm() {
    let mut lines = TABLE.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<&str> = lines.next().unwrap().split('|').map(str::trim).collect();
    let mut cells = 0;
    for line in lines {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        for (column, expected) in columns.iter().zip(&row).skip(1) {
            let plan = RetryPlan {
                allow_non_idempotent: *column == "allow",
                rate_limited_not_executed: column.contains("promise"),
                ..RetryPlan::default()
            };
            let mut headers = Map::new();
            let tried = Tried {
                idempotent: *column == "idempotent",
                keyed: column.contains("keyed"),
                ..first(failure(row[0], &mut headers))
            };
            assert_eq!(word(decide(&plan, &tried)), *expected, "{} x {column}", row[0]);
            cells += 1;
        }
    }
    assert_eq!(cells, 22 * 6);
}

#[test]
fn an_idempotent_request_needs_neither_key_nor_promise() {
    for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()).skip(1) {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        for (keyed, promise) in [(true, false), (false, true), (true, true)] {
            let plan = RetryPlan { rate_limited_not_executed: promise, ..RetryPlan::default() };
            let mut headers = Map::new();
            let tried = Tried { keyed, ..first(failure(row[0], &mut headers)) };
            assert_eq!(word(decide(&plan, &tried)), row[1], "{}", row[0]);
        }
    }
}

#[test]
fn tries_end_and_the_token_is_renewed_once() {
    let plan = RetryPlan::default();
    let lost = first(Failure::Network { sent: false });
    for (attempt, expected) in [(1, "again"), (2, "again"), (3, "stop"), (4, "stop"), (255, "stop")] {
        assert_eq!(word(decide(&plan, &Tried { attempt, ..lost })), expected, "{attempt}");
    }
    let mut headers = Map::new();
    let expired = first(failure("401 rule=refresh", &mut headers));
    assert_eq!(word(decide(&plan, &Tried { refreshed: true, ..expired })), "stop");
    let once = RetryPlan { max_attempts: 1, ..RetryPlan::default() };
    assert_eq!(word(decide(&once, &expired)), "refresh");
    let offline = RetryPlan { on_network: false, ..RetryPlan::default() };
    assert_eq!(word(decide(&offline, &lost)), "stop");
}

#[test]
fn waits_double_below_the_longest_and_jitter_is_full() {
    let plan = RetryPlan { max_attempts: 200, base_ms: 500, max_wait_ms: 30_000, ..RetryPlan::default() };
    for (attempt, jitter, expected_ms) in [
        (1, 0.0, 0),
        (1, 1.0, 500),
        (1, 0.5, 250),
        (2, 1.0, 1_000),
        (6, 1.0, 16_000),
        (7, 1.0, 30_000),
        (199, 1.0, 30_000),
        (7, 0.5, 15_000),
        (1, 7.0, 500),
        (1, -1.0, 0),
        (1, f64::NAN, 0),
    ] {
        let tried = Tried { attempt, jitter, ..first(Failure::Network { sent: false }) };
        let expected = Decision::Again { after: Duration::from_millis(expected_ms) };
        assert_eq!(decide(&plan, &tried), expected, "{attempt} {jitter}");
    }
}

#[test]
fn an_asked_wait_is_kept_with_at_most_a_tenth_more() {
    let plan = RetryPlan::default();
    for (seconds, jitter, expected) in [
        ("10", 0.0, Decision::Again { after: Duration::from_secs(10) }),
        ("10", 1.0, Decision::Again { after: Duration::from_secs(11) }),
        ("30", 1.0, Decision::Again { after: Duration::from_secs(30) }),
        ("30.001", 0.0, Decision::TooLong { wait: Duration::from_millis(30_001) }),
        ("0", 1.0, Decision::Again { after: Duration::from_millis(500) }),
    ] {
        let mut headers = Map::new();
        let row = format!("429 wait={seconds}");
        let tried = Tried { jitter, ..first(failure(&row, &mut headers)) };
        assert_eq!(decide(&plan, &tried), expected, "{seconds} {jitter}");
    }
}
