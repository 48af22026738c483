//! Requests of real descriptions: references, bodies, defaults, media types, bytes.

use super::*;

/// What became of one operation beside a plain one: its action, and the codes of the report.
fn beside(method: &str, operation: Value) -> (Option<Value>, Vec<&'static str>) {
    let document = document(&json!({ "/a": { method: operation }, "/plain": { "get": {} } }));
    let imported = run(&document);
    check_pointers(&document, &imported);
    let actions = imported.definition["actions"].as_array().unwrap();
    let found = actions.iter().find(|action| action["url_template"].as_str().unwrap().ends_with("/a"));
    (found.cloned(), codes(&imported))
}

fn json_body(schema: Value) -> Value {
    json!({ "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } } })
}

fn input<'a>(action: &'a Value, name: &str) -> &'a Value {
    action["body_schema"].as_array().unwrap().iter().find(|input| input["name"] == name).unwrap()
}

#[test]
fn f1_what_an_operation_needs_from_another_document_leaves_it_out() {
    let outside = json!({ "$ref": "resources/a.yml" });
    let parameter = |schema: &Value| {
        json!({ "parameters": [
        { "name": "q", "in": "query", "required": true, "schema": schema } ] })
    };
    for operation in [
        outside.clone(),
        json!({ "$ref": "https://example.com/a.json#/post" }),
        json!({ "requestBody": outside }),
        json!({ "parameters": [outside] }),
        parameter(&outside),
        parameter(&json!({ "allOf": [outside] })),
        json_body(outside.clone()),
        json_body(json!({ "allOf": [{ "type": "object", "properties": { "a": {} } }, outside] })),
        json_body(json!({ "type": "object", "required": ["a"], "properties": { "a": outside } })),
    ] {
        let (action, codes) = beside("post", operation.clone());
        assert_eq!((action, codes), (None, vec!["external_ref"]), "{operation}");
    }
}

#[test]
fn f1_a_path_in_another_document_is_told_and_its_neighbours_are_carried() {
    let document = document(&json!({ "/a": { "$ref": "resources/a.yml" }, "/plain": { "get": {} } }));
    let imported = run(&document);
    assert_eq!((codes(&imported), imported.report.operations.carried), (vec!["external_ref"], 1));
    let alone = refused(&super::document(&json!({ "/a": { "$ref": "resources/a.yml" } })));
    assert!(alone.to_string().contains("leads out of the description"), "{alone}");
}

#[test]
fn f1_what_may_be_left_away_and_what_is_inside_the_document_is_carried() {
    let outside = json!({ "$ref": "resources/a.yml" });
    let optional = json!({ "parameters": [{ "name": "q", "in": "query", "schema": outside }] });
    assert_eq!(beside("post", optional).0.unwrap()["body_schema"][0]["type"], "any");
    let member = json!({ "type": "object", "required": ["b"], "properties": { "a": outside, "b": {} } });
    assert!(beside("post", json_body(member)).0.is_some());
    assert!(beside("get", json!({ "responses": { "200": outside } })).0.is_some());
    let mut document = document(&json!({ "/a": { "post": { "$ref": "#/x-operations/a" } } }));
    document["x-operations"] = json!({ "a": json_body(json!({ "type": "object", "required": ["b"] })) });
    let (action, _) = action(&document);
    assert_eq!(input(&action, "b")["required"], true);
}

#[test]
fn f2_a_body_of_delete_and_a_required_one_of_get_are_carried() {
    let members =
        json!({ "type": "object", "required": ["ids"], "properties": { "ids": { "type": "array" } } });
    for method in ["delete", "get"] {
        let (action, codes) = beside(method, json_body(members.clone()));
        let action = action.unwrap();
        assert_eq!((&action["body"]["type"], &input(&action, "ids")["in"]), (&json!("json"), &json!("body")));
        assert_eq!(codes, Vec::<&str>::new(), "{method}");
        let (action, _) = beside(method, json_body(json!({ "type": "array" })));
        let action = action.unwrap();
        assert_eq!(
            (&action["body"]["root"], &input(&action, "body")["in"]),
            (&json!("body"), &json!("body"))
        );
    }
    let form = json!({ "name": "x", "in": "formData", "type": "string", "required": true });
    let document = swagger(&json!({ "/a": { "delete": { "parameters": [form] } } }));
    assert_eq!(action(&document).0["body"]["type"], "form");
}

#[test]
fn f3_a_default_is_sent_only_where_a_value_is_required() {
    let parameter = |name: &str, place: &str, required: bool| {
        json!({ "name": name, "in": place, "required": required,
            "schema": { "type": "string", "default": "deflate" } })
    };
    let parameters = json!([
        parameter("Content-Encoding", "header", false),
        parameter("usemarker", "query", false),
        parameter("version", "query", true),
    ]);
    let (action, codes) = beside("get", json!({ "parameters": parameters }));
    let action = action.unwrap();
    for name in ["Content-Encoding", "usemarker"] {
        assert_eq!(input(&action, name).get("default"), None, "{name}");
        assert_eq!(input(&action, name)["help"], "Default: deflate", "{name}");
    }
    assert_eq!(input(&action, "version")["default"], "deflate");
    assert_eq!(codes, ["body_default_not_sent"]);
}

