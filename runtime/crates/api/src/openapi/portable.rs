//! Schemas for client generators: the same meaning in forms that every tool supports.

use serde_json::{Map, Value};

/// Members whose values are schemas by name.
const NAMED: &[&str] = &["properties", "$defs", "patternProperties"];

/// Rewrites a schema of the document's components, and every schema inside it.
pub(super) fn component(schema: &mut Value) {
    rewrite(schema, false);
}

/// The same for a parameter, which keeps its default: clients show it, and none takes the parameter for required.
pub(super) fn parameter(schema: &mut Value) {
    rewrite(schema, true);
}

fn rewrite(schema: &mut Value, keep_default: bool) {
    // Why: generators expect a schema to be an object; `true` means the same as an empty one.
    if *schema == Value::Bool(true) {
        *schema = Value::Object(Map::new());
    }
    let Some(map) = schema.as_object_mut() else { return };
    for name in ["title", "$schema"] {
        map.shift_remove(name);
    }
    if !keep_default {
        // Why: generators treat a member with a default as required, in requests as well.
        map.shift_remove("default");
    }
    say_type(map);
    for name in NAMED {
        let Some(Value::Object(schemas)) = map.get_mut(*name) else { continue };
        // Why not the `true` of patterns: it is not a member that a client would have.
        let members =
            schemas.values_mut().filter(|schema| *name != "patternProperties" || schema.is_object());
        members.for_each(|schema| rewrite(schema, keep_default));
    }
    for name in ["anyOf", "allOf", "oneOf"] {
        let all = map.get_mut(name).and_then(Value::as_array_mut);
        all.into_iter().flatten().for_each(|schema| rewrite(schema, keep_default));
    }
    if let Some(items) = map.get_mut("items") {
        rewrite(items, keep_default);
    }
    if let Some(values) = map.get_mut("additionalProperties").filter(|values| values.is_object()) {
        rewrite(values, keep_default);
    }
}

/// Adds the type of a constant and of an enumeration of texts.
fn say_type(map: &mut Map<String, Value>) {
    let constant = map.get("const").map(|value| match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        _ => "string",
    });
    let texts = map.get("enum").and_then(Value::as_array).is_some_and(|all| all.iter().all(Value::is_string));
    if let Some(name) = constant.or(texts.then_some("string")) {
        map.insert("type".to_owned(), Value::from(name));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_keep_their_meaning_in_forms_that_generators_know() {
        let mut schema = json!({
            "title": "A", "type": "object", "additionalProperties": true,
            "properties": {
                "any": true,
                "title": { "type": "string", "title": "Title", "default": "x" },
                "kind": { "enum": ["a", "b"] },
                "always": { "type": ["boolean", "null"], "const": true, "default": null },
                "list": { "type": "array", "items": true },
                "either": { "anyOf": [{ "$ref": "#/x" }, { "type": "null", "title": "N" }] },
            },
            "patternProperties": { "^x_": true },
        });
        component(&mut schema);
        assert_eq!(
            schema,
            json!({
                "type": "object", "additionalProperties": true,
                "properties": {
                    "any": {},
                    "title": { "type": "string" },
                    "kind": { "enum": ["a", "b"], "type": "string" },
                    "always": { "type": "boolean", "const": true },
                    "list": { "type": "array", "items": {} },
                    "either": { "anyOf": [{ "$ref": "#/x" }, { "type": "null" }] },
                },
                "patternProperties": { "^x_": true },
            })
        );
        let mut limit = json!({ "type": "integer", "default": 50 });
        parameter(&mut limit);
        assert_eq!(limit, json!({ "type": "integer", "default": 50 }));
    }
}
