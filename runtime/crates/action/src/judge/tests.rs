//! Recorded answers of real APIs, each beside a similar one that means something else.

use super::*;
use serde_json::json;

/// A plan with the behaviour members only.
fn plan(behaviour: Value) -> ActionPlan {
    serde_json::from_value(behaviour).unwrap()
}

fn answer(plan: &ActionPlan, status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
    judge(plan, status, &headers, body.as_bytes())
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

/// `class/action code: message`, or `ok output`.
fn said(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Success { output } => format!("ok {output}"),
        Outcome::Error(error) => {
            let action = json!(error.action);
            let mut text = format!("{}/{}", error.class.as_str(), action.as_str().unwrap());
            if let Some(code) = &error.code {
                text.push_str(&format!(" {code}"));
            }
            if let Some(message) = &error.message {
                text.push_str(&format!(": {message}"));
            }
            text
        }
    }
}

/// Status, headers besides the content type, body, and the expected verdict.
type Case<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[track_caller]
fn check(plan: &ActionPlan, cases: &[Case]) {
    for (status, headers, body, expected) in cases {
        let mut all = vec![JSON];
        all.extend_from_slice(headers);
        assert_eq!(said(&answer(plan, *status, &all, body)), *expected, "{status} {headers:?} {body}");
    }
}