#[test]
fn f4_the_media_type_fits_the_schema_of_2_0() {
    let patches = json!([
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json"
    ]);
    let json_first = json!(["application/json-patch+json", "application/json", "text/json"]);
    let object = json!({ "type": "object" });
    let array = json!({ "type": "array", "items": {} });
    for (method, consumes, schema, expected) in [
        ("patch", &patches, &object, Some("application/merge-patch+json")),
        ("patch", &patches, &array, Some("application/json-patch+json")),
        ("patch", &json_first, &object, None),
        ("patch", &json_first, &array, Some("application/json-patch+json")),
        ("post", &json_first, &array, None),
    ] {
        let body = json!({ "name": "body", "in": "body", "required": true, "schema": schema });
        let operation = json!({ "consumes": consumes, "parameters": [body] });
        let document = swagger(&json!({ "/a": { method: operation } }));
        let imported = run(&document);
        check_pointers(&document, &imported);
        let body = &imported.definition["actions"][0]["body"];
        assert_eq!(body["content_type"].as_str(), expected, "{method} {consumes} {schema}");
        assert!(codes(&imported).contains(&"media_type_alternatives"));
    }
    let only = json!({ "consumes": ["application/json-patch+json"], "parameters": [
        { "name": "body", "in": "body", "schema": object } ] });
    let imported = run(&swagger(&json!({ "/a": { "patch": only } })));
    assert!(codes(&imported).contains(&"media_type_mismatch"));
}

#[test]
fn f4_each_media_type_of_3_x_is_judged_by_its_own_schema() {
    let array = json!({ "schema": { "type": "array", "items": {} } });
    let object = json!({ "schema": { "type": "object", "properties": { "a": {} } } });
    let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
    for (content, body_type, content_type) in [
        (
            json!({ "application/json-patch+json": object, "application/merge-patch+json": object }),
            json!("json"),
            json!("application/merge-patch+json"),
        ),
        (
            json!({ "application/merge-patch+json": array, "application/json-patch+json": array }),
            json!("json"),
            json!("application/json-patch+json"),
        ),
        (json!({ "text/plain": object, "multipart/form-data": object }), json!("multipart"), Value::Null),
        (json!({ "application/json": bytes, "image/png": bytes }), json!("raw"), json!("image/png")),
        (json!({ "*/*": bytes }), json!("raw"), Value::Null),
    ] {
        let (action, codes) = beside("patch", json!({ "requestBody": { "content": content } }));
        let body = &action.unwrap()["body"];
        assert_eq!((&body["type"], &body["content_type"]), (&body_type, &content_type), "{content}");
        assert_eq!(codes.contains(&"media_type_alternatives"), content.as_object().unwrap().len() > 1);
    }
}

#[test]
fn f8_bytes_go_out_raw() {
    let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
    for (name, content_type) in [
        ("application/octet-stream", Value::Null),
        ("image/png", json!("image/png")),
        ("image/*", Value::Null),
        ("application/pdf", json!("application/pdf")),
        ("video/mp4", json!("video/mp4")),
    ] {
        let content = json!({ name: bytes });
        let (action, codes) =
            beside("put", json!({ "requestBody": { "required": true, "content": content } }));
        let action = action.unwrap();
        assert_eq!((&action["body"]["type"], &action["body"]["root"]), (&json!("raw"), &json!("body")));
        assert_eq!((&action["body"]["content_type"], codes), (&content_type, vec![]), "{name}");
        assert_eq!(input(&action, "body")["type"], "file");
    }
    let body = json!({ "name": "data", "in": "body", "required": true,
        "schema": { "type": "string", "format": "binary" } });
    let operation = json!({ "consumes": ["application/octet-stream"], "parameters": [body] });
    assert_eq!(action(&swagger(&json!({ "/a": { "post": operation } }))).0["body"]["type"], "raw");
    let csv = json!({ "requestBody": { "content": { "text/csv": { "schema": { "type": "string" } } } } });
    let body = beside("post", csv).0.unwrap()["body"].clone();
    assert_eq!((&body["type"], &body["content_type"]), (&json!("text"), &json!("text/csv")));
}

#[test]
fn f8_answers_without_json_are_read_as_what_they_are() {
    let read = |content: Value| {
        let (action, _) = beside("get", json!({ "responses": { "200": { "content": content } } }));
        let action = action.unwrap();
        (action["response"]["type"].clone(), action["headers"]["Accept"].clone())
    };
    let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
    for (content, response_type, accept) in [
        (json!({ "application/pdf": {} }), json!("binary"), Value::Null),
        (json!({ "application/octet-stream": bytes }), json!("binary"), Value::Null),
        (json!({ "image/png": {}, "image/jpeg": {} }), json!("binary"), Value::Null),
        (json!({ "*/*": bytes }), json!("binary"), Value::Null),
        (json!({ "application/pdf": {}, "application/json": {} }), Value::Null, Value::Null),
        (json!({ "application/xml": {} }), json!("xml"), Value::Null),
        (json!({ "application/x-ndjson": {} }), json!("ndjson"), Value::Null),
        (json!({ "text/csv": {} }), Value::Null, json!("text/csv")),
        (json!({ "application/vnd.a.v2+json": {} }), Value::Null, json!("application/vnd.a.v2+json")),
        (json!({}), Value::Null, Value::Null),
    ] {
        assert_eq!(read(content.clone()), (response_type, accept), "{content}");
    }
    let answer = |produces: &[&str], schema: Value| {
        let operation = json!({ "produces": produces, "responses": { "200": { "schema": schema } } });
        action(&swagger(&json!({ "/a": { "get": operation } }))).0["response"]["type"].clone()
    };
    assert_eq!(answer(&["application/pdf"], json!({ "type": "file" })), "binary");
    assert_eq!(answer(&[], json!({ "type": "file" })), "binary");
    assert_eq!(answer(&["application/xml", "application/json"], json!({ "type": "object" })), Value::Null);
}
