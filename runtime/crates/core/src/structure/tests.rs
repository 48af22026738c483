//! How the check reports bodies of the kind the API has: every breach at once, each with its pointer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::id::OrgId;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its shape is what is tested")]
struct Body {
    org: OrgId,
    #[serde(default)]
    #[schemars(length(max = 5))]
    display_name: Option<String>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    contact: Option<Contact>,
    #[serde(default)]
    #[schemars(length(max = 2), inner(length(min = 1)))]
    hosts: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, Header>,
    #[serde(default)]
    of_orgs: BTreeMap<OrgId, u8>,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    input: Option<Value>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Documented, like the product's enums.
    Enforce,
    Report,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its shape is what is tested")]
struct Contact {
    email: String,
    #[serde(default)]
    phone: Option<String>,
}

/// Open for serde, closed for the check.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "its shape is what is tested")]
struct Header {
    properties: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "its shape is what is tested")]
enum Target {
    Connector { connector_id: String, action_id: String },
    Url { url: String },
}

fn structure() -> Structure {
    Structure::of::<Body>().unwrap()
}

fn violations(body: Value) -> Vec<Violation> {
    structure().read::<Body>(body).err().unwrap_or_default()
}

#[track_caller]
fn expect(body: Value, expected: &[(&str, &str)]) {
    let found = violations(body);
    let mut codes: Vec<_> = found.iter().map(|v| (v.pointer.as_str(), v.code)).collect();
    let mut expected = expected.to_vec();
    codes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(codes, expected, "{found:#?}");
}

#[track_caller]
fn message(body: Value) -> String {
    let mut found = violations(body);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0).message
}

#[test]
fn a_sound_body_is_read() {
    let body = json!({
        "org": "acme", "display_name": null, "mode": "report", "contact": { "email": "a" }, "hosts": ["a"],
        "headers": { "any name": { "properties": "x" } }, "of_orgs": { "acme": 1 },
        "target": { "kind": "url", "url": "https://a.example.com/" }, "limit": 7, "input": { "x": [1.0] },
    });
    let read: Body = structure().read(body).unwrap();
    assert_eq!(read.org.as_str(), "acme");
    assert_eq!(read.mode, Some(Mode::Report));
    assert_eq!(read.input.unwrap().to_string(), r#"{"x":[1.0]}"#, "what is free in form stays as sent");
    let nothing = json!({ "org": "acme", "mode": null, "contact": null, "target": null });
    assert!(structure().read::<Body>(nothing).unwrap().contact.is_none());
}

#[test]
fn three_mistakes_give_three_pointers() {
    let body =
        json!({ "org": "ACME", "contact": { "emial": "a" }, "headers": { "a/b": { "properties": 1 } } });
    expect(
        body,
        &[
            ("/contact/email", "missing_field"),
            ("/contact/emial", "unknown_field"),
            ("/headers/a~1b/properties", "wrong_type"),
            ("/org", "wrong_form"),
        ],
    );
    expect(json!({}), &[("/org", "missing_field")]);
    expect(json!([]), &[("", "wrong_type")]);
}

#[test]
fn an_unknown_name_is_answered_with_its_own_objects_members() {
    let with = |contact: Value| json!({ "org": "acme", "contact": contact });
    assert_eq!(
        message(with(json!({ "email": "a", "phnoe": "b" }))),
        "unknown field \"phnoe\"; did you mean \"phone\"?"
    );
    assert_eq!(
        message(with(json!({ "email": "a", "limits": 1 }))),
        "unknown field \"limits\"; the fields are email, phone",
        "the body's own limit is no member of a contact"
    );
    assert_eq!(
        message(json!({ "org": "acme", "headers": { "h": { "properties": "", "other": 1 } } })),
        "unknown field \"other\"; the fields are properties"
    );
    let long = "n".repeat(1000);
    let mut body = json!({ "org": "acme" });
    body[&long] = json!(1);
    let found = violations(body);
    assert_eq!(found[0].pointer, format!("/{long}"));
    assert!(found[0].message.len() < 300, "{}", found[0].message);
}

#[test]
fn each_rule_has_its_code_and_no_value_is_quoted() {
    let of = |name: &str, value: Value| {
        let mut body = json!({ "org": "acme" });
        body[name] = value;
        let found = violations(body);
        assert!(!found.iter().any(|v| v.message.contains("canary")), "{found:#?}");
        found.into_iter().map(|v| (v.pointer, v.code)).collect::<Vec<_>>()
    };
    for (name, value, pointer, code) in [
        ("org", json!("Canary-canary"), "/org", "wrong_form"),
        ("display_name", json!("canary"), "/display_name", "too_long"),
        ("display_name", json!(["canary"]), "/display_name", "wrong_type"),
        ("mode", json!("canary"), "/mode", "not_in_list"),
        ("mode", json!(1), "/mode", "not_in_list"),
        ("contact", json!("canary"), "/contact", "wrong_type"),
        ("hosts", json!(["canary", "b", "c"]), "/hosts", "too_many"),
        ("hosts", json!([""]), "/hosts/0", "too_short"),
        ("of_orgs", json!({ "Not An Org": 1 }), "/of_orgs/Not An Org", "wrong_form"),
        ("of_orgs", json!({ "acme": 256 }), "/of_orgs/acme", "out_of_range"),
        ("limit", json!(-1), "/limit", "out_of_range"),
        ("limit", json!("canary"), "/limit", "wrong_type"),
        ("target", json!("canary"), "/target", "wrong_type"),
    ] {
        assert_eq!(of(name, value.clone()), [(pointer.to_owned(), code)], "{name}: {value}");
    }
}

#[test]
fn a_choice_is_told_by_the_way_that_was_meant() {
    let target = |target: Value| json!({ "org": "acme", "target": target });
    expect(
        target(json!({ "kind": "url", "urk": 1 })),
        &[("/target/url", "missing_field"), ("/target/urk", "unknown_field")],
    );
    let url = json!({ "kind": "connector", "connector_id": 1, "action_id": "canary" });
    expect(target(url), &[("/target/connector_id", "wrong_type")]);
    expect(target(json!({ "kind": "canary", "url": "a" })), &[("/target/kind", "not_in_list")]);
    assert_eq!(message(target(json!({ "kind": "uri" }))), "must be one of [\"connector\",\"url\"]");
    let untagged = violations(target(json!({ "url": "a" })));
    assert!(
        untagged.iter().any(|v| v.pointer == "/target/kind" && v.code == "missing_field"),
        "{untagged:#?}"
    );
    assert_eq!(message(json!({ "org": "acme", "contact": 5 })), "must be object or null, is number");
}

#[test]
fn what_only_the_type_refuses_has_a_pointer_and_is_not_quoted() {
    let limit = |limit: Value| json!({ "org": "acme", "limit": limit });
    expect(limit(json!(5_000_000_000_u64)), &[("/limit", "wrong_type")]);
    expect(limit(json!(1.0)), &[("/limit", "wrong_type")]);
    assert_eq!(message(limit(json!(1.0))), "must be a whole number in range");
    assert_eq!(describe::expectation("canary, expected canary"), "is not a value that is read here");
    assert_eq!(
        describe::expectation("invalid type: string \"a, expected b\", expected u32"),
        "must be an integer (u32)"
    );
}

#[test]
fn lengths_are_out_of_range_where_they_always_were() {
    let structure = structure().with_lengths_out_of_range();
    let mut found = Violations::default();
    structure.check(&json!({ "org": "acme", "display_name": "longer", "hosts": ["", "", ""] }), &mut found);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|v| v.code == "out_of_range"), "{found:#?}");
}

