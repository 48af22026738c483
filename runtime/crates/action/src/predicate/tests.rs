//! Each form with and without a match, wildcards, and refusals with their positions.

use super::*;
use serde_json::json;

#[track_caller]
fn check(document: &Value, predicate: &Value, expected: bool) {
    assert_eq!(
        Predicate::parse(predicate).unwrap().holds(document, &Budget::matching(1_000_000)),
        Ok(expected),
        "{predicate}"
    );
}

#[test]
fn each_form_holds_and_does_not_hold() {
    let document = json!({ "status": "open", "n": 5, "tags": ["a"], "none": null });
    for (predicate, expected) in [
        (json!({ "path": "/status", "eq": "open" }), true),
        (json!({ "path": "/status", "eq": "closed" }), false),
        (json!({ "path": "/missing", "eq": null }), false),
        (json!({ "path": "/none", "eq": null }), true),
        (json!({ "path": "/status", "ne": "closed" }), true),
        (json!({ "path": "/status", "ne": "open" }), false),
        (json!({ "path": "/missing", "ne": "open" }), true),
        (json!({ "path": "/n", "in": [4, 5] }), true),
        (json!({ "path": "/n", "in": ["5"] }), false),
        (json!({ "path": "/tags/0", "exists": true }), true),
        (json!({ "exists": true, "path": "/none" }), false),
        (json!({ "path": "/none", "exists": false }), true),
        (json!({ "not": { "path": "/n", "eq": 5 } }), false),
        (json!({ "any": [{ "path": "/n", "eq": 1 }, { "path": "/n", "eq": 5 }] }), true),
        (json!({ "any": [] }), false),
        (json!([{ "path": "/n", "eq": 5 }, { "path": "/status", "eq": "x" }]), false),
        (json!([]), true),
    ] {
        check(&document, &predicate, expected);
    }
}

#[test]
fn matches_is_of_the_whole_scalar() {
    let document = json!({ "code": "RATE_LIMIT", "n": 20429, "ok": false, "list": ["RATE"], "none": null });
    for (path, pattern, expected) in [
        ("/code", "RATE.*", true),
        ("/code", "RATE", false),
        ("/code", "(?i)rate_limit", true),
        ("/n", "204[0-9]{2}", true),
        ("/ok", "false", true),
        ("/list", ".*", false),
        ("/none", ".*", false),
        ("/missing", ".*", false),
        ("/list/*", "RATE", true),
    ] {
        check(&document, &json!({ "path": path, "matches": pattern }), expected);
    }
}

#[test]
fn contains_is_a_part_of_a_text_or_an_element_of_an_array() {
    let document = json!({ "text": "daily limit reached", "tags": ["a", 1, { "k": 2 }], "map": { "a": 1 } });
    for (path, part, expected) in [
        ("/text", json!("limit"), true),
        ("/text", json!("Limit"), false),
        ("/text", json!(1), false),
        ("/tags", json!("a"), true),
        ("/tags", json!(1.0), true),
        ("/tags", json!({ "k": 2 }), true),
        ("/tags", json!("1"), false),
        ("/map", json!("a"), false),
    ] {
        check(&document, &json!({ "path": path, "contains": part }), expected);
    }
}

#[test]
fn numbers_compare_at_the_border() {
    let document = json!({ "n": 5, "f": 5.0, "t": "5", "word": "many", "big": u64::MAX });
    for (path, name, limit, expected) in [
        ("/n", "gt", json!(5), false),
        ("/n", "gt", json!(4.9), true),
        ("/n", "gte", json!(5), true),
        ("/n", "lt", json!(5), false),
        ("/n", "lt", json!(5.1), true),
        ("/n", "lte", json!(5), true),
        ("/t", "lte", json!(5), true),
        ("/t", "lt", json!(5), false),
        ("/f", "eq", json!(5), true),
        ("/t", "eq", json!(5), false),
        ("/word", "gt", json!(0), false),
        ("/missing", "lt", json!(0), false),
        ("/big", "gt", json!(u64::MAX - 1), true),
        ("/big", "eq", json!(u64::MAX - 1), false),
    ] {
        check(&document, &json!({ "path": path, name: limit }), expected);
    }
}

#[test]
fn a_wildcard_holds_when_one_value_does() {
    let shopify = json!({ "errors": [{ "extensions": { "code": "OTHER" } },
                                      { "extensions": { "code": "THROTTLED" } }],
                          "data": { "a": { "userErrors": [] }, "b": { "userErrors": [] } } });
    for (predicate, expected) in [
        (json!({ "path": "/errors/*/extensions/code", "eq": "THROTTLED" }), true),
        (json!({ "path": "/errors/*/extensions/code", "eq": "NONE" }), false),
        (json!({ "path": "/errors/*/extensions/code", "ne": "THROTTLED" }), false),
        (json!({ "path": "/data/*/userErrors/0", "exists": false }), true),
        (json!({ "path": "/data/*/userErrors", "exists": true }), true),
    ] {
        check(&shopify, &predicate, expected);
    }
}

#[test]
fn what_is_no_predicate_is_named_with_its_place() {
    for (predicate, pointer) in [
        (json!("x"), ""),
        (json!({}), ""),
        (json!({ "path": "/a" }), ""),
        (json!({ "path": "status", "eq": 1 }), ""),
        (json!({ "eq": 1, "in": [] }), ""),
        (json!({ "path": "/a", "eq": 1, "in": [] }), ""),
        (json!({ "path": "/a", "like": "x" }), ""),
        (json!({ "path": "/a", "ne": null }), ""),
        (json!({ "any": [{ "path": "/a", "matches": "(" }] }), "/any/0"),
        (json!({ "any": [{ "path": "/a", "matches": 1 }] }), "/any/0"),
        (json!([{ "path": "/a", "gt": "5" }]), "/0"),
        (json!({ "all": [{ "path": "/a", "eq": 1 }, { "eval": "1" }] }), "/all/1"),
        (json!({ "not": { "path": "/a", "exists": 1 } }), "/not"),
        (json!({ "not": { "all": 1 } }), "/not"),
    ] {
        assert_eq!(Predicate::parse(&predicate).unwrap_err().pointer, pointer, "{predicate}");
    }
    let mut deep = json!({ "path": "/a", "eq": 1 });
    for _ in 0..DEPTH_MAX {
        deep = json!({ "not": deep });
    }
    assert!(Predicate::parse(&deep).is_err());
    let long = Value::Array(vec![json!({ "path": "/a", "eq": 1 }); ITEMS_MAX + 1]);
    assert!(Predicate::parse(&long).is_err());
    assert_eq!(
        Predicate::parse(&json!("x")).unwrap_err().below("/errors/0/header").pointer,
        "/errors/0/header"
    );
}
