//! Waits as real APIs write them, and similar invalid texts.

use super::*;
use crate::pattern::Pattern;
use crate::retry::WaitBody;
use serde_json::json;

/// 2026-01-01T00:00:00Z
const NOW_MS: i64 = 1_767_225_600_000;

fn header(name: &str, kind: WaitKind, zero: Option<&str>) -> WaitHeader {
    WaitHeader { name: name.to_owned(), kind, when_remaining_zero: zero.map(str::to_owned) }
}

fn plan(headers: Vec<WaitHeader>) -> RetryPlan {
    RetryPlan { headers, ..RetryPlan::default() }
}

fn wait_ms(plan: &RetryPlan, headers: Value, body: Value) -> Option<u128> {
    let headers = headers.as_object().cloned().unwrap();
    wait_of(plan, &headers, &body, NOW_MS).map(|wait| wait.as_millis())
}

#[test]
fn each_kind_reads_its_own_form() {
    use WaitKind::{Auto, Duration, EpochMs, EpochS, HttpDate, Iso8601, Seconds};
    for (kind, text, expected) in [
        (Seconds, "30", Some(30_000)),
        (Seconds, " 0.25 ", Some(250)),
        (Seconds, "5, 10, 7", Some(10_000)),
        (Seconds, "5, soon", Some(5_000)),
        (EpochS, "1767225660", Some(60_000)),
        (EpochS, "1767225600.5", Some(500)),
        (EpochS, "1767225599", Some(0)),
        (EpochMs, "1767225600250", Some(250)),
        (HttpDate, "Thu, 01 Jan 2026 00:01:00 GMT", Some(60_000)),
        (HttpDate, "Thursday, 01-Jan-26 00:01:00 GMT", Some(60_000)),
        (HttpDate, "Thu Jan  1 00:01:00 2026", Some(60_000)),
        (HttpDate, "Mon, 01 Jan 2026 00:01:00 GMT", Some(60_000)),
        (HttpDate, "Wed, 31 Dec 2025 00:00:00 GMT", Some(0)),
        (HttpDate, "Thu, 01 Jan 2026 00:01:00 GMT, Thu, 01 Jan 2026 00:02:00 GMT", Some(120_000)),
        (Iso8601, "2026-01-01T00:01:00Z", Some(60_000)),
        (Iso8601, "2026-01-01T00:01Z", Some(60_000)),
        (Iso8601, "2026-01-01T01:00:30.5+01:00", Some(30_500)),
        (Duration, "6m0s", Some(360_000)),
        (Duration, "1.5s", Some(1_500)),
        (Duration, "200ms", Some(200)),
        (Duration, "1h2m", Some(3_720_000)),
        (Duration, "1s, 6m0s", Some(360_000)),
        (Auto, "30", Some(30_000)),
        (Auto, "1767225660", Some(60_000)),
        (Auto, "1767225660000", Some(60_000)),
        (Auto, "Thu, 01 Jan 2026 00:01:00 GMT", Some(60_000)),
        (Auto, "2026-01-01T00:01:00Z", Some(60_000)),
        (Auto, "6m0s", Some(360_000)),
    ] {
        let plan = plan(vec![header("h", kind, None)]);
        assert_eq!(wait_ms(&plan, json!({ "h": text }), Value::Null), expected, "{kind:?} {text}");
    }
}

#[test]
fn nonsense_is_ignored() {
    use WaitKind::{Auto, Duration, EpochMs, EpochS, HttpDate, Iso8601, Seconds};
    for kind in [Auto, Seconds, EpochS, EpochMs, HttpDate, Iso8601, Duration] {
        for text in
            ["", ",", "-5", "+5", "soon", "1e3", "inf", "NaN", "1.2.3", "0x10", "5 s m", "é", "1m2", ".5"]
        {
            let plan = plan(vec![header("h", kind, None)]);
            assert_eq!(wait_ms(&plan, json!({ "h": text }), Value::Null), None, "{kind:?} {text}");
        }
    }
    let huge = "9".repeat(400);
    let plan = plan(vec![header("h", Auto, None)]);
    assert_eq!(wait_ms(&plan, json!({ "h": huge }), Value::Null), None);
    assert_eq!(wait_ms(&plan, json!({ "h": 5 }), Value::Null), None);
    assert_eq!(wait_ms(&plan, json!({}), Value::Null), None);
}

