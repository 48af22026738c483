//! The schema of a form is held against the form itself: the same values, the same verdict.

use serde_json::{Value, json};

use super::*;
use crate::connector::Connector;
use crate::form::check_form;
use crate::limits::Limits;

fn fields() -> Vec<Field> {
    let document = json!({
        "connector_id": "demo", "display_name": "Demo", "auth_type": "api_key",
        "auth_schema": { "fields": [
            { "name": "api_key", "type": "password", "required": true, "pattern": "sk-[a-z0-9]{4,8}",
              "pattern_message": "begins with sk-" },
            { "name": "key_file", "type": "pem" },
        ] },
        "config_fields": [
            { "name": "region", "type": "select", "required": true, "default": "eu",
              "enum": [{ "value": "eu", "label": "Europe" }, { "value": "us" }] },
            { "name": "account", "required": true, "visible_when": { "field": "region", "equals": "us" } },
            { "name": "site", "required": true, "visible_when": { "field": "region", "in": ["eu"] },
              "format": "hostname" },
            { "name": "shop", "format": "hostname_label", "max_length": 10 },
            { "name": "home", "type": "url" },
            { "name": "mail", "type": "email" },
            { "name": "tenant", "format": "uuid" },
            { "name": "limit", "type": "number", "default": "5" },
            { "name": "sandbox", "type": "boolean" },
            { "name": "found", "automated": true },
        ],
        "allowed_domains": ["api.example.com"],
        "discover": [{ "capture": { "found": "/id" }, "request": {
            "action_id": "me", "http_method": "GET", "url_template": "https://api.example.com/me" } }],
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": "https://api.example.com/" }],
    });
    let checked = Connector::parse(&document, &Limits::default());
    checked.connector.unwrap_or_else(|| panic!("{:?}", checked.errors)).fields
}

#[test]
fn the_schema_judges_as_the_form_does() {
    let fields = fields();
    let schema = serde_json::to_value(FormSchema::of(&fields)).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let whole = json!({ "api_key": "sk-abcd", "site": "a.example.com" });
    for (change, expected) in [
        (json!({}), true),
        (json!({ "api_key": "sk-ab" }), false),
        (json!({ "api_key": "xk-abcd" }), false),
        (json!({ "api_key": 5 }), false),
        (json!({ "api_key": ["sk-abcd"] }), false),
        (json!({ "region": "us", "account": "7" }), true),
        (json!({ "region": "us" }), false),
        (json!({ "region": "de" }), false),
        (json!({ "region": "eu" }), true),
        (json!({ "site": "localhost" }), false),
        (json!({ "site": "10.0.0.1" }), false),
        (json!({ "site": "a..example.com" }), false),
        (json!({ "shop": "acme" }), true),
        (json!({ "shop": "-acme" }), false),
        (json!({ "shop": "acme-acme-acme" }), false),
        (json!({ "shop": "a\u{7}b" }), false),
        (json!({ "home": "https://a.example.com/x?y=1" }), true),
        (json!({ "home": "http://a.example.com" }), false),
        (json!({ "home": "https://u:p@a.example.com" }), false),
        (json!({ "mail": "a+b@x.example.com" }), true),
        (json!({ "mail": "a@b@x.example.com" }), false),
        (json!({ "tenant": "0197a2f0-0000-7000-8000-00000000000a" }), true),
        (json!({ "tenant": "0197a2f0" }), false),
        (json!({ "key_file": "-----BEGIN X-----\nAA==\n-----END X-----\n" }), true),
        (json!({ "key_file": "AA==" }), false),
        (json!({ "limit": 7 }), true),
        (json!({ "limit": true }), false),
        (json!({ "limit": "seven" }), false),
        (json!({ "sandbox": false }), true),
        (json!({ "sandbox": "maybe" }), false),
        (json!({ "found": "x" }), false),
        (json!({ "api_kye": "sk-abcd" }), false),
    ] {
        let mut given = whole.as_object().cloned().unwrap();
        given.extend(change.as_object().cloned().unwrap());
        let form = check_form(&fields, given.clone(), 1000);
        assert_eq!(form.is_ok(), expected, "the form: {change} {form:?}");
        assert_eq!(validator.is_valid(&Value::Object(given)), expected, "the schema: {change} {schema}");
    }
    for left_out in ["api_key", "site"] {
        let mut given = whole.as_object().cloned().unwrap();
        given.remove(left_out);
        assert!(check_form(&fields, given.clone(), 1000).is_err());
        assert!(!validator.is_valid(&Value::Object(given)), "{left_out}");
    }
}

#[test]
fn a_secret_is_write_only_and_what_a_person_does_not_fill_in_is_left_out() {
    let schema = serde_json::to_value(FormSchema::of(&fields())).unwrap();
    assert_eq!(schema["properties"]["api_key"]["writeOnly"], true);
    assert_eq!(schema["properties"]["shop"].get("writeOnly"), None);
    assert_eq!(schema["properties"].get("found"), None);
    assert_eq!(schema["required"], json!(["api_key"]));
    assert_eq!(schema["properties"]["limit"]["default"], 5);
}
