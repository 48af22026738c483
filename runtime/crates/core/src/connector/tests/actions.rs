//! Actions: URLs, headers, query pairs, effects.

use super::*;

#[test]
fn a_template_must_stay_inside_allowed_domains() {
    let url = |url: &str| {
        let mut document = with_action(json!({ "url_template": url }));
        document["config_fields"] = json!([{ "name": "shop" }]);
        document
    };
    let outside = &[("/actions/0/url_template", "template_host_outside_allowed_domains")][..];
    expect([
        (url("https://{{config.shop}}.salesforce.com/x"), &[][..]),
        (url("https://salesforce.com/x"), outside),
        (url("https://evil.com/x"), outside),
        (url("https://{{config.shop}}.com/"), outside),
        (url("https://api.salesforce.com.evil.com/"), outside),
        (url("http://api.salesforce.com/"), &[("/actions/0/url_template", "template_invalid")]),
        (
            url("https://api.salesforce.com/{{input.nope}}"),
            &[("/actions/0/url_template", "template_unknown_variable")],
        ),
        (
            url("https://api.salesforce.com/{{config.nope}}"),
            &[("/actions/0/url_template", "template_unknown_variable")],
        ),
    ]);
}

#[test]
fn a_path_is_joined_to_the_base_url() {
    let joined = |base: &str, path: &str| {
        let mut document = with_action(json!({ "url_template": path }));
        document["base_url"] = json!(base);
        document["config_fields"] = json!([{ "name": "shop" }]);
        document
    };
    for (base, path, expected) in [
        ("https://api.salesforce.com", "/v1", "https://api.salesforce.com/v1"),
        ("https://api.salesforce.com/", "/v1", "https://api.salesforce.com/v1"),
        ("https://api.salesforce.com/a", "/v1?x=1", "https://api.salesforce.com/a/v1?x=1"),
        ("https://{{config.shop}}.salesforce.com/a/", "/", "https://{{config.shop}}.salesforce.com/a/"),
        ("https://api.salesforce.com", "https://b.salesforce.com/x", "https://b.salesforce.com/x"),
    ] {
        assert_eq!(connector(&joined(base, path)).actions[0].plan.url, expected);
    }
    // A breach of the base is reported at the base, once, and not at the URLs joined to it.
    expect([
        (joined("https://evil.com", "/v1"), &[("/base_url", "template_host_outside_allowed_domains")][..]),
        (joined("https://api.salesforce.com?a=1", "/v1"), &[("/base_url", "base_url_form")]),
        (joined("https://api.salesforce.com/?a=", "/v1"), &[("/base_url", "base_url_form")]),
        (joined("https://api.salesforce.com#a", "/v1"), &[("/base_url", "template_invalid")]),
        (
            joined("https://api.salesforce.com/{{input.Email}}", "/v1"),
            &[("/base_url", "template_unknown_variable")],
        ),
        (
            joined("https://api.salesforce.com/{{config.nope}}", "/v1"),
            &[("/base_url", "template_unknown_variable")],
        ),
        (joined("http://api.salesforce.com", "/v1"), &[("/base_url", "template_invalid")]),
        (
            joined("https://api.salesforce.com", "/{{input.nope}}"),
            &[("/actions/0/url_template", "template_unknown_variable")],
        ),
        (with_action(json!({ "url_template": "/v1" })), &[("/actions/0/url_template", "base_url_missing")]),
    ]);
}

#[test]
fn headers_that_belong_to_the_host_are_refused() {
    actions([(json!({ "headers": { "X-Version": "1" } }), &[][..])]);
    for name in ["Host", "content_length", "X-Forwarded-For", "a b", "Range", "Origin"] {
        let pointer = format!("/actions/0/headers/{name}");
        actions([(json!({ "headers": { name: "1" } }), &[(pointer.as_str(), "header_forbidden")][..])]);
    }
    actions([
        (
            json!({ "headers": { "X-A": "a\r\nX-B: b" } }),
            &[("/actions/0/headers/X-A", "header_value_invalid")][..],
        ),
        (json!({ "headers": { "X-A": "1", "x-a": "2" } }), &[("/actions/0/headers/x-a", "duplicate_header")]),
    ]);
}

