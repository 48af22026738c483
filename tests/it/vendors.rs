//! The look-up of undeclared names by `vendor-judge`, on a small description.

use serde_json::{Value, json};

#[path = "../vendors/description.rs"]
mod description;

use description::{Asked, Description};

/// References, a list, an open map, alternatives, a form with brackets, and a server with a path.
fn description() -> Value {
    let address = json!({ "type": "object", "properties": {
        "city": { "type": "string" }, "lines": { "type": "array", "items": { "type": "string" } },
    } });
    let person = json!({ "type": "object", "properties": {
        "name": { "type": "string" },
        "address": { "anyOf": [
            { "$ref": "#/components/schemas/address" }, { "enum": [""], "type": "string" },
        ] },
        "labels": { "type": "object", "additionalProperties": { "type": "string" } },
        "friends": { "type": "array", "items": { "$ref": "#/components/schemas/person" } },
        "anything": {},
    } });
    let content = json!({ "$ref": "#/components/schemas/person" });
    let deep = json!({ "type": "object", "properties": { "gte": { "type": "integer" } } });
    json!({
        "openapi": "3.0.3",
        "servers": [{ "url": "https://api.example-saas.com/v1/" }],
        "paths": {
            "/people": {
                "parameters": [{ "$ref": "#/components/parameters/limit" }],
                "get": { "parameters": [
                    { "name": "created", "in": "query", "style": "deepObject", "schema": deep },
                    { "name": "expand", "in": "query", "schema": { "type": "array", "items": {} } },
                    { "name": "X-Trace", "in": "header" },
                ] },
                "post": { "requestBody": { "content": {
                    "application/json; charset=utf-8": { "schema": content },
                    "application/x-www-form-urlencoded": { "schema": content },
                } } },
            },
            "/people/{id}": { "get": {} },
            "/people/search": { "post": { "requestBody": { "content": { "application/*": {} } } } },
        },
        "components": {
            "parameters": { "limit": { "name": "limit", "in": "query" } },
            "schemas": { "address": address, "person": person },
            "securitySchemes": { "key": { "type": "apiKey", "in": "query", "name": "api_key" } },
        },
    })
}

/// Names that the description does not declare; `None` if it has no such operation.
fn undeclared(line: &str, content_type: &str, body: &str) -> Option<Vec<String>> {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = Asked { method, path, query, content_type, body: body.as_bytes() };
    Description::parse(&description().to_string()).unwrap().undeclared(asked)
}

#[track_caller]
fn check(line: &str, content_type: &str, body: &str, names: &[&str]) {
    assert_eq!(undeclared(line, content_type, body).as_deref().unwrap(), names, "{line} {body}");
}

#[test]
fn a_query_name_is_a_parameter_or_undeclared() {
    check("GET /v1/people?limit=1&created%5Bgte%5D=7&expand[]=a&expand[0]=b&api_key=k", "", "", &[]);
    check("GET /people?limt=1&limt=2", "", "", &["query limt"]);
    check("GET /people?created[gt]=7", "", "", &["query created[gt]"]);
    check("GET /people?X-Trace=7", "", "", &["query X-Trace"]);
}

#[test]
fn a_member_of_a_json_body_is_looked_up_at_every_depth() {
    let json = "application/json";
    check("POST /people", json, r#"{"name":"a","address":{"city":"b","lines":["c"]}}"#, &[]);
    check("POST /people", json, r#"{"nme":"a","address":{"town":"b"}}"#, &["body nme", "body address.town"]);
    check("POST /people", json, r#"{"friends":[{"friends":[{}]},{"nme":1}]}"#, &["body friends[].nme"]);
    check(
        "POST /people",
        json,
        r#"{"name":{"first":"a"},"labels":[1]}"#,
        &["body name.first", "body labels[]"],
    );
}

#[test]
fn what_a_schema_leaves_open_declares_every_name() {
    check("POST /people", "application/json", r#"{"labels":{"x":"y"},"anything":{"z":[{"q":1}]}}"#, &[]);
    check("POST /people/search", "application/json", r#"{"query":{"any":1}}"#, &[]);
}

#[test]
fn a_form_field_is_looked_up_by_its_brackets() {
    let form = "application/x-www-form-urlencoded";
    let good = "name=a&address[city]=b&address%5Blines%5D[]=c&friends[0][name]=d&labels[x]=y";
    check("POST /people", form, good, &[]);
    let bad = "adress[city]=b&address[town]=b&friends[0][nme]=d&name[first]=e";
    let names = ["form adress", "form address.town", "form friends.0.nme", "form name.first"];
    check("POST /people", form, bad, &names);
}

#[test]
fn a_body_needs_a_declared_content_type() {
    check("POST /people", "text/plain", "a", &["content type text/plain"]);
    check("GET /people", "application/json", "{}", &["a body"]);
}

#[test]
fn the_path_with_the_fewest_variables_is_meant() {
    check("POST /people/search", "application/json", "{}", &[]);
    check("GET /people/7", "", "", &[]);
    for line in ["DELETE /people/7", "GET /people/7/friends", "GET /people/", "POST /people/7"] {
        assert_eq!(undeclared(line, "", ""), None, "{line}");
    }
}

#[test]
fn what_is_no_openapi_3_is_said_so() {
    for text in ["{", "{}", r#"{"swagger":"2.0"}"#] {
        assert!(Description::parse(text).is_err(), "{text}");
    }
}
