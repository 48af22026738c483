//! Drafts of real descriptions: links, rules that contradict each other, dates, size, the report.

use super::*;

fn parameter(schema: Value) -> (Value, Vec<&'static str>) {
    let parameters = json!([{ "name": "q", "in": "query", "schema": schema }]);
    let (action, codes) = action(&document(&json!({ "/a": { "get": { "parameters": parameters } } })));
    (action["body_schema"][0].clone(), codes)
}

#[test]
fn f5_links_that_a_definition_may_not_have_are_left_out() {
    for (url, is_carried) in [
        ("https://example.com/docs", true),
        ("http://example.com/docs", false),
        ("https://user@example.com/docs", false),
        ("example.com/docs", false),
        ("https://exa mple.com", false),
    ] {
        let links = json!({ "url": url });
        let mut document = document(&json!({ "/a": { "get": { "externalDocs": links } } }));
        document["externalDocs"] = links;
        let imported = run(&document);
        check_pointers(&document, &imported);
        assert_eq!(imported.definition.get("docs_url").is_some(), is_carried, "{url}");
        assert_eq!(imported.definition["actions"][0].get("docs_url").is_some(), is_carried, "{url}");
        assert_eq!(codes(&imported).contains(&"link_not_carried"), !is_carried, "{url}");
    }
}

#[test]
fn f5_a_rule_that_refuses_the_descriptions_own_values_is_loosened() {
    for (schema, kept, lost) in [
        (json!({ "type": "string", "enum": ["a", "B"], "pattern": "^[a-z]$" }), "enum", "pattern"),
        (json!({ "type": "string", "enum": ["a", "long"], "maxLength": 3 }), "enum", "max_length"),
        (json!({ "type": "integer", "enum": [1, 50], "maximum": 10 }), "enum", "max"),
        (json!({ "type": "number", "enum": [0, 5], "minimum": 1 }), "enum", "min"),
        (json!({ "type": "string", "pattern": "^[a-z]+$", "example": "A-1" }), "type", "pattern"),
        (json!({ "type": "string", "maxLength": 2, "example": "A-1" }), "type", "max_length"),
    ] {
        let (input, codes) = parameter(schema.clone());
        assert!(input.get(kept).is_some() && input.get(lost).is_none(), "{schema} {input}");
        assert_eq!(codes, ["rule_contradiction"], "{schema}");
    }
    for (schema, kept) in [
        (json!({ "type": "string", "enum": ["a", "b"], "pattern": "^[a-z]$" }), "pattern"),
        (json!({ "type": "string", "maxLength": 3, "example": "abc" }), "max_length"),
        (json!({ "type": "string", "pattern": "^[0-9]+$", "example": "<id>" }), "pattern"),
        (json!({ "type": "integer", "enum": [1, 10], "maximum": 10 }), "max"),
    ] {
        let (input, codes) = parameter(schema.clone());
        assert!(input.get(kept).is_some() && codes.is_empty(), "{schema} {input} {codes:?}");
    }
}

#[test]
fn f5_what_the_rules_of_an_upload_refuse_is_left_out_with_its_reason() {
    let mut document = document(&json!({ "/a?key=1": { "get": {} }, "/b": { "get": {} } }));
    let key = json!({ "type": "apiKey", "in": "query", "name": "key" });
    document["components"] = json!({ "securitySchemes": { "k": key } });
    document["security"] = json!([{ "k": [] }]);
    let imported = run(&document);
    assert_eq!(codes(&imported), ["not_accepted"]);
    let operations = imported.report.operations;
    assert_eq!((operations.total, operations.carried, operations.left_out), (2, 1, 1));
    check_pointers(&document, &imported);
}

#[test]
fn f9_a_date_is_accepted_where_one_is_shown() {
    let datetime = |more: Value| {
        let mut schema = json!({ "type": "string", "format": "date-time" });
        schema.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        schema
    };
    for (schema, expected) in [
        (datetime(json!({ "example": "2024-01-31" })), "string"),
        (datetime(json!({ "examples": ["2024-01-31T00:00:00Z", "2024-01-31"] })), "string"),
        (datetime(json!({ "description": "A day, as in `2024-01-31`." })), "string"),
        (datetime(json!({ "default": "2024-01-31" })), "string"),
        (datetime(json!({ "example": "2024-01-31T00:00:00Z" })), "datetime"),
        (datetime(json!({})), "datetime"),
        (json!({ "type": "string", "format": "date", "example": "2024-01-31" }), "date"),
        (json!({ "type": "string", "format": "date", "example": "31/01/2024" }), "string"),
    ] {
        assert_eq!(parameter(schema.clone()).0["type"], expected, "{schema}");
    }
    let schema = datetime(json!({}));
    for outside in [
        json!({ "example": "2024-01-31" }),
        json!({ "examples": { "day": { "value": "2024-01-31" } } }),
        json!({ "description": "YYYY-MM-DD" }),
    ] {
        let mut parameter = json!({ "name": "q", "in": "query", "schema": schema });
        parameter.as_object_mut().unwrap().extend(outside.as_object().cloned().unwrap());
        let (action, codes) = action(&document(&json!({ "/a": { "get": { "parameters": [parameter] } } })));
        assert_eq!((&action["body_schema"][0]["type"], codes), (&json!("string"), vec!["date_as_text"]));
    }
    let object = json!({ "type": "object", "properties": { "start": schema } });
    for body in [
        json!({ "schema": object, "example": { "start": "2024-01-31" } }),
        json!({ "schema": object, "examples": { "one": { "value": { "start": "2024-01-31" } } } }),
        json!({ "schema": { "allOf": [object], "example": { "start": "2024-01-31" } } }),
    ] {
        let content = json!({ "application/json": body });
        let (action, _) =
            action(&document(&json!({ "/a": { "post": { "requestBody": { "content": content } } } })));
        assert_eq!(action["body_schema"][0]["type"], "string", "{body}");
    }
}