#[test]
fn the_sound_part_lacks_what_is_unsound_and_keeps_the_rest() {
    let body = json!({ "org": "acme", "display_name": 1, "hosts": ["a", 2], "contact": { "emial": 1 } });
    let mut found = Violations::default();
    let sound = structure().sound_part(&body, &mut found).unwrap();
    assert_eq!(sound["hosts"], json!([]));
    assert_eq!(sound["org"], json!("acme"));
    assert_eq!(sound.get("display_name"), None);
}

#[test]
fn a_prepared_schema_is_closed_and_a_members_name_is_no_keyword() {
    let schema = structure().schema().clone();
    assert_eq!(schema["additionalProperties"], json!(false));
    let header = &schema["$defs"]["Header"];
    assert_eq!(header["additionalProperties"], json!(false));
    assert_eq!(header["properties"], json!({ "properties": { "type": "string" } }));
    assert_eq!(schema["$defs"]["Mode"]["enum"], json!(["report", "enforce"]));
    let mut choice = json!({ "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }], "description": "d", "default": null });
    flatten_optional(&mut choice);
    assert_eq!(choice, json!({ "$ref": "#/$defs/A", "description": "d" }));
}

#[test]
fn what_is_no_schema_makes_no_structure() {
    assert!(Structure::new(json!({ "type": "canary" })).is_none());
    assert!(Structure::new(json!({ "type": "string" })).is_some());
}

#[test]
fn s4_many_breaches_are_counted_and_hints_are_few() {
    let unknown: serde_json::Map<String, Value> = (0..600_000)
        .map(|n| (format!("contac{n}"), json!(1)))
        .chain([("org".to_owned(), json!("acme"))])
        .collect();
    let long: Vec<Value> = vec![json!(1); 650_000];
    for body in [Value::Object(unknown), json!({ "org": "acme", "hosts": long })] {
        let found = structure().read::<Body>(body).unwrap_err();
        assert_eq!(found.len(), crate::violation::VIOLATIONS_MAX + 1);
        let hints = found.iter().filter(|v| v.message.contains("did you mean")).count();
        assert!(hints <= 20, "{hints}");
    }
}

#[test]
fn s4_what_is_wrong_outside_of_the_part_that_is_looked_at_is_found() {
    let mut long: Vec<Value> = vec![json!("a"); 650_000];
    long.push(json!(1));
    let found = structure().read::<Body>(json!({ "input": long, "org": 1 })).unwrap_err();
    assert_eq!(found.iter().map(|v| v.pointer.as_str()).collect::<Vec<_>>(), ["/org"]);
    let found = structure().read::<Body>(json!({ "hosts": long, "org": "acme" })).unwrap_err();
    assert!(found.iter().any(|v| v.pointer.starts_with("/hosts")), "{found:?}");
}
