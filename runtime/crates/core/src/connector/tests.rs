//! A connector is valid by construction: every rule is tested beside a similar document that keeps it.
//!
//! Tests are tables of changes to a valid document, each with the breaches that it must make, pointer
//! and code; a change without breaches must be accepted.

use serde_json::json;

use super::*;

mod actions;
mod auth;
mod behaviour;
mod bodies;
mod credential;
mod document;
mod errands;
mod examples;
mod fields;
mod inputs;
mod methods;
mod oauth;
mod signing;
mod steps;
mod tables;

/// The Salesforce example, byte for byte.
pub(crate) const SALESFORCE: &str = r#"{ "connector_id": "salesforce", "display_name": "Salesforce", "auth_type": "api_key",
  "auth_schema": { "fields": [{ "name": "api_key", "label": "API Key", "type": "password", "required": true }] },
  "actions": [{ "action_id": "create-contact", "http_method": "POST",
    "url_template": "https://api.salesforce.com/v1/contacts",
    "body_schema": [{ "name": "Email", "label": "Email" }] }],
  "allowed_domains": ["*.salesforce.com"], "enabled": true }"#;

fn salesforce() -> Value {
    serde_json::from_str(SALESFORCE).unwrap()
}

/// Merges a change into a document (RFC 7396): null takes out, arrays are replaced.
fn merge(document: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *document = change;
        return;
    };
    if !document.is_object() {
        *document = json!({});
    }
    let members = document.as_object_mut().unwrap();
    for (name, value) in change {
        if value.is_null() {
            members.shift_remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The Salesforce example with a change.
fn with(change: Value) -> Value {
    let mut document = salesforce();
    merge(&mut document, change);
    document
}

/// The Salesforce example with a change to its action.
fn with_action(change: Value) -> Value {
    let mut document = salesforce();
    // Why: only a read goes on page by page, and the action is a POST.
    if change.get("pagination").is_some() {
        document["actions"][0]["effect"] = json!("read");
    }
    merge(&mut document["actions"][0], change);
    document
}

fn checked(document: &Value) -> Checked {
    let checked = Connector::parse(document, &Limits::default());
    assert_eq!(checked.connector.is_some(), checked.errors.is_empty());
    checked
}

fn connector(document: &Value) -> Connector {
    let checked = checked(document);
    assert_eq!(checked.errors, []);
    checked.connector.unwrap()
}

fn codes(problems: &[Violation]) -> Vec<(&str, &str)> {
    problems.iter().map(|p| (p.pointer.as_str(), p.code)).collect()
}

/// Breaches that a change must make; if there are none, it must be accepted.
type Violations<'t> = &'t [(&'t str, &'t str)];

/// Whether each document has exactly these breaches, in any order.
#[track_caller]
fn expect<'t>(cases: impl IntoIterator<Item = (Value, Violations<'t>)>) {
    for (document, expected) in cases {
        let checked = checked(&document);
        let (mut found, mut expected) = (codes(&checked.errors), expected.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{:#?}\n{document:#}", checked.errors);
    }
}

/// Whether each change to the Salesforce example makes exactly these breaches.
#[track_caller]
fn changes<'t>(cases: impl IntoIterator<Item = (Value, Violations<'t>)>) {
    expect(cases.into_iter().map(|(change, breaches)| (with(change), breaches)));
}

/// Whether each change to the action of the Salesforce example makes exactly these breaches.
#[track_caller]
fn actions<'t>(cases: impl IntoIterator<Item = (Value, Violations<'t>)>) {
    expect(cases.into_iter().map(|(change, breaches)| (with_action(change), breaches)));
}

/// Whether a document is accepted with exactly these warnings.
#[track_caller]
fn warns(document: &Value, expected: Violations<'_>) {
    let checked = checked(document);
    assert_eq!(checked.errors, []);
    assert_eq!(codes(&checked.warnings), expected);
}

#[test]
fn a_text_in_which_a_member_stands_twice_is_no_connector() {
    let text = salesforce().to_string();
    assert!(Connector::parse_bytes(text.as_bytes(), &Limits::default()).connector.is_some());
    let (domains, twice) =
        ("\"allowed_domains\":", "\"allowed_domains\":[\"evil.example.net\"],\"allowed_domains\":");
    let checked = Connector::parse_bytes(text.replace(domains, twice).as_bytes(), &Limits::default());
    assert!(checked.connector.is_none());
    assert_eq!(codes(&checked.errors), [("/allowed_domains", "duplicate_member")]);
    let broken = Connector::parse_bytes(b"{\"connector_id\": canary}", &Limits::default());
    assert_eq!(codes(&broken.errors), [("", "bad_json")]);
    assert!(!broken.errors[0].message.contains("canary"), "{:?}", broken.errors);
}

#[test]
fn the_salesforce_example_is_a_connector() {
    let checked = Connector::parse(&salesforce(), &Limits::default());
    assert_eq!(checked.errors, []);
    assert_eq!(checked.warnings, []);
    let connector = checked.connector.unwrap();
    assert_eq!(connector.auth.injection.header_names(), ["authorization"]);
    let action = connector.action("create-contact").unwrap();
    assert_eq!(action.plan.credential.as_deref(), Some("default"));
    assert!(connector.fields[0].secret);
}