#[test]
fn an_actions_own_header_and_pair_win_over_the_default() {
    let document = with(json!({
        "default_headers": { "X-A": "default", "X-B": "default" },
        "default_query": { "a": "default", "b": "default", "page[size]": "default" },
        "actions": [{
            "action_id": "a", "http_method": "GET",
                "url_template": "https://a.salesforce.com/?page%5Bsize%5D=5",
            "headers": { "x-a": "own" }, "query": { "a": "own" },
        }],
    }));
    let plan = &connector(&document).actions[0].plan;
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(plan.headers, [pair("X-B", "default"), pair("x-a", "own")]);
    assert_eq!(plan.query, [pair("b", "default"), pair("a", "own")]);
}

#[test]
fn a_query_pair_is_written_once() {
    let get = |url: &str, change: Value| {
        let mut action = json!({ "http_method": "GET", "url_template": url, "body_schema": [] });
        merge(&mut action, change);
        action
    };
    let plain = "https://a.salesforce.com/";
    let input = json!({ "body_schema": [{ "name": "limit" }] });
    let twice = &[("/actions/0/body_schema/0/name", "duplicate_query")][..];
    actions([
        (get(plain, input.clone()), &[][..]),
        (get("https://a.salesforce.com/?limit={{input.limit}}", input.clone()), &[]),
        (get("https://a.salesforce.com/?limit=5", input.clone()), twice),
        (get("https://a.salesforce.com/?%6cimit=5", input), twice),
        (get(plain, json!({ "query": { "limit": "5" }, "body_schema": [{ "name": "limit" }] })), twice),
        (
            get(
                plain,
                json!({ "query": { "limit": "{{input.limit}}" }, "body_schema": [{ "name": "limit" }] }),
            ),
            &[],
        ),
        (
            get("https://a.salesforce.com/?a=1", json!({ "query": { "a": "2" } })),
            &[("/actions/0/query/a", "duplicate_query")],
        ),
    ]);
}

#[test]
fn effects_follow_the_method_and_cannot_deny_it() {
    let effect = |method: &str, effect: Value| {
        let document = with_action(json!({ "http_method": method, "effect": effect, "body_schema": [] }));
        checked(&document).connector.map(|c| c.actions[0].effect)
    };
    for (method, said, expected) in [
        ("GET", json!(null), Some(Effect::Read)),
        ("HEAD", json!(null), Some(Effect::Read)),
        ("POST", json!(null), Some(Effect::Write)),
        ("PUT", json!(null), Some(Effect::Write)),
        ("DELETE", json!(null), Some(Effect::Delete)),
        ("POST", json!("read"), Some(Effect::Read)),
        ("GET", json!("delete"), Some(Effect::Delete)),
        ("DELETE", json!("read"), None),
        ("PUT", json!("read"), None),
        ("PATCH", json!("read"), None),
    ] {
        assert_eq!(effect(method, said), expected, "{method}");
    }
    let idempotent = |change: Value| connector(&with_action(change)).actions[0].idempotent;
    assert!(!idempotent(json!({})));
    assert!(idempotent(json!({ "idempotent": true })));
    assert!(idempotent(json!({ "http_method": "PUT" })));
    assert!(!idempotent(json!({ "http_method": "PUT", "idempotent": false })));
}

#[test]
fn what_is_unwise_is_warned_of() {
    let path = json!({ "url_template": "https://api.salesforce.com/{{input.Email}}" });
    warns(&with_action(path), &[("/actions/0/url_template", "path_input_optional")]);
    let host = json!({ "url_template": "https://{{input.Email}}.salesforce.com/",
        "body_schema": [{ "name": "Email", "required": true }] });
    warns(&with_action(host), &[("/actions/0/url_template", "host_chosen_by_input")]);
    let shared = with(json!({ "allowed_domains": ["*.salesforce.com", "*.amazonaws.com"] }));
    warns(&shared, &[("/allowed_domains/1", "allowed_domain_shared_hosting")]);
}

#[test]
fn two_actions_of_one_id_are_refused() {
    let action =
        json!({ "action_id": "a", "http_method": "GET", "url_template": "https://a.salesforce.com/" });
    changes([(json!({ "actions": [action, action] }), &[("/actions/1/action_id", "duplicate_action")][..])]);
}
