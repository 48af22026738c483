//! Attributes of inputs, rule by rule.

use super::*;

fn shape(schema: Value, wanted: Wanted) -> (Value, Vec<&'static str>) {
    let root = json!({ "openapi": "3.1.0", "x": schema });
    let mut context = Context::new(&root).unwrap();
    let flat = context.flatten(&root["x"], "/x", false);
    let shape = describe(&mut context, &flat, &Said::default(), &At { pointer: "/x", name: "x" }, wanted);
    let mut all = shape.attributes;
    all.insert("type".to_owned(), json!(shape.input_type));
    let report = std::mem::take(&mut context.report).finish(crate::Operations::default(), 0);
    (Value::Object(all), report.items.iter().map(|i| i.code).collect())
}

const QUERY: Wanted = Wanted { files: false, sends_default: true, is_form: false };
const PART: Wanted = Wanted { files: true, sends_default: false, is_form: true };

#[test]
fn attributes_are_carried_where_an_input_has_them() {
    for (schema, expected) in [
        (
            json!({ "type": "string", "enum": ["a", "b", "a", null], "default": "a", "title": "T" }),
            json!({ "type": "string", "enum": ["a", "b"], "default": "a" }),
        ),
        (
            json!({ "type": "integer", "minimum": 1, "exclusiveMaximum": 10, "default": 5 }),
            json!({ "type": "integer", "min": 1, "max": 9, "default": 5 }),
        ),
        (
            json!({ "type": "integer", "minimum": 0, "exclusiveMinimum": true, "description": "d" }),
            json!({ "type": "integer", "min": 1, "help": "d" }),
        ),
        (
            json!({ "type": "string", "maxLength": 5, "pattern": "^a+$", "default": "aa" }),
            json!({ "type": "string", "max_length": 5, "pattern": "^a+$", "default": "aa" }),
        ),
        (json!({ "type": "string", "format": "date" }), json!({ "type": "date" })),
        (json!({ "type": "string", "format": "date-time" }), json!({ "type": "datetime" })),
        (json!({ "type": "string", "format": "binary" }), json!({ "type": "string" })),
        (json!({ "type": "boolean", "default": false }), json!({ "type": "boolean", "default": false })),
        (json!({}), json!({ "type": "any" })),
    ] {
        assert_eq!(shape(schema.clone(), QUERY), (expected, vec![]), "{schema}");
    }
}

#[test]
fn what_an_input_cannot_have_is_told() {
    for (schema, expected, code) in [
        (json!({ "type": "string", "default": 5 }), json!({ "type": "string" }), "default_not_carried"),
        (
            json!({ "type": "string", "enum": ["a"], "default": "b" }),
            json!({ "type": "string", "enum": ["a"] }),
            "default_not_carried",
        ),
        (
            json!({ "type": "integer", "maximum": 3, "default": 4 }),
            json!({ "type": "integer", "max": 3 }),
            "default_not_carried",
        ),
        (json!({ "type": "string", "enum": ["a", 1] }), json!({ "type": "string" }), "enum_not_carried"),
        (json!({ "type": "string", "pattern": "(?=a)" }), json!({ "type": "string" }), "pattern_not_carried"),
        (
            json!({ "type": "integer", "minimum": 3, "maximum": 2 }),
            json!({ "type": "integer" }),
            "bounds_not_carried",
        ),
        (json!({ "type": "string", "minLength": 2 }), json!({ "type": "string" }), "constraint_not_carried"),
        (json!({ "type": ["string", "integer"] }), json!({ "type": "any" }), "alternatives_untyped"),
        (json!({ "type": "array", "items": {} }), json!({ "type": "array" }), "nested_not_checked"),
    ] {
        assert_eq!(shape(schema.clone(), QUERY), (expected, vec![code]), "{schema}");
    }
}

#[test]
fn files_are_files_where_they_can_go() {
    for schema in [
        json!({ "type": "string", "format": "binary" }),
        json!({ "type": "file" }),
        json!({ "type": "string", "contentMediaType": "image/png" }),
    ] {
        assert_eq!(shape(schema.clone(), PART).0["type"], "file", "{schema}");
    }
    let base64 = json!({ "type": "string", "contentMediaType": "image/png", "contentEncoding": "base64" });
    assert_eq!(shape(base64, PART).0["type"], "string");
    let list = json!({ "type": "array", "items": { "type": "string", "format": "binary" } });
    assert_eq!(shape(list, PART), (json!({ "type": "file" }), vec!["file_array"]));
}

#[test]
fn a_body_default_is_told_and_not_sent() {
    let (shape, codes) =
        shape(json!({ "type": "boolean", "default": false, "description": "Private" }), PART);
    assert_eq!(shape, json!({ "type": "boolean", "help": "Private\nDefault: false" }));
    assert_eq!(codes, ["body_default_not_sent"]);
}
