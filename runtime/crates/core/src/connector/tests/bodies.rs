//! Bodies: each type with the members that it reads.

use super::*;

fn body(body: Value, inputs: Value) -> Value {
    json!({ "body": body, "body_schema": inputs })
}

#[track_caller]
fn refused(value: Value, inputs: Value, member: &str, code: &str) {
    let pointer = format!("/actions/0/body{member}");
    actions([(body(value, inputs), &[(pointer.as_str(), code)][..])]);
}

fn none() -> Value {
    json!([])
}

fn file() -> Value {
    json!([{ "name": "f", "type": "file", "required": true }])
}

#[test]
fn each_type_is_accepted_with_what_it_needs() {
    for (value, inputs) in [
        (json!({ "type": "none" }), none()),
        (json!({ "type": "json" }), json!([{ "name": "a" }])),
        (
            json!({ "type": "json", "wrap": "ticket", "template": { "a": 1 } }),
            json!([{ "name": "b", "path": "/c/d" }]),
        ),
        (json!({ "type": "json", "template": [1, "{{run.id}}"] }), none()),
        (json!({ "type": "json", "root": "a" }), json!([{ "name": "a", "type": "array" }])),
        (
            json!({ "type": "form", "form_style": "dots", "template": { "a": 1 } }),
            json!([{ "name": "b", "type": "array", "array_format": "repeat" }]),
        ),
        (json!({ "type": "multipart" }), file()),
        (json!({ "type": "xml", "template": "<a>{{input.b}}</a>" }), json!([{ "name": "b" }])),
        (
            json!({ "type": "text", "template": "{{input.b}}", "content_type": "text/csv" }),
            json!([{ "name": "b" }]),
        ),
        (json!({ "type": "text", "root": "b" }), json!([{ "name": "b", "required": true }])),
        (json!({ "type": "raw", "root": "f", "content_type": "image/png" }), file()),
        (
            json!({ "type": "graphql", "query": "query($a: Int) { b(a: $a) { c }}",
                "variables": { "a": 1 } }),
            none(),
        ),
    ] {
        actions([(body(value, inputs), &[][..])]);
    }
}

#[test]
fn what_a_type_needs_is_missed_and_what_it_does_not_read_is_refused() {
    for (value, inputs, member, code) in [
        (json!({ "type": "raw" }), none(), "/root", "body_incomplete"),
        (json!({ "type": "xml" }), none(), "/template", "body_incomplete"),
        (json!({ "type": "xml", "template": { "a": 1 } }), none(), "/template", "body_incomplete"),
        (json!({ "type": "text" }), none(), "/template", "body_incomplete"),
        (json!({ "type": "graphql" }), none(), "/query", "body_incomplete"),
        (json!({ "type": "none", "content_type": "a/b" }), none(), "/content_type", "body_unused"),
        (json!({ "type": "form", "wrap": "a" }), none(), "/wrap", "body_unused"),
        (json!({ "type": "multipart", "template": {} }), none(), "/template", "body_unused"),
        (json!({ "type": "json", "form_style": "dots" }), none(), "/form_style", "body_unused"),
        (json!({ "type": "json", "query": "{ a }" }), none(), "/query", "body_unused"),
        (json!({ "type": "json", "variables": {} }), none(), "/variables", "body_unused"),
        (json!({ "type": "form", "template": [1] }), none(), "/template", "wrong_type"),
        (json!({ "type": "json", "wrap": "a", "template": [1] }), none(), "/template", "wrong_type"),
        (
            json!({ "type": "json", "template": { "{{run.id}}": 1 } }),
            none(),
            "/template/{{run.id}}",
            "template_invalid",
        ),
        (json!({ "type": "json", "template": { "a": "{{x}}" } }), none(), "/template/a", "template_invalid"),
        (json!({ "type": "json", "root": "nope" }), none(), "/root", "unknown_reference"),
        (json!({ "type": "raw", "root": "a" }), json!([{ "name": "a" }]), "/root", "wrong_type"),
        (json!({ "type": "json", "content_type": "json" }), none(), "/content_type", "wrong_form"),
        (json!({ "type": "json", "content_type": "a/b\r\nX: 1" }), none(), "/content_type", "wrong_form"),
        (json!({ "type": "json", "content_type": "a/{{run.id}}" }), none(), "/content_type", "wrong_form"),
    ] {
        refused(value, inputs, member, code);
    }
    let root = json!({ "type": "json", "root": "a", "wrap": "b" });
    refused(root, json!([{ "name": "a" }]), "/root", "body_unused");
    actions([(
        json!({ "headers": { "content-type": "a/b" }, "body": { "type": "json", "content_type": "c/d" } }),
        &[("/actions/0/body/content_type", "body_unused")][..],
    )]);
}

#[test]
fn a_graphql_operation_is_no_template() {
    for query in
        ["query { a(b: \"{{input.Email}}\") }", "{{input.Email}}", "{ a }} {{x", "{{input.Email|nope}}"]
    {
        let value = json!({ "type": "graphql", "query": query });
        refused(value, json!([{ "name": "Email" }]), "/query", "template_in_graphql");
    }
}

#[test]
fn only_methods_with_a_body_have_one() {
    let typed = |method: &str, kind: &str| {
        json!({ "http_method": method, "body_schema": [],
        "body": { "type": kind, "template": "x" } })
    };
    for method in ["HEAD", "OPTIONS"] {
        actions([(typed(method, "text"), &[("/actions/0/body", "method_without_body")][..])]);
    }
    actions(["GET", "DELETE", "PUT"].map(|method| (typed(method, "text"), &[][..])));
}

#[test]
fn inputs_have_a_place_in_the_body() {
    let at = "/actions/0/body_schema/0";
    let case = |value: Value, input: Value, member: &str, code: &'static str| {
        (body(value, json!([input])), format!("{at}/{member}"), code)
    };
    for (change, pointer, code) in [
        case(json!({ "type": "none" }), json!({ "name": "a" }), "in", "method_without_body"),
        case(
            json!({ "type": "xml", "template": "<a/>" }),
            json!({ "name": "a" }),
            "in",
            "input_not_in_template",
        ),
        case(
            json!({ "type": "json", "template": ["x"] }),
            json!({ "name": "a" }),
            "in",
            "input_not_in_template",
        ),
        case(
            json!({ "type": "multipart" }),
            json!({ "name": "a", "path": "/b" }),
            "path",
            "input_not_in_body",
        ),
        case(
            json!({ "type": "json" }),
            json!({ "name": "a", "type": "file" }),
            "type",
            "input_type_not_placeable",
        ),
        case(
            json!({ "type": "json", "root": "a" }),
            json!({ "name": "a", "as": "b" }),
            "as",
            "input_rule_unused",
        ),
        case(
            json!({ "type": "json", "root": "a" }),
            json!({ "name": "a", "path": "/b" }),
            "path",
            "input_not_in_body",
        ),
    ] {
        actions([(change, &[(pointer.as_str(), code)][..])]);
    }
    let two = json!([{ "name": "f", "type": "file" }, { "name": "b" }]);
    let other = body(json!({ "type": "raw", "root": "f" }), two);
    actions([(other, &[("/actions/0/body_schema/1/in", "body_is_another_input")][..])]);
}
