//! A plan is read as serde would read it.

use serde_json::{Value, json};

use super::*;
use crate::plan::BodyPlan;

fn whole() -> Value {
    json!({
        "action_id": "a", "method": "PATCH", "url": "https://a.example.com/{{input.id}}",
        "query": [["a", "{{input.a}}"], ["b", "2"]], "headers": [["X-A", "1\u{1}\\"]],
        "inputs": [
            { "name": "id", "place": "path" },
            { "name": "n", "place": "body" },
            { "name": "b", "wire": "B", "place": "body", "path": ["x", "0"], "array_format": "comma",
              "transform": "lower", "omit_if": "empty", "file": true },
        ],
        "body": { "type": "json", "wrap": "w", "template": { "a": [1.50, "\u{e9}\"]}\u{1}", {}, -1e9] } },
        "content_type": "application/x", "idempotency": { "in": "header", "name": "K" },
        "credential": "default", "success": { "status": [200], "predicate": { "path": "/ok", "eq": true } },
        "response": { "type": "json", "root": "/a", "map": [["a", "/a"]] },
        "errors": [
            { "class": "auth", "action": "fail" },
            { "status": [400, 500], "predicate": { "path": "/a", "eq": 1 }, "header": { "path": "/x", "eq": "y" },
              "class": "rate_limit", "action": "refresh_retry", "code_path": "/c", "message_path": "/m",
              "message": "say \"it\"", "final": true },
        ],
        "pagination": { "kind": { "type": "link_header" }, "items": "", "max_pages": 1, "max_items": 2 },
        "rendered_bytes": 123,
    })
}

fn check(plan: &Value) {
    let serde: ActionPlan = serde_json::from_value(plan.clone()).unwrap();
    let written = serde_json::to_string(&serde).unwrap();
    let pretty = serde_json::to_string_pretty(plan).unwrap();
    for text in [written, plan.to_string(), pretty] {
        assert_eq!(ActionPlan::read(&text).as_ref(), Some(&serde), "{text}");
    }
}

#[test]
fn every_member_is_read_as_serde_reads_it() {
    check(&whole());
    check(&json!({}));
    assert_eq!(ActionPlan::read(r#"{"body":{"type":"none"}}"#).unwrap().body, BodyPlan::None);
}

#[test]
fn every_variant_is_read_as_serde_reads_it() {
    for body in [
        json!({ "type": "none" }),
        json!({ "type": "json", "root": "r" }),
        json!({ "type": "form" }),
        json!({ "type": "form", "style": "dots", "template": { "a": null } }),
        json!({ "type": "form", "style": "flat" }),
        json!({ "type": "multipart" }),
        json!({ "type": "xml", "template": "<a b=\"c\"/>" }),
        json!({ "type": "text", "template": "\u{1}x" }),
        json!({ "type": "raw", "root": "r" }),
        json!({ "type": "graphql", "query": "{ a }" }),
        json!({ "type": "graphql", "query": "", "variables": { "a": [1] } }),
    ] {
        check(&json!({ "body": body }));
    }
    for key in [json!({ "in": "query", "name": "k" }), json!({ "in": "body", "name": ["a", "b"] })] {
        check(&json!({ "idempotency": key }));
    }
    let param = json!({ "in": "query", "name": "p" });
    for kind in [
        json!({ "type": "cursor", "cursor_path": "/c", "param": { "in": "body", "name": ["a"] } }),
        json!({ "type": "last_id", "id_path": "/id", "param": param }),
        json!({ "type": "page", "param": param, "start": 1 }),
        json!({ "type": "offset", "param": param, "start": 0 }),
        json!({ "type": "link_header" }),
        json!({ "type": "next_url", "cursor_path": "/n" }),
    ] {
        check(&json!({ "pagination": { "kind": kind, "items": "/i", "has_more_path": "/m",
            "limit": [param, 50], "page_size": 50, "max_pages": 3, "max_items": 4_000_000_000_u32 } }));
    }
    for kind in ["auto", "json", "text", "xml", "binary", "none"] {
        check(&json!({ "response": { "type": kind } }));
    }
    for class in ErrorClass::ALL {
        for action in ["fail", "retry", "refresh_retry", "ignore"] {
            check(&json!({ "errors": [{ "class": class, "action": action }] }));
        }
    }
    for method in Method::ALL {
        check(&json!({ "method": method }));
    }
    for format in ["repeat", "brackets", "indices", "comma", "pipe", "json"] {
        for (place, omit) in [("path", "null"), ("query", "empty"), ("header", "never")] {
            let input = json!({ "name": "a", "place": place, "array_format": format, "omit_if": omit });
            check(&json!({ "inputs": [input] }));
        }
    }
}

#[test]
fn what_is_not_a_plan_is_refused() {
    for text in [
        r#"{"unknown":1}"#,
        r#"{"inputs":[{"name":"a","more":1}]}"#,
        r#"{"query":[["a","b","c"]]}"#,
        r#"{"query":[["a"]]}"#,
        r#"{"method":"get"}"#,
        r#"{"url":1}"#,
        r#"{"url":"\x"}"#,
        r#"{"body":{"type":"raw"}}"#,
        r#"{"body":{"type":"json","template":{"a":}}}"#,
        r#"{"success":{"status":[99999]}}"#,
        r#"{"errors":[{"class":"auth"}]}"#,
        r#"{"pagination":{"kind":{"type":"page","start":1},"items":"","max_pages":1,"max_items":1}}"#,
        r#"{"success":{"predicate":[1}}"#,
        "[]",
        "{",
        "",
        r#"{"url":"a"}}"#,
    ] {
        assert_eq!(ActionPlan::read(text), None, "{text}");
    }
}
