//! Flattening, rule by rule.

use super::*;
use serde_json::json;

fn flat(schema: Value, check: impl Fn(&Flat<'_>, Vec<&'static str>)) {
    let root = json!({
        "openapi": "3.1.0",
        "x": schema,
        "s": {
            "Name": { "type": "string", "maxLength": 5 },
            "Loop": { "allOf": [{ "$ref": "#/s/Loop" }], "properties": { "a": {} } },
            "Base": { "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] },
        },
    });
    let mut context = Context::new(&root).unwrap();
    let flat = context.flatten(&root["x"], "/x", true);
    let report = std::mem::take(&mut context.report).finish(crate::Operations::default(), 0);
    check(&flat, report.items.iter().map(|i| i.code).collect());
}

fn kind(schema: Value) -> Kind {
    let found = std::cell::Cell::new(Kind::Unknown);
    flat(schema, |flat, _| found.set(flat.kind));
    found.get()
}

fn names(flat: &Flat<'_>) -> Vec<String> {
    let name = |n: &str| if flat.required.contains(n) { format!("{n}!") } else { n.to_owned() };
    flat.properties.iter().map(|(n, _)| name(n)).collect()
}

#[test]
fn types_are_found_in_every_spelling() {
    for (schema, expected) in [
        (json!({ "type": "string" }), Kind::String),
        (json!({ "type": ["string", "null"] }), Kind::String),
        (json!({ "type": ["integer", "number"] }), Kind::Number),
        (json!({ "type": ["string", "integer"] }), Kind::Mixed),
        (json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), Kind::String),
        (json!({ "oneOf": [{ "type": "string" }, { "type": "string", "format": "x" }] }), Kind::String),
        (json!({ "oneOf": [{ "type": "string" }, { "type": "array" }] }), Kind::Mixed),
        (json!({ "items": {} }), Kind::Array),
        (json!({ "enum": ["a", null] }), Kind::String),
        (json!({ "const": 1 }), Kind::Integer),
        (json!({ "$ref": "#/s/Name" }), Kind::String),
        (json!({}), Kind::Unknown),
        (json!(true), Kind::Unknown),
    ] {
        assert_eq!(kind(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn all_of_is_merged() {
    let schema = json!({ "allOf": [
        { "$ref": "#/s/Base" },
        { "properties": { "id": { "description": "again" }, "b": {} }, "required": ["b"] },
    ] });
    flat(schema, |flat, codes| {
        assert_eq!((flat.kind, names(flat)), (Kind::Object, vec!["id!".to_owned(), "b!".to_owned()]));
        assert_eq!(flat.properties[0].1, &json!({ "type": "integer" }));
        assert!(codes.is_empty());
    });
}

#[test]
fn alternatives_that_are_objects_are_united_and_others_are_not() {
    let schema = json!({ "oneOf": [
        { "$ref": "#/s/Base" },
        { "type": "object", "properties": { "id": {}, "c": {} }, "required": ["id", "c"] },
    ], "discriminator": { "propertyName": "c" } });
    flat(schema, |flat, codes| {
        assert_eq!(names(flat), ["id!", "c"]);
        assert_eq!(codes, ["discriminator", "alternatives_united"]);
    });
    let only_required = json!({
        "type": "object", "properties": { "a": {}, "b": {} },
        "anyOf": [{ "required": ["a"] }, { "required": ["b"] }],
    });
    flat(only_required, |flat, _| assert_eq!(names(flat), ["a", "b"]));
    let mixed = json!({ "oneOf": [{ "$ref": "#/s/Base" }, { "type": "array", "items": {} }] });
    assert_eq!(kind(mixed), Kind::Mixed);
}

#[test]
fn alternatives_of_constants_are_a_list() {
    flat(json!({ "oneOf": [{ "const": "a" }, { "enum": ["b", "c"] }] }), |flat, _| {
        assert_eq!((flat.kind, flat.values.as_ref().map(Vec::len)), (Kind::String, Some(3)));
    });
    flat(json!({ "anyOf": [{ "const": "a" }, { "type": "string" }] }), |flat, _| {
        assert_eq!((flat.kind, flat.values.is_none()), (Kind::String, true));
    });
}

#[test]
fn a_cycle_ends_and_is_told() {
    flat(json!({ "$ref": "#/s/Loop" }), |flat, codes| {
        assert_eq!((names(flat), codes), (vec!["a".to_owned()], vec!["ref_cycle"]));
    });
    flat(json!({ "$ref": "other.yaml#/a" }), |flat, codes| {
        assert_eq!((flat.kind, codes), (Kind::Unknown, vec!["external_ref"]));
    });
}

#[test]
fn what_stands_beside_a_reference_counts() {
    flat(json!({ "$ref": "#/s/Name", "description": "here" }), |flat, _| {
        assert_eq!(flat.facet("description"), Some(&json!("here")));
        assert_eq!(flat.facet("maxLength"), Some(&json!(5)));
    });
}

#[test]
fn doubling_schemas_use_up_the_budget_and_end() {
    let mut schemas = serde_json::Map::new();
    schemas.insert("s0".into(), json!({ "type": "string" }));
    for i in 1..30 {
        let inner = json!({ "$ref": format!("#/s/s{}", i - 1) });
        schemas.insert(format!("s{i}"), json!({ "allOf": [inner, inner] }));
    }
    let root = json!({ "openapi": "3.0.0", "s": schemas });
    let mut context = Context::new(&root).unwrap();
    context.flatten(&root["s"]["s29"], "/s", true);
    let report = std::mem::take(&mut context.report).finish(crate::Operations::default(), 0);
    assert_eq!(report.items.iter().filter(|i| i.code == "schema_budget").count(), 1);
}

#[test]
fn a_schema_that_is_nested_too_deep_is_untyped_from_there_on() {
    let mut schema = json!({ "type": "string" });
    for _ in 0..40 {
        schema = json!({ "allOf": [schema] });
    }
    flat(schema, |flat, codes| {
        assert_eq!((flat.kind, codes), (Kind::Unknown, vec!["schema_too_deep"]));
    });
}
