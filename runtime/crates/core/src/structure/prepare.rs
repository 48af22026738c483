//! Schemas from `schemars`, brought into the form that gives the best messages.

use serde_json::{Map, Value, json};

/// The pattern of an annotation's name.
pub(super) const ANNOTATION: &str = "^x_";

/// How an object with fixed members treats other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It refuses them.
    Refused,
    /// It refuses them, except annotations: names that start with `x_`.
    RefusedButAnnotations,
}

/// Makes every object schema with `properties` refuse unknown names. A map without fixed members stays
/// open.
pub fn close(schema: &mut Value, unknown: Unknown) {
    each_schema(schema, &mut |map| {
        if map.contains_key("properties") {
            map.insert("additionalProperties".to_owned(), Value::Bool(false));
            if unknown == Unknown::RefusedButAnnotations {
                map.insert("patternProperties".to_owned(), json!({ ANNOTATION: true }));
            }
        }
    });
}

/// Turns "this shape or null" into the shape: null is refused then.
pub fn flatten_optional(schema: &mut Value) {
    each_schema(schema, &mut |map| {
        if let Some(shape) = shape_or_null(map) {
            map.remove("anyOf");
            // Why: null is not a value of the shape, so it cannot be the default either.
            if map.get("default").is_some_and(Value::is_null) {
                map.shift_remove("default");
            }
            map.extend(shape);
        }
    });
}

/// Turns the one-of-constants form of documented enums into a plain `enum`, which editors complete
/// better and a message can list.
pub fn flatten_constants(schema: &mut Value) {
    each_schema(schema, &mut |map| {
        if let Some(options) = constants(map) {
            map.remove("oneOf");
            map.insert("enum".to_owned(), Value::Array(options));
        }
    });
}

/// The names of all members in a schema, in order, without duplicates.
pub(super) fn member_names(schema: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect_names(schema, &mut names);
    names.sort();
    names.dedup();
    names
}

fn collect_names(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_names(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

/// Calls `change` with every schema in a schema, outer ones first.
fn each_schema(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(map) => {
            change(map);
            for (keyword, value) in map {
                match (keyword.as_str(), value) {
                    // Why separate: these map names to schemas, and a member may have the name of a keyword.
                    ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                        named.values_mut().for_each(|value| each_schema(value, change));
                    }
                    ("const" | "default" | "enum" | "examples", _) => {}
                    (_, value) => each_schema(value, change),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_schema(item, change)),
        _ => {}
    }
}

/// The shape of "this shape or null".
fn shape_or_null(map: &Map<String, Value>) -> Option<Map<String, Value>> {
    match map.get("anyOf")?.as_array()?.as_slice() {
        [shape, null] if null.get("type").and_then(Value::as_str) == Some("null") => {
            shape.as_object().cloned()
        }
        _ => None,
    }
}

fn constants(map: &Map<String, Value>) -> Option<Vec<Value>> {
    let options = map.get("oneOf")?.as_array()?;
    let mut values = Vec::new();
    for option in options {
        match (option.get("const"), option.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => values.push(value.clone()),
            (None, Some(several)) => values.extend(several.iter().cloned()),
            (None, None) => return None,
        }
    }
    Some(values)
}
