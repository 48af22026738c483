//! The definition's JSON Schema, and the structural check that runs it.
//!
//! Every breach becomes a problem with a pointer and a sentence; what is sound is read all the same,
//! so that the rules that follow can report in the same answer. Called by `connector`.

use std::sync::LazyLock;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

use super::Definition;
use crate::violation::{Violation, nearest, step};

/// The JSON Schema (2020-12) of a definition.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Definition).to_value();
    close(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Portcullis connector definition, version 1"));
    }
    schema
}

/// Makes every object schema refuse unknown names except annotations, and turns the one-of-constants
/// form of documented enums into a plain `enum`, which editors complete better.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
                map.insert("patternProperties".to_owned(), json!({ "^x_": true }));
            }
            // Why: behind a choice between a shape and null, a breach inside the shape has no pointer.
            if let Some(shape) = shape_or_null(map) {
                map.remove("anyOf");
                map.extend(shape);
            }
            if let Some(options) = constants(map) {
                map.remove("oneOf");
                map.insert("enum".to_owned(), Value::Array(options));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
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

static VALIDATOR: LazyLock<Option<Validator>> =
    LazyLock::new(|| jsonschema::draft202012::new(&schema()).ok());

/// Checks the structure of a document and reads as much of it as is sound.
///
/// Returns the definition with unsound parts left at their defaults, so that the rules that follow
/// can report their breaches in the same answer. It is complete only if `problems` stayed empty.
pub fn read(document: &Value, problems: &mut Vec<Violation>) -> Definition {
    let Some(validator) = VALIDATOR.as_ref() else {
        problems.push(Violation::new("", "schema_unavailable", "the definition schema could not be built"));
        return Definition::default();
    };
    let mut sound = document.clone();
    for error in validator.iter_errors(document) {
        let pointer = error.instance_path().as_str().to_owned();
        describe(&pointer, error.kind(), document, problems);
        let structural = matches!(
            error.kind(),
            ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::Required { .. }
        );
        if !structural && !pointer.is_empty() {
            prune(&mut sound, &pointer);
        }
    }
    serde_json::from_value(sound).unwrap_or_else(|e| {
        if problems.is_empty() {
            problems.push(Violation::new("", "wrong_type", e.to_string()));
        }
        Definition::default()
    })
}

fn describe(pointer: &str, kind: &ValidationErrorKind, document: &Value, problems: &mut Vec<Violation>) {
    match kind {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected {
                let message = match nearest(name, known_names()) {
                    Some(known) => format!("unknown field {name:?}; did you mean {known:?}?"),
                    None => format!("unknown or not implemented field {name:?}; annotations start with x_"),
                };
                problems.push(Violation::new(format!("{pointer}/{}", step(name)), "unknown_field", message));
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            problems.push(Violation::new(
                format!("{pointer}/{}", step(name)),
                "missing_field",
                format!("{name} is required"),
            ));
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                jsonschema::error::TypeKind::Single(single) => single.to_string(),
                jsonschema::error::TypeKind::Multiple(several) => {
                    several.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" or ")
                }
            };
            let found = document.pointer(pointer).map_or("nothing", type_name);
            problems.push(Violation::new(pointer, "wrong_type", format!("must be {expected}, is {found}")));
        }
        ValidationErrorKind::Enum { options } => {
            problems.push(Violation::new(pointer, "not_in_list", format!("must be one of {options}")));
        }
        ValidationErrorKind::Pattern { pattern } => {
            problems.push(Violation::new(pointer, "wrong_form", format!("must match {pattern}")));
        }
        other => {
            let keyword = other.keyword();
            let message = match other {
                ValidationErrorKind::MinLength { limit } => {
                    format!("must have at least {limit} characters")
                }
                ValidationErrorKind::MaxLength { limit } => {
                    format!("must have at most {limit} characters")
                }
                ValidationErrorKind::MinItems { limit } => {
                    format!("must have at least {limit} entries")
                }
                ValidationErrorKind::MaxItems { limit } => {
                    format!("must have at most {limit} entries")
                }
                ValidationErrorKind::MinProperties { limit } => {
                    format!("must have at least {limit} members")
                }
                ValidationErrorKind::Constant { expected_value } => {
                    format!("must be {expected_value}")
                }
                ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
                ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
                _ => format!("breaks the schema's rule `{keyword}`"),
            };
            problems.push(Violation::new(pointer, "out_of_range", message));
        }
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Every property name of the schema, for "did you mean".
fn known_names() -> impl Iterator<Item = &'static str> {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut names = Vec::new();
        collect_names(&schema(), &mut names);
        names.sort();
        names.dedup();
        names
    });
    NAMES.iter().map(String::as_str)
}

fn collect_names(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| collect_names(v, names));
        }
        Value::Array(items) => items.iter().for_each(|v| collect_names(v, names)),
        _ => {}
    }
}

/// Takes the value at `pointer` out, so that the rest can still be read. An array with an unsound entry
/// becomes empty: without the entry, the pointers of its neighbours would be wrong.
fn prune(document: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = last.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&name);
        }
        Some(array @ Value::Array(_)) => *array = Value::Array(Vec::new()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(document: &Value) -> Vec<(String, &'static str)> {
        let mut problems = Vec::new();
        read(document, &mut problems);
        let mut found: Vec<_> = problems.into_iter().map(|p| (p.pointer, p.code)).collect();
        found.sort();
        found
    }

    fn sound() -> Value {
        json!({
            "connector_id": "a", "display_name": "A", "auth_type": "none",
            "actions": [{ "action_id": "x", "http_method": "GET", "url_template": "https://a.example.com/" }],
            "allowed_domains": ["a.example.com"],
        })
    }

    #[test]
    fn a_sound_document_has_no_problems_and_annotations_are_kept() {
        assert_eq!(problems(&sound()), []);
        let mut document = sound();
        document["x_team"] = json!("crm");
        document["actions"][0]["x_note"] = json!({ "any": 1 });
        assert_eq!(problems(&document), []);
    }

    #[test]
    fn every_structural_problem_is_reported_at_once_with_its_pointer() {
        let mut document = sound();
        document["allowed_domain"] = json!([]);
        document["enabled"] = json!("yes");
        document["actions"][0]["http_method"] = json!("get");
        document["actions"][0]["retries"] = json!(1);
        document.as_object_mut().unwrap().remove("display_name");
        assert_eq!(
            problems(&document),
            [
                ("/actions/0/http_method".to_owned(), "not_in_list"),
                ("/actions/0/retries".to_owned(), "unknown_field"),
                ("/allowed_domain".to_owned(), "unknown_field"),
                ("/display_name".to_owned(), "missing_field"),
                ("/enabled".to_owned(), "wrong_type"),
            ]
        );
    }

    #[test]
    fn a_typo_is_answered_with_the_field_that_was_meant() {
        let mut document = sound();
        document["allowed_domain"] = json!([]);
        let mut problems = Vec::new();
        read(&document, &mut problems);
        assert!(problems[0].message.contains("did you mean \"allowed_domains\""), "{:?}", problems[0]);
    }

    #[test]
    fn unsound_parts_do_not_hide_the_rest() {
        let mut document = sound();
        document["enabled"] = json!(1);
        let mut problems = Vec::new();
        let definition = read(&document, &mut problems);
        assert_eq!(definition.allowed_domains, ["a.example.com"]);
        assert!(definition.enabled, "the default stands in");
    }

    #[test]
    fn what_is_no_object_is_one_problem() {
        assert_eq!(problems(&json!([])), [(String::new(), "wrong_type")]);
    }
}
