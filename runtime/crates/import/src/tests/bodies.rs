//! Request bodies, rule by rule.

use super::*;

fn with(method: &str, body: Value) -> (Value, Vec<&'static str>) {
    let document = document(&json!({ "/a/{id}": { method: { "parameters": [
        { "name": "id", "in": "path", "required": true, "schema": { "type": "string" } },
    ], "requestBody": body } } }));
    let imported = run(&document);
    check_pointers(&document, &imported);
    (imported.definition["actions"][0].clone(), codes(&imported))
}

fn json_body(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn names(action: &Value) -> Vec<String> {
    action["body_schema"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn members_of_a_json_object_are_inputs() {
    let schema = json!({ "type": "object", "required": ["name"], "properties": {
        "id": { "type": "integer" },
        "name": { "type": "string", "default": "x" },
        "made": { "type": "string", "readOnly": true },
        "tags": { "type": "array", "items": { "type": "string" } },
    } });
    let (action, codes) = with("post", json_body(schema));
    assert_eq!(
        action["body_schema"],
        json!([
            { "name": "id", "label": "id", "type": "string", "required": true },
            { "name": "body_id", "label": "id", "type": "integer", "as": "id" },
            { "name": "name", "label": "name", "type": "string", "required": true, "help": "Default: x" },
            { "name": "tags", "label": "tags", "type": "array" },
        ])
    );
    assert_eq!(action.get("body"), None);
    let expected = ["input_renamed", "body_default_not_sent", "read_only_skipped", "nested_not_checked"];
    assert_eq!(codes, expected);
}

#[test]
fn a_body_that_is_no_object_is_one_input() {
    for (schema, expected) in [
        (json!({ "type": "array", "items": {} }), "array"),
        (json!({ "type": "string" }), "string"),
        (json!({ "type": "object" }), "object"),
        (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "object"),
        (json!({}), "any"),
        (json!({ "oneOf": [{ "type": "object", "properties": { "a": {} } }, { "type": "array" }] }), "any"),
    ] {
        let (action, _) = with("put", json_body(schema.clone()));
        assert_eq!(action["body"], json!({ "type": "json", "root": "body" }), "{schema}");
        assert_eq!(action["body_schema"][1]["type"], expected, "{schema}");
        assert_eq!(action["body_schema"][1]["required"], true);
    }
    let closed = json!({ "type": "object", "additionalProperties": false });
    let (action, codes) = with("post", json_body(closed));
    assert_eq!((names(&action), codes), (vec!["id".to_owned()], vec![]));
}

#[test]
fn compositions_of_a_body_are_merged_or_united() {
    let base = json!({ "type": "object", "properties": { "a": {} }, "required": ["a"] });
    let more = json!({ "type": "object", "properties": { "b": {} } });
    let (action, codes) = with("post", json_body(json!({ "allOf": [base, more] })));
    assert_eq!((names(&action), codes), (vec!["id".into(), "a".into(), "b".into()], vec![]));
    assert_eq!(action["body_schema"][1]["required"], true);
    let (action, codes) = with("post", json_body(json!({ "oneOf": [base, more] })));
    assert_eq!(
        (names(&action), codes),
        (vec!["id".into(), "a".into(), "b".into()], vec!["alternatives_united"])
    );
    assert_eq!(action["body_schema"][1].get("required"), None);
}

#[test]
fn a_json_like_type_is_kept_as_the_content_type() {
    let body =
        json!({ "content": { "application/vnd.api+json": { "schema": { "properties": { "a": {} } } } } });
    let (action, _) = with("patch", body);
    assert_eq!(action["body"], json!({ "type": "json", "content_type": "application/vnd.api+json" }));
}

#[test]
fn forms_are_forms() {
    let schema = json!({ "type": "object", "properties": {
        "a": { "type": "array", "items": { "type": "string" } },
        "d": { "type": "array", "items": { "type": "string" } },
        "o": { "type": "object" },
        "f": { "type": "string", "format": "binary" },
    } });
    let encoding = json!({ "d": { "style": "deepObject", "explode": true } });
    let entry = json!({ "schema": schema, "encoding": encoding });
    let form = json!({ "content": { "application/x-www-form-urlencoded": entry } });
    let (action, _) = with("post", form);
    assert_eq!(action["body"], json!({ "type": "form", "form_style": "brackets" }));
    let formats: Vec<_> = (1..5).map(|i| action["body_schema"][i]["array_format"].clone()).collect();
    assert_eq!(formats, [json!("repeat"), json!("brackets"), Value::Null, Value::Null]);
    assert_eq!(action["body_schema"][4]["type"], "string");
    let (action, _) = with("post", json!({ "content": { "multipart/form-data": { "schema": schema } } }));
    assert_eq!(action["body"], json!({ "type": "multipart" }));
    assert_eq!(action["body_schema"][4]["type"], "file");
    assert_eq!(action["body_schema"][1].get("array_format"), None);
}

#[test]
fn text_is_one_required_input() {
    let (action, codes) = with("post", json!({ "content": { "text/plain": {}, "text/x-markdown": {} } }));
    assert_eq!(action["body"], json!({ "type": "text", "root": "body" }));
    let input = json!({ "name": "body", "label": "body", "type": "string", "required": true });
    assert_eq!(action["body_schema"][1], input);
    assert_eq!(codes, ["media_type_alternatives"]);
}

#[test]
fn a_body_that_cannot_be_said_is_left_away_or_the_operation_left_out() {
    let content = json!({ "application/xml": {} });
    let (action, told) = with("post", json!({ "content": content }));
    assert_eq!((action["body"].clone(), told), (json!({ "type": "none" }), vec!["media_type_not_supported"]));
    let required = json!({ "required": true, "content": content });
    let document = document(&json!({ "/a": { "post": { "requestBody": required } }, "/b": { "get": {} } }));
    let imported = run(&document);
    assert_eq!((codes(&imported), imported.report.operations.left_out), (vec!["body_not_supported"], 1));
}

#[test]
fn methods_without_a_body_have_none() {
    for method in ["get", "head", "options"] {
        let mut optional = json_body(json!({ "properties": { "a": {} } }));
        optional["required"] = json!(false);
        let (action, codes) = with(method, optional);
        assert_eq!((names(&action), codes), (vec!["id".to_owned()], vec!["body_not_carried"]), "{method}");
        assert_eq!(action.get("body"), None);
    }
    for method in ["head", "options"] {
        let body = json_body(json!({ "properties": { "a": {} } }));
        let document = document(&json!({ "/a": { method: { "requestBody": body } }, "/b": { "get": {} } }));
        assert_eq!(codes(&run(&document)), ["body_not_carried"], "{method}");
    }
    let (action, codes) = with("post", Value::Null);
    assert_eq!((action["body"].clone(), codes), (json!({ "type": "none" }), vec![]));
}

#[test]
fn a_body_named_like_a_parameter_has_another_name() {
    let document = document(&json!({ "/a": { "post": {
        "parameters": [{ "name": "body", "in": "query", "schema": {} }],
        "requestBody": json_body(json!({ "type": "array" })),
    } } }));
    let (action, _) = action(&document);
    assert_eq!(action["body"]["root"], "body_body");
    assert_eq!(action["body_schema"][1]["name"], "body_body");
    assert_eq!(action["body_schema"][1].get("as"), None);
}

#[test]
fn swagger_bodies_and_forms_are_carried() {
    let post = |operation: Value| action(&swagger(&json!({ "/a": { "post": operation } }))).0;
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let whole = json!([{ "name": "x", "in": "body", "required": true, "schema": schema }]);
    assert_eq!(names(&post(json!({ "parameters": whole }))), ["a"]);
    let text = json!({ "consumes": ["text/plain"], "parameters": whole });
    assert_eq!(post(text)["body"], json!({ "type": "text", "root": "body" }));
    let field = json!([{ "name": "f", "in": "formData", "type": "array", "items": { "type": "string" } }]);
    let form = post(json!({ "parameters": field }));
    assert_eq!(form["body"]["type"], "form");
    assert_eq!(form["body_schema"][0]["array_format"], "comma");
    let file = json!([{ "name": "f", "in": "formData", "type": "file", "required": true }]);
    let upload = post(json!({ "parameters": file }));
    assert_eq!(upload["body"], json!({ "type": "multipart" }));
    assert_eq!(upload["body_schema"][0]["type"], "file");
    let xml = json!({ "consumes": ["application/xml"], "parameters": whole });
    let alone = refused(&swagger(&json!({ "/a": { "post": xml } })));
    assert!(matches!(alone, ImportError::NoOperation { .. }), "{alone}");
}

#[test]
fn members_beyond_the_listed_ones_are_told() {
    let schema = json!({ "properties": { "a": {} }, "additionalProperties": true });
    assert_eq!(with("post", json_body(schema)).1, ["additional_properties"]);
    let optional = json!({ "content": { "application/json": {
        "schema": { "properties": { "a": {} }, "required": ["a"] },
    } } });
    assert_eq!(with("post", optional).1, ["optional_body_required"]);
}

#[test]
fn what_a_body_only_hints_at_is_told() {
    let any = json!({ "content": { "*/*": { "schema": { "properties": { "a": {} } } } } });
    assert_eq!(with("post", any).1, ["media_type_assumed"]);
    let form = |style: &str| {
        let schema = json!({ "properties": { "a": { "type": "array" } } });
        let entry = json!({ "schema": schema, "encoding": { "a": { "style": style } } });
        with("post", json!({ "content": { "application/x-www-form-urlencoded": entry } })).1
    };
    assert_eq!(form("spaceDelimited"), ["encoding_not_carried"]);
    assert_eq!(form("pipeDelimited"), Vec::<&str>::new());
}
