//! Requests as real APIs require them, byte by byte, and values that are refused.

mod bodies;
mod bounds;
mod multipart;
mod pairs;

use serde_json::{Map, Value, json};

use super::*;
use crate::json::Members;

/// A plan as the host writes it.
pub(super) fn plan(mut document: Value) -> ActionPlan {
    let fields = document.as_object_mut().unwrap();
    fields.entry("url").or_insert(json!("https://api.example.com/x"));
    fields.entry("method").or_insert(json!("POST"));
    serde_json::from_value(document).unwrap()
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

pub(super) fn run(document: Value, input: Value) -> Result<RenderedRequest, RenderError> {
    let config = object(json!({ "version": "2", "shop": "acme" }));
    let text = input.to_string();
    let input = object(input);
    let values = Values {
        input: (&input).into(),
        action_id: "create",
        run_id: "run_1",
        now_ms: 1_795_343_400_000,
        idempotency_key: Some("key-1"),
        ..Values::config_only(&config)
    };
    let plan = plan(document);
    let rendered = render_request(&plan, &values);
    // Whether the input is a map or text makes no difference.
    if let Some(members) = Members::read(&text) {
        let values = Values { input: Object::Members(&members), ..values };
        assert_eq!(render_request(&plan, &values), rendered, "{text}");
    }
    rendered
}

pub(super) fn body_text(document: Value, input: Value) -> Result<String, RenderError> {
    run(document, input).map(|request| String::from_utf8(request.body.unwrap_or_default()).unwrap())
}

fn header<'r>(request: &'r RenderedRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn contact() -> Value {
    json!({
        "action_id": "create",
        "url": "https://api.example.com/v1/{{input.id}}",
        "headers": [["X-Version", "{{config.version}}"], ["X-Maybe", "{{input.maybe}}"]],
        "inputs": [
            { "name": "id", "place": "path" },
            { "name": "Email", "place": "body" },
            { "name": "name", "wire": "full_name", "place": "body" },
            { "name": "dry", "place": "query" },
            { "name": "trace", "wire": "X-Trace", "place": "header" },
        ],
        "body": { "type": "json" },
    })
}

#[test]
fn each_input_goes_to_its_place_with_its_type() {
    let input = json!({ "id": "7", "name": { "a": 1 }, "Email": "x", "dry": true, "trace": 5 });
    let request = run(contact(), input).unwrap();
    assert_eq!(request.url, "https://api.example.com/v1/7?dry=true");
    assert_eq!(request.body.as_deref(), Some(br#"{"Email":"x","full_name":{"a":1}}"#.as_slice()));
    let names: Vec<&str> = request.headers.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["x-version", "x-trace", "content-type", "accept"]);
}

#[test]
fn absent_inputs_leave_no_trace() {
    let request = run(contact(), json!({ "id": "7", "Email": null, "dry": null, "trace": null })).unwrap();
    assert_eq!(request.url, "https://api.example.com/v1/7");
    assert_eq!(request.body.as_deref(), Some(b"{}".as_slice()));
    assert_eq!(header(&request, "x-trace"), None);
}

#[test]
fn a_header_value_cannot_break_its_line() {
    for (name, input) in [
        ("input.trace", json!({ "id": "7", "trace": "a\r\nx-evil: 1" })),
        ("input.maybe", json!({ "id": "7", "maybe": "a\nx-evil: 1" })),
        ("input.trace", json!({ "id": "7", "trace": ["evil"] })),
    ] {
        let error = run(contact(), input).unwrap_err();
        assert_eq!(error.variable, name);
        assert!(!error.to_string().contains("evil"));
    }
}

#[test]
fn a_header_input_takes_the_place_of_a_fixed_header() {
    let document = json!({
        "headers": [["Prefer", "a"]],
        "inputs": [{ "name": "p", "wire": "prefer", "place": "header" }],
    });
    let request = run(document.clone(), json!({ "p": "b" })).unwrap();
    assert_eq!(
        request.headers,
        [("prefer".to_owned(), "b".to_owned()), ("accept".to_owned(), "application/json".to_owned())]
    );
    assert_eq!(header(&run(document, json!({})).unwrap(), "prefer"), Some("a"));
}

#[test]
fn content_type_and_accept_by_table() {
    let graphql = json!({ "type": "graphql", "query": "{ shop { name } }" });
    let xml = json!({ "type": "xml", "template": "<a/>" });
    for (extra, content_type, accept) in [
        (json!({}), None, "application/json"),
        (json!({ "body": { "type": "json" } }), Some("application/json"), "application/json"),
        (
            json!({ "body": { "type": "form" } }),
            Some("application/x-www-form-urlencoded"),
            "application/json",
        ),
        (json!({ "body": graphql }), Some("application/json"), "application/json"),
        (json!({ "body": xml }), Some("application/xml"), "*/*"),
        (json!({ "body": xml, "response": { "type": "json" } }), Some("application/xml"), "application/json"),
        (json!({ "body": { "type": "text", "template": "x" } }), Some("text/plain; charset=utf-8"), "*/*"),
        (json!({ "response": { "type": "binary" } }), None, "*/*"),
        (
            json!({ "body": { "type": "json" }, "content_type": "application/vnd.api+json" }),
            Some("application/vnd.api+json"),
            "application/json",
        ),
        (
            json!({
                "body": xml, "content_type": "text/xml",
                "headers": [["Content-Type", "application/soap+xml"], ["Accept", "text/xml"]],
            }),
            Some("application/soap+xml"),
            "text/xml",
        ),
    ] {
        let request = run(extra.clone(), json!({})).unwrap();
        assert_eq!(header(&request, "content-type"), content_type, "{extra}");
        assert_eq!(header(&request, "accept"), Some(accept), "{extra}");
    }
}

#[test]
fn an_empty_body_is_sent_only_where_the_method_has_one() {
    for kind in ["json", "form", "multipart"] {
        for (method, has_body) in
            [("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", false), ("GET", false)]
        {
            let input = json!({ "name": "a", "place": "body" });
            let document = json!({ "method": method, "body": { "type": kind }, "inputs": [input] });
            let request = run(document.clone(), json!({})).unwrap();
            assert_eq!(request.body.is_some(), has_body, "{method} {kind}");
            assert_eq!(header(&request, "content-type").is_some(), has_body, "{method} {kind}");
            assert!(run(document, json!({ "a": 1 })).unwrap().body.is_some(), "{method} {kind}");
        }
    }
    assert_eq!(run(json!({ "method": "DELETE" }), json!({})).unwrap().body, None);
}

#[test]
fn omit_if_decides_after_the_transform() {
    let body = |field: Value, input: Value| {
        body_text(json!({ "body": { "type": "json" }, "inputs": [field] }), input).unwrap()
    };
    for (omit_if, value, expected) in [
        ("null", json!(null), "{}"),
        ("null", json!(""), r#"{"a":""}"#),
        ("null", json!([]), r#"{"a":[]}"#),
        ("empty", json!(null), "{}"),
        ("empty", json!(""), "{}"),
        ("empty", json!([]), "{}"),
        ("empty", json!({}), "{}"),
        ("empty", json!(0), r#"{"a":0}"#),
        ("empty", json!(false), r#"{"a":false}"#),
        ("never", json!(null), r#"{"a":null}"#),
        ("never", json!(""), r#"{"a":""}"#),
    ] {
        let field = json!({ "name": "a", "omit_if": omit_if });
        assert_eq!(body(field, json!({ "a": value })), expected, "{omit_if} {value}");
    }
    assert_eq!(body(json!({ "name": "a", "omit_if": "never" }), json!({})), "{}");
    let trimmed = |omit_if| json!({ "name": "a", "omit_if": omit_if, "transform": "trim" });
    assert_eq!(body(trimmed("empty"), json!({ "a": "  " })), "{}");
    assert_eq!(body(trimmed("never"), json!({ "a": null })), r#"{"a":null}"#);
    assert_eq!(body(json!({ "name": "a", "transform": "default:'d'" }), json!({})), r#"{"a":"d"}"#);
    assert_eq!(body(json!({ "name": "a", "transform": "number" }), json!({ "a": "12" })), r#"{"a":12}"#);
}

#[test]
fn a_template_sees_the_transformed_input() {
    let document = json!({
        "method": "PUT",
        "url": "https://us6.api.mailchimp.com/3.0/lists/{{input.list}}/members/{{input.email}}?s={{input.s}}",
        "inputs": [
            { "name": "list", "place": "path" },
            { "name": "email", "place": "path", "transform": "lower | md5" },
            { "name": "s", "place": "path", "omit_if": "empty" },
        ],
    });
    let input = json!({ "list": "l1", "email": "Urist.McVankab@freddiesjokes.com", "s": "" });
    let request = run(document, input).unwrap();
    assert_eq!(
        request.url,
        "https://us6.api.mailchimp.com/3.0/lists/l1/members/62eeb292278cc15f5817cb78f7790b08"
    );
}

#[test]
fn the_idempotency_key_goes_where_the_plan_says() {
    let key = |place: Value, body: Value, inputs: Value, input: Value| {
        run(json!({ "idempotency": place, "body": body, "inputs": inputs }), input).unwrap()
    };
    let json_type = || json!({ "type": "json" });
    let in_header = || json!({ "in": "header", "name": "Idempotency-Key" });
    let request = key(in_header(), json_type(), json!([]), json!({}));
    assert_eq!(header(&request, "idempotency-key"), Some("key-1"));

    let own = json!([{ "name": "k", "wire": "idempotency-key", "place": "header" }]);
    let request = key(in_header(), json_type(), own, json!({ "k": "mine" }));
    assert_eq!(header(&request, "idempotency-key"), Some("mine"));

    let request = key(json!({ "in": "query", "name": "requestId" }), json_type(), json!([]), json!({}));
    assert_eq!(request.url, "https://api.example.com/x?requestId=key-1");

    let in_body = |steps: Value| json!({ "in": "body", "name": steps });
    let field = || json!([{ "name": "a", "path": ["m", "a"] }, { "name": "k", "path": ["m", "key"] }]);
    let text = |request: RenderedRequest| String::from_utf8(request.body.unwrap()).unwrap();
    let body = text(key(in_body(json!(["m", "key"])), json_type(), field(), json!({ "a": 1 })));
    assert_eq!(body, r#"{"m":{"a":1,"key":"key-1"}}"#);
    let body = text(key(in_body(json!(["m", "key"])), json_type(), field(), json!({ "k": "mine" })));
    assert_eq!(body, r#"{"m":{"key":"mine"}}"#);
    let body = text(key(in_body(json!(["ClientToken"])), json!({ "type": "form" }), json!([]), json!({})));
    assert_eq!(body, "ClientToken=key-1");
    let wrapped = json!({ "type": "json", "wrap": "ticket" });
    let body = text(key(in_body(json!(["key"])), wrapped, field(), json!({})));
    assert_eq!(body, r#"{"ticket":{},"key":"key-1"}"#);
}

#[test]
fn an_idempotency_key_without_a_place_is_an_error_and_without_a_value_nothing() {
    let place = json!({ "in": "body", "name": ["a", "b"] });
    let document = json!({ "idempotency": place, "body": { "type": "text", "template": "x" } });
    assert!(run(document.clone(), json!({})).is_err());
    let values = object(json!({}));
    assert!(render_request(&plan(document), &Values::config_only(&values)).is_ok());
    let document = json!({
        "idempotency": place, "body": { "type": "json" }, "inputs": [{ "name": "a" }],
    });
    let error = run(document, json!({ "a": 1 })).unwrap_err();
    assert_eq!(error.variable, "");
    assert!(error.to_string().starts_with("the idempotency key "), "{error}");
}

#[test]
fn an_error_names_the_input_and_never_shows_its_value() {
    for (body, field, value, variable) in [
        (json!({ "type": "json" }), json!({ "path": ["a", "1"] }), json!("secret"), "input.x"),
        (json!({ "type": "form" }), json!({ "array_format": "comma" }), json!([["secret"]]), "input.x"),
        (json!({ "type": "multipart" }), json!({ "file": true }), json!({ "data": "secret!" }), "input.x"),
        (json!({ "type": "raw", "root": "x" }), json!({}), json!(["secret"]), "input.x"),
        (
            json!({ "type": "xml", "template": "<a>{{input.x}}</a>" }),
            json!({}),
            json!("secret\u{1}"),
            "input.x",
        ),
        (
            json!({ "type": "text", "template": "{{input.x}}!" }),
            json!({}),
            json!({ "a": "secret" }),
            "input.x",
        ),
        (json!({ "type": "none" }), json!({ "place": "query" }), json!({ "a": "secret" }), "input.x"),
        (json!({ "type": "none" }), json!({ "place": "header" }), json!("secret\n"), "input.x"),
    ] {
        let mut field = field;
        field["name"] = json!("x");
        let error = run(json!({ "body": body, "inputs": [field] }), json!({ "x": value })).unwrap_err();
        assert_eq!(error.variable, variable, "{body}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_several_segment_variable_outside_a_path_is_refused() {
    for extra in [
        json!({ "headers": [["x-a", "{{+input.a}}"]] }),
        json!({ "query": [["a", "{{+input.a}}"]] }),
        json!({ "body": { "type": "json", "template": { "a": ["{{+input.a}}"] } } }),
        json!({ "body": { "type": "text", "template": "{{+input.a}}" } }),
    ] {
        let error = run(extra.clone(), json!({ "a": "x" })).unwrap_err();
        assert!(error.to_string().contains("{{+input.a}}"), "{extra}: {error}");
    }
}
