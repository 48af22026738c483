//! Malicious descriptions: the work ends, and the draft remains a valid definition.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn text_of_a_description_is_never_a_template() {
    let parameters = json!([
        { "name": "}}{{cred.token", "in": "path", "required": true, "schema": {} },
        { "name": "{{cred.token}}", "in": "query",
          "schema": { "default": "{{cred.token}}", "type": "string" } },
    ]);
    let document = document(&json!({
        "/a/{x}": { "get": { "operationId": "{{cred.token}}", "parameters": parameters } },
        "/b/{{cred.token}}": { "get": {} },
    }));
    let imported = run(&document);
    assert_eq!(imported.definition["actions"].as_array().unwrap().len(), 1);
    let url = imported.definition["actions"][0]["url_template"].as_str().unwrap();
    assert_eq!(url, "https://api.example.com/v1/a/{{input.x}}");
}

#[test]
fn a_server_variable_cannot_move_the_host() {
    for (url, default) in [
        ("https://{a}.example.com", "evil.org/"),
        ("https://api.example.com{a}", "@evil.org"),
        ("https://api.example.com:{a}", "443@evil.org"),
    ] {
        let mut document = document(&json!({ "/a": { "get": {} } }));
        document["servers"] = json!([{ "url": url, "variables": { "a": { "default": default } } }]);
        assert!(matches!(refused(&document), ImportError::BaseUrl(_)), "{url}");
    }
}

#[test]
fn schemas_that_double_or_loop_end_soon() {
    let mut schemas = serde_json::Map::new();
    for i in 0..40 {
        let next = json!({ "$ref": format!("#/components/schemas/s{}", (i + 1) % 40) });
        schemas.insert(format!("s{i}"), json!({ "allOf": [next, next], "oneOf": [next, next, next] }));
    }
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/s0" } } });
    let mut paths = serde_json::Map::new();
    for i in 0..50 {
        paths.insert(format!("/p{i}"), json!({ "post": { "requestBody": { "content": content } } }));
    }
    let mut document = document(&Value::Object(paths));
    document["components"] = json!({ "schemas": schemas });
    let start = Instant::now();
    let imported = run(&document);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(imported.report.operations.carried, 50);
    assert!(codes(&imported).contains(&"schema_budget"));
}

#[test]
fn odd_shapes_are_passed_over() {
    for value in [json!(null), json!(1), json!("x"), json!([]), json!({}), json!([[1]]), json!({ "$ref": 5 })]
    {
        let mut paths = json!({ "/good": { "get": {} } });
        paths["/a"] = json!({ "get": value, "parameters": value, "servers": value });
        paths["/b"] = json!({ "post": {
            "operationId": value, "summary": value, "tags": value, "parameters": [value], "responses": value,
            "requestBody": value, "security": value, "callbacks": value, "deprecated": value,
            "externalDocs": value,
        } });
        paths["/c"] = json!({ "put": { "requestBody": { "content": { "application/json": { "schema": {
            "type": value, "properties": { "a": value }, "required": value, "allOf": value, "oneOf": value,
            "enum": value, "additionalProperties": value,
        } } } } } });
        let mut document = document(&paths);
        document["components"] = json!({ "securitySchemes": { "a": value }, "schemas": value });
        document["security"] = value.clone();
        document["info"] = value.clone();
        document["externalDocs"] = value.clone();
        assert!(run(&document).report.operations.carried >= 1, "{value}");
    }
}
