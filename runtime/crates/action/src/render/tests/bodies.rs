//! JSON, GraphQL, XML, text and raw bodies.

use serde_json::json;

use super::{Value, body_text, header, run};

fn json_of(body: Value, inputs: Value, input: Value) -> Result<Value, String> {
    let text = body_text(json!({ "body": body, "inputs": inputs }), input).map_err(|e| e.to_string())?;
    Ok(serde_json::from_str(&text).unwrap())
}

#[test]
fn hubspot_properties() {
    let inputs = json!([
        { "name": "email", "path": ["properties", "email"] },
        { "name": "first", "path": ["properties", "firstname"] },
        { "name": "more", "path": ["properties"] },
    ]);
    let input = json!({ "email": "a@b.c", "more": { "city": "Bonn", "age": 7 } });
    assert_eq!(
        json_of(json!({ "type": "json" }), inputs, input).unwrap(),
        json!({ "properties": { "email": "a@b.c", "city": "Bonn", "age": 7 } })
    );
}

#[test]
fn zendesk_wrap() {
    let inputs = json!([{ "name": "subject" }, { "name": "body", "path": ["comment", "body"] }]);
    let body = json!({ "type": "json", "wrap": "ticket" });
    assert_eq!(
        json_of(body, inputs, json!({ "subject": "S", "body": "B" })).unwrap(),
        json!({ "ticket": { "subject": "S", "comment": { "body": "B" } } })
    );
}

#[test]
fn jira_fields_in_a_template() {
    let template = json!({
        "fields": {
            "project": { "key": "{{input.project}}" },
            "labels": ["{{config.version}}", "{{input.none}}", "v{{config.version}}"],
            "duedate": "{{now|date:'%Y-%m-%d'}}",
            "priority": "{{input.priority}}",
            "fixed": 5, "flag": true, "nothing": null,
        }
    });
    let inputs = json!([
        { "name": "project", "place": "path" },
        { "name": "priority", "place": "path" },
        { "name": "summary", "path": ["fields", "summary"] },
    ]);
    let input = json!({ "project": "PORT", "priority": { "id": 3 }, "summary": "{{config.version}}" });
    assert_eq!(
        json_of(json!({ "type": "json", "template": template }), inputs, input).unwrap(),
        json!({
            "fields": {
                "project": { "key": "PORT" },
                "labels": ["2", "v2"],
                "duedate": "2026-11-22",
                "priority": { "id": 3 },
                "fixed": 5, "flag": true, "nothing": null,
                "summary": "{{config.version}}",
            }
        })
    );
}

#[test]
fn sendgrid_personalizations() {
    let inputs = json!([
        { "name": "to", "path": ["personalizations", "0", "to", "0", "email"] },
        { "name": "to2", "path": ["personalizations", "0", "to", "1", "email"] },
        { "name": "subject", "path": ["personalizations", "0", "subject"] },
        { "name": "from", "path": ["from", "email"] },
    ]);
    let body = || json!({ "type": "json" });
    let input = json!({ "to": "a@b.c", "to2": "d@e.f", "subject": "S", "from": "x@y.z" });
    assert_eq!(
        json_of(body(), inputs.clone(), input).unwrap(),
        json!({
            "personalizations": [{ "to": [{ "email": "a@b.c" }, { "email": "d@e.f" }], "subject": "S" }],
            "from": { "email": "x@y.z" },
        })
    );
    let error = json_of(body(), inputs, json!({ "to2": "d@e.f" })).unwrap_err();
    assert!(error.starts_with("input.to2 ") && error.contains("gap"), "{error}");
}

#[test]
fn an_input_never_takes_the_place_of_what_the_template_fixes() {
    let template = || json!({ "type": "json", "template": { "role": "reader", "o": { "a": 1 } } });
    for (path, value) in [
        (json!(["role"]), json!("admin")),
        (json!(["role", "x"]), json!("admin")),
        (json!(["o"]), json!({ "a": 2 })),
        (json!(["o"]), json!(null)),
    ] {
        let inputs = json!([{ "name": "i", "path": path, "omit_if": "never" }]);
        let error = json_of(template(), inputs, json!({ "i": value })).unwrap_err();
        assert!(error.starts_with("input.i "), "{error}");
    }
    let inputs = json!([{ "name": "o" }]);
    assert_eq!(
        json_of(template(), inputs, json!({ "o": { "b": 2 } })).unwrap(),
        json!({ "role": "reader", "o": { "a": 1, "b": 2 } })
    );
}

#[test]
fn the_root_input_is_the_whole_document() {
    let body = || json!({ "type": "json", "root": "doc" });
    let inputs = || json!([{ "name": "doc" }, { "name": "extra" }]);
    for whole in [json!([1, { "a": "{{config.version}}" }]), json!("text"), json!(7), json!({ "a": 1 })] {
        assert_eq!(json_of(body(), inputs(), json!({ "doc": whole })).unwrap(), whole);
    }
    assert_eq!(
        json_of(body(), inputs(), json!({ "doc": { "a": 1 }, "extra": 2 })).unwrap(),
        json!({ "a": 1, "extra": 2 })
    );
    assert_eq!(json_of(body(), inputs(), json!({})).unwrap(), json!({}));
    assert!(json_of(body(), inputs(), json!({ "doc": [], "extra": 2 })).is_err());
}