#[test]
fn github_403_is_a_rate_limit_or_a_missing_permission() {
    let github = plan(json!({ "errors": [
        { "status": [403, 429], "header": { "path": "/x-ratelimit-remaining", "eq": "0" },
          "class": "rate_limit", "action": "retry", "message_path": "/message" },
        { "status": [403, 429], "header": { "path": "/retry-after", "exists": true },
          "class": "rate_limit", "action": "retry", "message_path": "/message" },
        { "status": [403], "class": "permission", "action": "fail", "message_path": "/message" },
    ] }));
    let limit = r#"{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs"}"#;
    let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    let permission = r#"{"message":"Resource not accessible by personal access token"}"#;
    check(
        &github,
        &[
            (
                403,
                &[("X-RateLimit-Remaining", "0"), ("x-ratelimit-reset", "1767225600")],
                limit,
                "rate_limit/retry: API rate limit exceeded for user ID 1.",
            ),
            (
                403,
                &[("x-ratelimit-remaining", "4000"), ("retry-after", "60")],
                secondary,
                "rate_limit/retry: You have exceeded a secondary rate limit.",
            ),
            (
                403,
                &[("x-ratelimit-remaining", "4999")],
                permission,
                "permission/fail: Resource not accessible by personal access token",
            ),
            (404, &[], r#"{"message":"Not Found"}"#, "not_found/fail"),
            (200, &[("x-ratelimit-remaining", "0")], r#"{"id":1}"#, r#"ok {"id":1}"#),
        ],
    );
}

#[test]
fn slack_200_with_ok_false_is_an_error() {
    let slack = plan(json!({
        "success": { "predicate": { "path": "/ok", "eq": true } },
        "errors": [
            { "predicate": { "path": "/error", "eq": "token_expired" }, "class": "auth",
              "action": "refresh_retry", "code_path": "/error" },
            { "predicate": { "path": "/error", "in": ["invalid_auth", "token_revoked", "not_authed"] },
              "class": "auth", "action": "fail", "code_path": "/error" },
            { "predicate": { "path": "/error", "matches": "missing_scope|not_allowed_.*" },
              "class": "permission", "action": "fail", "code_path": "/error", "message_path": "/needed" },
        ],
    }));
    check(
        &slack,
        &[
            (200, &[], r#"{"ok":true,"ts":"1.2"}"#, r#"ok {"ok":true,"ts":"1.2"}"#),
            (200, &[], r#"{"ok":false,"error":"token_expired"}"#, "auth/refresh_retry token_expired"),
            (200, &[], r#"{"ok":false,"error":"token_revoked"}"#, "auth/fail token_revoked"),
            (
                200,
                &[],
                r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#,
                "permission/fail missing_scope: chat:write",
            ),
            (200, &[], r#"{"ok":false,"error":"channel_not_found"}"#, "permanent/fail"),
            (200, &[], "", "transient/retry response_unreadable: the answer should be JSON and is empty"),
            (429, &[("retry-after", "30")], r#"{"ok":false,"error":"ratelimited"}"#, "rate_limit/retry"),
        ],
    );
}

#[test]
fn shopify_200_says_throttled_or_user_errors() {
    let shopify = plan(json!({
        "success": { "predicate": { "all": [
            { "path": "/errors", "exists": false }, { "path": "/data/*/userErrors/0", "exists": false } ] } },
        "response": { "root": "/data" },
        "errors": [
            { "predicate": { "path": "/errors/*/extensions/code", "eq": "THROTTLED" }, "class": "rate_limit",
              "action": "retry", "code_path": "/errors/*/extensions/code",
              "message_path": "/errors/0/message" },
            { "predicate": { "path": "/data/*/userErrors/0", "exists": true }, "class": "validation",
              "action": "fail", "message_path": "/data/*/userErrors/0/message" },
        ],
    }));
    check(
        &shopify,
        &[
            (
                200,
                &[],
                r#"{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}]}"#,
                "rate_limit/retry THROTTLED: Throttled",
            ),
            (
                200,
                &[],
                r#"{"data":{"create":{"product":null,"userErrors":[{"message":"Title can't be blank"}]}}}"#,
                "validation/fail: Title can't be blank",
            ),
            (200, &[], r#"{"errors":[{"message":"Field 'x' doesn't exist"}]}"#, "permanent/fail"),
            (
                200,
                &[],
                r#"{"data":{"productCreate":{"product":{"id":"1"},"userErrors":[]}}}"#,
                r#"ok {"productCreate":{"product":{"id":"1"},"userErrors":[]}}"#,
            ),
        ],
    );
}

#[test]
fn salesforce_errors_are_an_array() {
    let rule = |code: &str, class: &str, action: &str| {
        json!({ "predicate": { "path": "/*/errorCode", "eq": code }, "class": class, "action": action,
                "code_path": "/0/errorCode", "message_path": "/0/message" })
    };
    let salesforce = plan(json!({ "errors": [
        rule("REQUEST_LIMIT_EXCEEDED", "quota", "fail"),
        rule("INVALID_SESSION_ID", "auth", "refresh_retry"),
    ] }));
    check(
        &salesforce,
        &[
            (
                403,
                &[("Sforce-Limit-Info", "api-usage=15000/15000")],
                r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
                "quota/fail REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded.",
            ),
            (
                401,
                &[],
                r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
                "auth/refresh_retry INVALID_SESSION_ID: Session expired or invalid",
            ),
            (403, &[], r#"[{"message":"no","errorCode":"INSUFFICIENT_ACCESS"}]"#, "permission/fail"),
            (204, &[], "", "ok null"),
        ],
    );
}

#[test]
fn google_403_is_told_by_its_reason() {
    let google = plan(json!({ "errors": [
        { "status": [403], "class": "rate_limit", "action": "retry", "code_path": "/error/errors/0/reason",
          "predicate": { "path": "/error/errors/*/reason", "matches": "(user)?[rR]ateLimitExceeded" } },
        { "status": [403], "class": "quota", "action": "fail", "code_path": "/error/errors/0/reason",
          "predicate": { "path": "/error/errors/*/reason", "in": ["dailyLimitExceeded", "quotaExceeded"] } },
        { "class": "permanent", "action": "fail", "code_path": "/error/code",
          "predicate": { "path": "/error/code", "gte": 400 } },
    ] }));
    let body = |reason: &str| format!(r#"{{"error":{{"code":403,"errors":[{{"reason":"{reason}"}}]}}}}"#);
    for (reason, expected) in [
        ("rateLimitExceeded", "rate_limit/retry rateLimitExceeded"),
        ("userRateLimitExceeded", "rate_limit/retry userRateLimitExceeded"),
        ("dailyLimitExceeded", "quota/fail dailyLimitExceeded"),
        ("insufficientPermissions", "permanent/fail 403"),
    ] {
        assert_eq!(said(&answer(&google, 403, &[JSON], &body(reason))), expected);
    }
}

#[test]
fn aws_400_is_throttling_or_a_wrong_request() {
    let aws = plan(json!({ "errors": [
        { "status": [400], "class": "rate_limit", "action": "retry", "code_path": "/__type",
          "predicate": { "path": "/__type", "matches": "(.*#)?(Throttling|TooManyRequests)Exception" } },
        { "predicate": { "path": "", "contains": "<Code>SlowDown</Code>" }, "class": "rate_limit",
          "action": "retry", "message": "slow down" },
    ] }));
    let amz = ("content-type", "application/x-amz-json-1.1");
    for (content_type, status, body, expected) in [
        (amz, 400, r#"{"__type":"ThrottlingException"}"#, "rate_limit/retry ThrottlingException"),
        (("content-type", "text/plain"), 400, r#"{"__type":"ThrottlingException"}"#, "validation/fail"),
        (JSON, 400, r#"{"__type":"ThrottlingException"}"#, "rate_limit/retry ThrottlingException"),
        (
            JSON,
            400,
            r#"{"__type":"com.amazon#ThrottlingException"}"#,
            "rate_limit/retry com.amazon#ThrottlingException",
        ),
        (JSON, 400, r#"{"__type":"ValidationException"}"#, "validation/fail"),
        (
            ("content-type", "application/xml"),
            503,
            "<Error><Code>SlowDown</Code></Error>",
            "rate_limit/retry: slow down",
        ),
        (("content-type", "application/xml"), 503, "<Error><Code>Other</Code></Error>", "transient/retry"),
    ] {
        assert_eq!(said(&answer(&aws, status, &[content_type], body)), expected, "{body}");
    }
    let typed = ActionPlan { response: serde_json::from_value(json!({ "type": "json" })).unwrap(), ..aws };
    let plain = ("content-type", "text/plain");
    let throttled = answer(&typed, 400, &[plain], r#"{"__type":"ThrottlingException"}"#);
    assert_eq!(said(&throttled), "rate_limit/retry ThrottlingException");
}

#[test]
fn airtable_429_needs_no_header() {
    let airtable = plan(json!({}));
    check(
        &airtable,
        &[
            (429, &[], r#"{"errors":[{"error":"RATE_LIMIT_REACHED"}]}"#, "rate_limit/retry"),
            (422, &[], r#"{"error":{"type":"INVALID_REQUEST"}}"#, "validation/fail"),
        ],
    );
}

#[test]
fn openai_429_is_a_limit_or_a_spent_quota() {
    let openai = plan(json!({ "errors": [
        { "status": [429], "predicate": { "path": "/error/code", "eq": "insufficient_quota" },
          "class": "quota", "action": "fail", "code_path": "/error/code" },
    ] }));
    check(
        &openai,
        &[
            (429, &[], r#"{"error":{"code":"insufficient_quota"}}"#, "quota/fail insufficient_quota"),
            (429, &[], r#"{"error":{"code":"rate_limit_exceeded"}}"#, "rate_limit/retry"),
        ],
    );
}

#[test]
fn sendgrid_202_is_empty_and_its_id_is_in_a_header() {
    let sendgrid = plan(json!({ "method": "POST", "response": {
        "map": [["message_id", "header:X-Message-Id"], ["status", "status"], ["body", ""]] } }));
    let accepted = answer(&sendgrid, 202, &[("X-Message-Id", "14c5d75ce93")], "");
    assert_eq!(said(&accepted), r#"ok {"message_id":"14c5d75ce93","status":202,"body":null}"#);
    assert_eq!(accepted.mapped.body, Value::Null);
}

#[test]
fn json_that_does_not_parse_is_an_error_of_its_own() {
    let typed = plan(json!({ "response": { "type": "json" }, "errors": [
        { "predicate": { "path": "", "contains": "maintenance" }, "class": "transient", "action": "retry" },
    ] }));
    let html = ("content-type", "text/html");
    let text = "transient/retry response_unreadable: the answer should be JSON and is";
    let (sign_in, empty) =
        (format!("{text} text/html, beginning \"<html>sign in\""), format!("{text} empty"));
    let cut = format!("{text} application/json, beginning {:?}", r#"{"id":"#);
    for (status, header, body, expected) in [
        (200, html, "<html>sign in", sign_in.as_str()),
        (200, html, "", empty.as_str()),
        (200, html, r#"{"id":1}"#, r#"ok {"id":1}"#),
        (200, JSON, r#"{"id":"#, cut.as_str()),
        (200, html, "<html>maintenance", "transient/retry"),
        (502, html, "<html>bad gateway", "transient/retry"),
        (404, html, "<html>", "not_found/fail"),
        (204, JSON, "", "ok null"),
    ] {
        assert_eq!(said(&answer(&typed, status, &[header], body)), expected, "{status} {body}");
    }
    let head = plan(json!({ "method": "HEAD", "response": { "type": "json" } }));
    assert_eq!(said(&answer(&head, 200, &[JSON], "")), "ok null");
}

#[test]
fn a_rule_can_make_a_success_of_an_error_and_not_the_reverse() {
    let delete = plan(json!({ "method": "DELETE", "success": { "status": [204, 301] }, "errors": [
        { "status": [404], "class": "not_found", "action": "ignore" },
        { "status": [410], "class": "ignored", "action": "fail" },
        { "status": [204], "class": "permanent", "action": "fail" },
    ] }));
    check(
        &delete,
        &[
            (204, &[], "", "ok null"),
            (301, &[], "", "ok null"),
            (404, &[], r#"{"gone":true}"#, r#"ok {"gone":true}"#),
            (410, &[], "", "ok null"),
            (200, &[], "{}", "permanent/fail"),
            (401, &[], "{}", "auth/fail"),
        ],
    );
}

#[test]
fn what_is_not_read_still_says_that_it_failed() {
    for kind in ["none", "binary"] {
        let quiet = plan(json!({ "response": { "type": kind },
            "success": { "predicate": { "path": "/ok", "ne": false } },
            "errors": [{ "class": "conflict", "action": "fail", "code_path": "/e" }] }));
        assert_eq!(said(&answer(&quiet, 200, &[JSON], r#"{"ok":false,"e":"x"}"#)), "conflict/fail x");
        assert_eq!(said(&answer(&quiet, 500, &[JSON], r#"{"e":5}"#)), "conflict/fail 5");
    }
    let file = plan(json!({ "response": { "type": "binary" } }));
    let image = answer(&file, 200, &[("content-type", "image/png")], "hi");
    assert_eq!(said(&image), r#"ok {"media_type":"image/png","base64":"aGk=","bytes":2}"#);
}

#[test]
fn an_upstreams_text_is_cut_and_a_structure_is_none() {
    let long = plan(json!({ "errors": [
        { "class": "permanent", "action": "fail", "code_path": "/code", "message_path": "/m" }] }));
    let body = json!({ "code": { "a": 1 }, "m": "é".repeat(600) }).to_string();
    let Outcome::Error(error) = answer(&long, 400, &[JSON], &body).outcome else { panic!("an error") };
    assert_eq!((error.code, error.message.map(|m| m.chars().count())), (None, Some(500)));
    assert!(error.ruled);
}

#[test]
fn a_plan_that_cannot_be_read_fails_every_answer() {
    let broken = plan(json!({ "errors": [
        { "class": "ignored", "action": "ignore", "header": { "not": { "path": "x", "eq": 1 } } }] }));
    assert!(
        said(&answer(&broken, 200, &[JSON], "{}"))
            .starts_with("permanent/fail plan_invalid: /errors/0/header/not")
    );
}

/// What a plan makes of an answer of this type.
fn of(plan: &ActionPlan, content_type: &str, body: &str) -> String {
    said(&answer(plan, 200, &[("content-type", content_type)], body))
}

#[test]
fn a_what_the_output_is_made_of_must_be_json_whatever_its_label() {
    let cursor = json!({ "kind": { "type": "cursor", "cursor_path": "/next", "param": { "in": "query", "name": "c" } },
        "items": "/data", "max_pages": 10, "max_items": 100 });
    let root = plan(json!({ "response": { "root": "/id" } }));
    let map = plan(json!({ "response": { "map": [["id", "/id"], ["status", "status"]] } }));
    let list = plan(json!({ "pagination": cursor }));
    for plan in [&root, &map, &list] {
        for (content_type, body) in [
            ("text/html", "<html>maintenance</html>"),
            ("application/json", r#"{"id":5,"data":["#),
            ("application/json", "maintenance"),
            ("text/plain", ""),
            ("", "<?xml version='1.0'?><a/>"),
        ] {
            let said = of(plan, content_type, body);
            assert!(
                said.starts_with("transient/retry response_unreadable: the answer should be JSON and is"),
                "{said}"
            );
        }
        for content_type in ["text/html; charset=utf-8", "text/plain", "application/octet-stream", ""] {
            let said = of(plan, content_type, r#"{"id":5,"data":[1]}"#);
            assert!(said.starts_with("ok "), "{content_type}: {said}");
        }
    }
    // Without such a need an answer is whatever it is.
    assert_eq!(of(&plan(json!({})), "text/html", "<p>"), r#"ok "<p>""#);
    let headers = plan(json!({ "response": { "map": [["id", "header:x-id"]] } }));
    assert_eq!(of(&headers, "text/html", "<p>"), r#"ok {"id":null}"#);
}

#[test]
fn a7_a_write_that_cannot_be_read_was_done() {
    let post = plan(json!({ "method": "POST", "response": { "root": "/id" } }));
    let said = |plan: &ActionPlan, body| said(&answer(plan, 201, &[("content-type", "text/html")], body));
    let text = said(&post, "<html>");
    assert!(text.starts_with("permanent/fail response_unreadable"), "{text}");
    assert!(text.ends_with("the request was answered with 201 and must not be repeated"), "{text}");
    let search = plan(json!({ "method": "POST", "reads": true, "response": { "root": "/id" } }));
    assert!(said(&search, "<html>").starts_with("transient/retry response_unreadable"));
}

#[test]
fn a5_rules_are_tried_on_a_page_without_items() {
    let pages = json!({ "kind": { "type": "cursor", "cursor_path": "/next", "param": { "in": "query", "name": "c" } },
        "items": "/data", "max_pages": 10, "max_items": 100, "end_when": { "path": "/error", "eq": "no_more" } });
    let ruled = plan(json!({ "pagination": pages, "errors": [
        { "predicate": { "path": "/error", "eq": "ratelimited" }, "class": "rate_limit", "action": "retry", "code_path": "/error" },
        { "predicate": { "path": "/error", "eq": "gone" }, "class": "ignored", "action": "ignore" }] }));
    let json = "application/json";
    assert_eq!(of(&ruled, json, r#"{"ok":false,"error":"ratelimited"}"#), "rate_limit/retry ratelimited");
    assert_eq!(
        of(&ruled, json, r#"{"ok":false,"error":"other"}"#),
        "permanent/fail pagination_no_items: no items at /data; the answer has ok, error"
    );
    // A rule turns no success into an error.
    assert!(of(&ruled, json, r#"{"data":[],"error":"ratelimited"}"#).starts_with("ok"));
    for ends in [r#"{"error":"gone"}"#, r#"{"error":"no_more"}"#, r#"{"data":[1],"error":"no_more"}"#] {
        let last = answer(&ruled, 200, &[JSON], ends);
        assert!(last.ends && matches!(last.outcome, Outcome::Success { .. }), "{ends}");
    }
}

#[test]
fn b_bytes_keep_their_meaning() {
    let auto = plan(json!({}));
    let read = |content_type: &str, body: &[u8]| {
        let headers = [("content-type".to_owned(), content_type.as_bytes().to_vec())];
        let answer = judge(&auto, 200, &headers, body);
        let Outcome::Success { output } = answer.outcome else { panic!("a success") };
        output
    };
    assert_eq!(
        read("application/json; charset=ISO-8859-1", b"{\"name\":\"Jos\xe9\"}"),
        json!({ "name": "José" })
    );
    assert_eq!(
        read("application/octet-stream", b"\x89PNG\xff\xfe\0\x80"),
        json!({ "media_type": "application/octet-stream", "base64": "iVBOR//+AIA=", "bytes": 8 })
    );
    // A label that is not the truth about UTF-8 text is still the label.
    assert_eq!(read("application/json; charset=latin1", "[\"é\"]".as_bytes()), json!(["Ã©"]));
}

#[test]
fn an_output_is_at_most_some_times_its_answer() {
    let places = |count: usize| (0..count).map(|at| json!([format!("o{at}"), ""])).collect::<Vec<_>>();
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    let made = |count| of(&plan(json!({ "response": { "map": places(count) } })), "application/json", &body);
    assert!(made(7).starts_with("ok "), "a few copies");
    let refused = made(9);
    assert!(refused.starts_with("permanent/fail response_too_large"), "{refused}");
    assert!(refused.contains("would need more than 800"), "{refused}");
    // Many members of a small answer are no trouble.
    let small = plan(json!({ "response": { "map": places(500) } }));
    assert!(of(&small, "application/json", r#"{"id":1}"#).starts_with("ok "));
}