#[test]
fn github_says_when_only_once_nothing_remains() {
    let github = plan(vec![
        header("retry-after", WaitKind::Seconds, None),
        header("x-ratelimit-reset", WaitKind::EpochS, Some("x-ratelimit-remaining")),
    ]);
    let reset = "1767225900";
    for (headers, expected) in [
        (json!({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset }), Some(300_000)),
        (json!({ "x-ratelimit-remaining": "1", "x-ratelimit-reset": reset }), None),
        (json!({ "x-ratelimit-reset": reset }), None),
        (
            json!({ "x-ratelimit-remaining": "9", "x-ratelimit-reset": reset, "retry-after": "60" }),
            Some(60_000),
        ),
        (
            json!({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset, "retry-after": "60" }),
            Some(300_000),
        ),
    ] {
        assert_eq!(wait_ms(&github, headers.clone(), Value::Null), expected, "{headers}");
    }
}

#[test]
fn openai_names_the_limit_that_is_used_up() {
    let openai = plan(vec![
        header("x-ratelimit-reset-requests", WaitKind::Duration, Some("x-ratelimit-remaining-requests")),
        header("x-ratelimit-reset-tokens", WaitKind::Duration, Some("x-ratelimit-remaining-tokens")),
    ]);
    let headers = json!({ "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
                          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" });
    assert_eq!(wait_ms(&openai, headers, Value::Null), Some(360_000));
}

#[test]
fn jira_says_an_iso_instant_and_gmail_a_sentence() {
    let jira = plan(vec![
        header("retry-after", WaitKind::Auto, None),
        header("x-ratelimit-reset", WaitKind::Iso8601, None),
    ]);
    let headers = json!({ "retry-after": "5", "x-ratelimit-reset": "2026-01-01T00:00:20Z" });
    assert_eq!(wait_ms(&jira, headers, Value::Null), Some(20_000));

    let gmail = RetryPlan {
        body: Some(WaitBody {
            path: "/error/errors/*/message".to_owned(),
            pattern: Some(Pattern::within("Retry after (\\S+)").unwrap()),
            kind: WaitKind::Iso8601,
        }),
        ..RetryPlan::default()
    };
    let message = "User-rate limit exceeded.  Retry after 2026-01-01T00:00:42.500Z";
    let body = json!({ "error": { "code": 429, "errors": [{ "message": message }] } });
    assert_eq!(wait_ms(&gmail, json!({}), body.clone()), Some(42_500));
    assert_eq!(wait_ms(&gmail, json!({ "retry-after": "60" }), body), Some(60_000));
    let other = json!({ "error": { "errors": [{ "message": "Retry later" }] } });
    assert_eq!(wait_ms(&gmail, json!({}), other), None);
}

#[test]
fn a_number_in_the_body_needs_no_pattern_and_one_that_does_not_match_says_nothing() {
    let body = |path: &str, pattern: Option<&str>| RetryPlan {
        headers: Vec::new(),
        body: Some(WaitBody {
            path: path.to_owned(),
            pattern: pattern.map(|text| Pattern::within(text).unwrap()),
            kind: WaitKind::Seconds,
        }),
        ..RetryPlan::default()
    };
    let document = json!({ "retry_after": 1.5, "list": [1] });
    assert_eq!(wait_ms(&body("/retry_after", None), json!({}), document.clone()), Some(1_500));
    assert_eq!(wait_ms(&body("/retry_after", Some("x")), json!({}), document.clone()), None);
    assert_eq!(wait_ms(&body("/list", None), json!({}), document.clone()), None);
    assert_eq!(wait_ms(&body("retry_after", None), json!({}), document), None);
}