#[test]
fn a_whole_variable_keeps_its_type_and_a_missing_part_is_an_error() {
    let template = json!({
        "n": "{{input.n}}", "t": "n={{input.n}}", "list": "{{input.list}}", "deep": "{{input.o.a}}",
        "d": "{{input.none|default:'x'}}", "gone": "{{input.none}}", "now": "{{now|epoch}}",
        "run": "{{run.id}}",
    });
    let body = json!({ "type": "json", "template": template });
    let input = json!({ "n": 5, "list": [1], "o": { "a": false } });
    assert_eq!(
        json_of(body, json!([]), input).unwrap(),
        json!({
            "n": 5, "t": "n=5", "list": [1], "deep": false, "d": "x", "now": 1_795_343_400, "run": "run_1",
        })
    );
    let body = json!({ "type": "json", "template": { "t": "n={{input.n}}" } });
    assert_eq!(json_of(body, json!([]), json!({})).unwrap_err(), "input.n has no value");
}

#[test]
fn graphql_takes_values_by_variables_alone() {
    let query = "query($id: ID!) { n(id: $id) { {{input.id}} } }";
    let body = |variables: Value| json!({ "type": "graphql", "query": query, "variables": variables });
    let inputs = || {
        json!([
            { "name": "id" },
            { "name": "title", "path": ["input", "title"] },
            { "name": "first", "place": "path" },
        ])
    };
    let variables = json!({ "first": "{{input.first}}", "input": { "kind": "A", "note": "{{input.none}}" } });
    assert_eq!(
        json_of(body(variables), inputs(), json!({ "id": "gid://x\"}", "title": "T", "first": 3 })).unwrap(),
        json!({
            "query": query,
            "variables": { "first": 3, "input": { "kind": "A", "title": "T" }, "id": "gid://x\"}" },
        })
    );
    assert_eq!(json_of(body(json!({})), inputs(), json!({})).unwrap()["variables"], json!({}));
}

#[test]
fn xml_values_are_character_data() {
    let template = r#"<a b="{{input.v}}">{{input.v}} {{input.n}}</a>"#;
    let document = || json!({ "body": { "type": "xml", "template": template } });
    assert_eq!(
        body_text(document(), json!({ "v": "</a>&\"'{{run.id}}", "n": 1 })).unwrap(),
        "<a b=\"&lt;/a&gt;&amp;&quot;&apos;{{run.id}}\">&lt;/a&gt;&amp;&quot;&apos;{{run.id}} 1</a>"
    );
    for bad in ["\0", "\u{b}", "a\u{1f}", "\u{ffff}"] {
        let error = body_text(document(), json!({ "v": bad, "n": 1 })).unwrap_err();
        assert_eq!(error.variable, "input.v", "{bad:?}");
    }
    let error = body_text(document(), json!({ "v": "x" })).unwrap_err();
    assert_eq!(error.to_string(), "input.n has no value");
}

#[test]
fn text_stands_as_it_is() {
    let document = json!({ "body": { "type": "text", "template": "to {{input.v}}\n" } });
    assert_eq!(body_text(document, json!({ "v": "<&>\r\n{{x}}" })).unwrap(), "to <&>\r\n{{x}}\n");
}

#[test]
fn raw_is_the_bytes_of_the_file() {
    let document = |content_type: Value| {
        json!({
            "method": "PUT", "url": "https://b.s3.eu-west-1.amazonaws.com/{{+input.key}}",
            "inputs": [{ "name": "key", "place": "path" }, { "name": "file", "file": true }],
            "body": { "type": "raw", "root": "file" }, "content_type": content_type,
        })
    };
    let file = json!({ "filename": "a.png", "content_type": "image/png", "data": "iVBORw0KAP8=" });
    for (planned, file, content_type, bytes) in [
        (json!(null), file.clone(), "image/png", b"\x89PNG\r\n\0\xff".as_slice()),
        (json!("text/csv"), file, "image/png", b"\x89PNG\r\n\0\xff"),
        (json!("text/csv"), json!("a,b"), "text/csv", b"a,b"),
        (json!(null), json!("a,b"), "application/octet-stream", b"a,b"),
        (json!(null), json!({ "data": "YQ" }), "application/octet-stream", b"a"),
        (json!(null), json!({ "data": "" }), "application/octet-stream", b""),
    ] {
        let request = run(document(planned), json!({ "key": "x/y z", "file": file })).unwrap();
        assert_eq!(request.url, "https://b.s3.eu-west-1.amazonaws.com/x/y%20z");
        assert_eq!(request.body.as_deref(), Some(bytes));
        assert_eq!(header(&request, "content-type"), Some(content_type));
    }
    for bad in [
        json!(null),
        json!(5),
        json!({}),
        json!({ "data": 5 }),
        json!({ "data": "a b" }),
        json!({ "data": "", "content_type": "a\r\nb: c" }),
        json!({ "data": "", "content_type": 5 }),
    ] {
        let error = run(document(json!(null)), json!({ "key": "k", "file": bad })).unwrap_err();
        assert_eq!(error.variable, "input.file", "{bad}");
    }
}
