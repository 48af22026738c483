//! The test and discovery requests: the same checks as actions, without a caller's input.

use super::*;

fn test(request: Value) -> Value {
    let mut own =
        json!({ "action_id": "t", "http_method": "GET", "url_template": "https://api.salesforce.com/me" });
    merge(&mut own, request);
    json!({ "test": { "request": own } })
}

fn discover(capture: Value, request: Value) -> Value {
    let own = test(request)["test"]["request"].clone();
    json!({
        "config_fields": [{ "name": "dc", "automated": true }, { "name": "plain" }],
        "discover": [{ "request": own, "capture": capture }],
    })
}

#[test]
fn own_requests_are_checked_like_actions() {
    let at = "/test/request";
    let case =
        |request: Value, member: &str, code: &'static str| (test(request), format!("{at}/{member}"), code);
    for (change, pointer, code) in [
        case(
            json!({ "url_template": "https://evil.com/" }),
            "url_template",
            "template_host_outside_allowed_domains",
        ),
        case(json!({ "url_template": "/me" }), "url_template", "base_url_missing"),
        case(json!({ "headers": { "Authorization": "x" } }), "headers/Authorization", "header_forbidden"),
        case(json!({ "headers": { "X-A": "{{cred.api_key}}" } }), "headers/X-A", "template_unknown_variable"),
        case(json!({ "query": { "a": "{{config.api_key}}" } }), "query/a", "template_unknown_variable"),
        case(
            json!({ "rate_limit": [{ "requests": 1, "key": "{{input" }] }),
            "rate_limit/0/key",
            "template_invalid",
        ),
        case(
            json!({ "errors": [{ "when": {}, "class": "auth" }] }),
            "errors/0/when",
            "rule_without_condition",
        ),
        case(json!({ "success": { "predicate": 1 } }), "success/predicate", "predicate_invalid"),
        case(json!({ "fuel": 1 }), "fuel", "unknown_field"),
    ] {
        changes([(change, &[(pointer.as_str(), code)][..])]);
    }
    let mut in_body = with(test(json!({})));
    in_body["auth"] = json!({ "in": "body", "path": "/key" });
    expect([(in_body, &[("/test/request/http_method", "credential_no_place")][..])]);
}

#[test]
fn nobody_gives_an_input_here() {
    let input = |input: Value| test(json!({ "body_schema": [input] }));
    let missing = &[("/test/request/body_schema/0/default", "input_nobody_gives")][..];
    changes([
        (input(json!({ "name": "a", "default": "x" })), &[][..]),
        (input(json!({ "name": "a", "required": true, "default": "x" })), &[]),
        (input(json!({ "name": "a", "required": true })), missing),
        (input(json!({ "name": "a" })), missing),
    ]);
    let discovery = discover(json!({ "dc": "/dc" }), json!({ "body_schema": [{ "name": "a" }] }));
    changes([(discovery, &[("/discover/0/request/body_schema/0/default", "input_nobody_gives")][..])]);
}

#[test]
fn what_is_sent_unasked_reads() {
    changes([
        (test(json!({ "http_method": "POST", "effect": "read" })), &[][..]),
        (test(json!({ "http_method": "POST" })), &[("/test/request/effect", "errand_not_a_read")]),
        (test(json!({ "http_method": "DELETE" })), &[("/test/request/effect", "errand_not_a_read")]),
        (
            test(json!({ "http_method": "DELETE", "effect": "read" })),
            &[("/test/request/effect", "effect_contradicts_method")],
        ),
        (
            test(json!({ "pagination": { "type": "link_header", "items": "" } })),
            &[("/test/request/pagination", "pagination_unused")],
        ),
        (
            discover(json!({ "dc": "/dc" }), json!({ "http_method": "PUT" })),
            &[("/discover/0/request/effect", "errand_not_a_read")],
        ),
    ]);
}

#[test]
fn answers_are_captured_to_automated_fields_by_pointers() {
    let capture = |capture: Value| discover(capture, json!({}));
    changes([
        (capture(json!({ "dc": "/metadata/dc" })), &[][..]),
        (
            capture(json!({ "dc": "/session/access_token" })),
            &[("/discover/0/capture/dc", "capture_of_secret")],
        ),
        (capture(json!({ "dc": "metadata" })), &[("/discover/0/capture/dc", "pointer_invalid")]),
        (
            capture(json!({ "dc": "/a", "plain": "/b" })),
            &[("/discover/0/capture/plain", "unknown_reference")],
        ),
        (capture(json!({ "dc": "/a", "nope": "/b" })), &[("/discover/0/capture/nope", "unknown_reference")]),
        (
            capture(json!({ "dc": "/a", "api_key": "/b" })),
            &[("/discover/0/capture/api_key", "unknown_reference")],
        ),
        (capture(json!({})), &[("/discover/0/capture", "out_of_range")]),
    ]);
    let mut twice = with(capture(json!({ "dc": "/a" })));
    let first = twice["discover"][0].clone();
    twice["discover"] = json!([first, first]);
    expect([(twice, &[("/discover/1/capture/dc", "duplicate_capture")][..])]);
    let mut label = test(json!({}));
    label["test"]["label"] = json!("login");
    changes([(label, &[("/test/label", "pointer_invalid")][..])]);
}
