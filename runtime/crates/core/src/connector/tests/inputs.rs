//! Inputs: where they go, and which rules apply to them.

use portcullis_action::InputPlace;

use super::*;
use crate::input::check_input;

fn budget() -> budget::Budget {
    budget::Budget::matching(1_000_000)
}

fn one(method: &str, input: Value) -> Value {
    json!({ "http_method": method, "body_schema": [input] })
}

const AT: &str = "/actions/0/body_schema/0";

#[track_caller]
fn refused(method: &str, input: Value, member: &str, code: &str) {
    let pointer = format!("{AT}/{member}");
    actions([(one(method, input), &[(pointer.as_str(), code)][..])]);
}

#[test]
fn inputs_go_where_they_can() {
    for (method, input) in [
        ("GET", json!({ "name": "q" })),
        ("GET", json!({ "name": "q", "type": "array" })),
        ("GET", json!({ "name": "q", "type": "array", "array_format": "brackets" })),
        ("GET", json!({ "name": "q", "type": "object", "array_format": "json" })),
        ("POST", json!({ "name": "q", "type": "array" })),
        ("POST", json!({ "name": "q", "type": "object", "path": "/a/0/b" })),
        ("POST", json!({ "name": "X-A", "in": "header" })),
    ] {
        actions([(one(method, input), &[][..])]);
    }
    for (method, input, member, code) in [
        ("GET", json!({ "name": "q", "in": "body" }), "in", "method_without_body"),
        ("GET", json!({ "name": "q", "type": "object" }), "type", "input_type_not_placeable"),
        (
            "GET",
            json!({ "name": "q", "type": "object", "array_format": "comma" }),
            "type",
            "input_type_not_placeable",
        ),
        ("GET", json!({ "name": "q", "type": "file" }), "type", "input_type_not_placeable"),
        ("GET", json!({ "name": "q", "path": "/a" }), "path", "input_not_in_body"),
        ("POST", json!({ "name": "q", "in": "path" }), "in", "input_not_in_path"),
        ("POST", json!({ "name": "q", "type": "file" }), "type", "input_type_not_placeable"),
        ("POST", json!({ "name": "Host", "in": "header" }), "name", "header_forbidden"),
        (
            "POST",
            json!({ "name": "X-A", "in": "header", "type": "array" }),
            "type",
            "input_type_not_placeable",
        ),
        (
            "POST",
            json!({ "name": "q", "type": "array", "array_format": "comma" }),
            "array_format",
            "array_format_unused",
        ),
        ("POST", json!({ "name": "q", "path": "/a//b" }), "path", "pointer_invalid"),
        ("POST", json!({ "name": "q", "path": "a..b" }), "path", "pointer_invalid"),
        ("POST", json!({ "name": "q", "path": "/a", "as": "b" }), "as", "input_rule_unused"),
        ("POST", json!({ "name": "q", "transform": "nope" }), "transform", "template_invalid"),
    ] {
        refused(method, input, member, code);
    }
}

#[test]
fn an_input_that_a_template_names_goes_there_alone() {
    let place = |change: Value| {
        let mut action = json!({ "body_schema": [{ "name": "a", "required": true }] });
        merge(&mut action, change);
        connector(&with_action(action)).actions[0].plan.inputs[0].place
    };
    assert_eq!(place(json!({})), InputPlace::Body);
    assert_eq!(place(json!({ "http_method": "GET" })), InputPlace::Query);
    for change in [
        json!({ "url_template": "https://a.salesforce.com/{{input.a}}" }),
        json!({ "url_template": "https://a.salesforce.com/?x={{input.a}}" }),
        json!({ "headers": { "X-A": "{{input.a}}" } }),
        json!({ "query": { "x": "{{input.a|lower}}" } }),
        json!({ "body": { "type": "json", "template": { "x": ["{{input.a}}"] } } }),
        json!({ "body": { "type": "xml", "template": "<a>{{input.a}}</a>" } }),
        json!({ "body": { "type": "graphql", "query": "{ a }", "variables": { "x": "{{input.a}}" } } }),
    ] {
        assert_eq!(place(change), InputPlace::Path);
    }
    let named = |input: Value| json!({ "headers": { "X-A": "{{input.a}}" }, "body_schema": [input] });
    let as_unused = format!("{AT}/as");
    actions([
        (named(json!({ "name": "a", "in": "body" })), &[][..]),
        (named(json!({ "name": "a", "as": "b" })), &[(as_unused.as_str(), "input_rule_unused")]),
    ]);
}

#[test]
fn rules_of_an_input_can_be_met() {
    for input in [
        json!({ "name": "n", "type": "integer", "min": 1, "max": 5, "default": 3, "enum": [1, 3] }),
        json!({ "name": "n", "type": "array", "max_length": 3, "example": ["a"] }),
        json!({ "name": "n", "pattern": "a|b", "default": "b" }),
        json!({ "name": "n", "type": "date", "default": "2026-11-22" }),
        json!({ "name": "n", "type": "any", "pattern": "a", "min": 1 }),
    ] {
        actions([(one("POST", input), &[][..])]);
    }
    for (input, member, code) in [
        (json!({ "name": "n", "type": "integer", "default": "x" }), "default", "wrong_type"),
        (json!({ "name": "n", "type": "integer", "enum": [1, "2"] }), "enum/1", "wrong_type"),
        (json!({ "name": "n", "enum": [] }), "enum", "rule_contradiction"),
        (json!({ "name": "n", "enum": ["a"], "default": "b" }), "default", "not_in_list"),
        (json!({ "name": "n", "type": "number", "min": 2, "max": 1 }), "min", "rule_contradiction"),
        (json!({ "name": "n", "min_length": 2, "max_length": 1 }), "min_length", "rule_contradiction"),
        (json!({ "name": "n", "min": 1 }), "min", "input_rule_unused"),
        (json!({ "name": "n", "type": "integer", "max_length": 1 }), "max_length", "input_rule_unused"),
        (json!({ "name": "n", "type": "array", "pattern": "a" }), "pattern", "input_rule_unused"),
        (json!({ "name": "n", "type": "boolean", "format": "url" }), "format", "input_rule_unused"),
        (json!({ "name": "n", "pattern": "a)|(?:b" }), "pattern", "pattern_invalid"),
        (json!({ "name": "n", "pattern": "[0-9]+", "example": "x1" }), "example", "wrong_form"),
    ] {
        refused("POST", input, member, code);
    }
}

#[test]
fn a_pattern_holds_the_whole_value() {
    let document = with_action(one("POST", json!({ "name": "a", "pattern": "[a-z]+|[0-9]+" })));
    let inputs = connector(&document).actions[0].inputs.clone();
    let fits =
        |text: &str| check_input(&inputs, json!({ "a": text }).as_object().unwrap(), &budget()).is_ok();
    assert!(fits("abc") && fits("123"));
    for text in ["abc1", "1abc", "abc\n", "", "a b"] {
        assert!(!fits(text), "{text:?}");
    }
}

#[test]
fn null_is_a_value_where_it_is_never_left_out() {
    let checked = |omit: &str| {
        let document = with_action(one("POST", json!({ "name": "a", "omit_if": omit, "default": "d" })));
        let inputs = connector(&document).actions[0].inputs.clone();
        let given = |given: Value| {
            check_input(&inputs, given.as_object().unwrap(), &budget()).unwrap().get("a").cloned()
        };
        (given(json!({ "a": null })), given(json!({})))
    };
    assert_eq!(checked("never"), (Some(Value::Null), Some(json!("d"))));
    assert_eq!(checked("null"), (Some(json!("d")), Some(json!("d"))));
}