#[test]
fn f10_a_draft_is_no_larger_than_an_upload_may_be() {
    let long = "x".repeat(1900);
    let paths: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("/a{n}"), json!({ "get": { "description": long } }))).collect();
    let document = document(&Value::Object(paths));
    for bytes in [30_000, 60_000, 1_000_000] {
        let options = ImportOptions { definition_bytes_max: bytes, ..ImportOptions::default() };
        let imported = import(&document, &options).unwrap();
        let limits = Limits { definition_bytes: bytes, ..Limits::default() };
        assert_eq!(Connector::parse(&imported.definition, &limits).errors, []);
        let operations = imported.report.operations;
        assert_eq!(operations.carried + operations.left_out, 40);
        assert_eq!(codes(&imported).contains(&"actions_cut"), bytes < 100_000);
        check_pointers(&document, &imported);
    }
    let lower = Limits { definition_bytes: 30_000, actions_per_connector: 7, ..Limits::default() };
    let imported = import(&document, &ImportOptions::within(&lower)).unwrap();
    assert_eq!(Connector::parse(&imported.definition, &lower).errors, []);
    assert_eq!(imported.report.operations.carried, 7);
    assert_eq!(ImportOptions::default().definition_bytes_max, Limits::default().definition_bytes);
}

#[test]
fn f11_equal_items_are_counted_and_what_is_never_carried_is_said_once() {
    let parameters = json!([{ "name": "Accept", "in": "header", "schema": { "type": "string" } }]);
    let paths: serde_json::Map<String, Value> = (0..30)
        .map(|n| (format!("/a{n}"), json!({ "get": { "parameters": parameters, "callbacks": { "c": {} } } })))
        .collect();
    let imported = run(&document(&Value::Object(paths)));
    let items = &imported.report.items;
    for code in ["header_owned", "callbacks"] {
        let told: Vec<&str> = items.iter().filter(|i| i.code == code).map(|i| i.message.as_str()).collect();
        assert_eq!(told.len(), 1, "{code}");
        assert!(told[0].starts_with("30 times, first here: "), "{told:?}");
    }
    let never: Vec<&str> =
        items.iter().filter(|i| i.code == "never_carried").map(|i| i.message.as_str()).collect();
    assert_eq!(never.len(), 1);
    for word in ["answers", "pagination", "callbacks", "links", "webhooks", "headers"] {
        assert!(never[0].contains(word), "{word}");
    }
}

#[test]
fn f11_required_headers_with_one_value_are_sent_and_others_are_inputs() {
    let header = |name: &str, required: bool, schema: Value| json!({ "name": name, "in": "header", "required": required, "schema": schema });
    let one = |value: &str| json!({ "type": "string", "enum": [value] });
    let parameters = json!([
        header("Accept", true, one("application/vnd.example.v2+json")),
        header("X-Version", true, json!({ "type": "string", "const": "2024-01-31" })),
        header("X-Choice", true, json!({ "type": "string", "enum": ["a", "b"] })),
        header("X-Optional", false, one("a")),
        header("X-Template", true, one("{{input.a}}")),
        header("User-Agent", true, json!({ "type": "string" })),
    ]);
    let (made, codes) = action(&document(&json!({ "/a": { "get": { "parameters": parameters } } })));
    let expected = json!({ "Accept": "application/vnd.example.v2+json", "X-Version": "2024-01-31" });
    assert_eq!((&made["headers"], codes), (&expected, vec!["header_owned"]));
    let names: Vec<&Value> = made["body_schema"].as_array().unwrap().iter().map(|i| &i["name"]).collect();
    assert_eq!(names, ["X-Choice", "X-Optional", "X-Template"]);
    let accept = |required: bool, schema: Value| {
        let parameters = json!([header("Accept", required, schema)]);
        let (made, _) = action(&document(&json!({ "/a": { "get": { "parameters": parameters } } })));
        made["headers"]["Accept"].clone()
    };
    let default = json!({ "type": "string", "default": "application/vnd.a+json" });
    assert_eq!(accept(true, default.clone()), "application/vnd.a+json");
    assert_eq!((accept(false, default), accept(true, json!({}))), (Value::Null, Value::Null));
    let old =
        json!([{ "name": "Accept", "in": "header", "required": true, "type": "string", "enum": ["a/b"] }]);
    let (made, _) = action(&swagger(&json!({ "/a": { "get": { "parameters": old } } })));
    assert_eq!(made["headers"]["Accept"], "a/b");
}
