//! From a flattened schema to the attributes of an input: type, values, bounds, help.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::limits::{ENUM_VALUES_MAX, HELP_CHARS_MAX};
use crate::names::{paragraph, shown};
use crate::schema::{Flat, Kind};
use crate::value::{has_type, is_small, matches, pattern};

/// What the position of an input allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Whether files can go there.
    pub(crate) files: bool,
    /// Whether a default is sent when no value is given.
    pub(crate) sends_default: bool,
    /// Whether it goes into a form, which has no null.
    pub(crate) is_form: bool,
}

/// Identifies an input of the description in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'p> {
    /// Pointer to it.
    pub(crate) pointer: &'p str,
    /// Its name; a member of a referenced schema has no pointer of its own in the operation.
    pub(crate) name: &'p str,
}

impl At<'_> {
    fn add(&self, context: &mut Context<'_>, code: &'static str, message: &str) {
        context.report.add(self.pointer, code, format!("{:?}: {message}", shown(self.name)));
    }
}

/// The attributes of an input.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// `type`.
    pub(crate) input_type: &'static str,
    /// Everything but name, label, type, required and position.
    pub(crate) attributes: Map<String, Value>,
    /// `title`, for the label.
    pub(crate) title: Option<String>,
}

/// Makes the attributes of an input. `description` takes precedence over that of the schema.
pub(crate) fn describe<'a>(
    context: &mut Context<'a>,
    flat: &Flat<'a>,
    description: Option<&str>,
    place: &At<'_>,
    wanted: Wanted,
) -> Shape {
    let at = place.pointer;
    let input_type = input_type(context, flat, place, wanted);
    let mut attributes = Map::new();
    if let Some(values) = values(context, flat, input_type, place) {
        attributes.insert("enum".to_owned(), Value::Array(values));
    }
    match input_type {
        "string" => text_bounds(context, flat, place, &mut attributes),
        "integer" | "number" => number_bounds(context, flat, input_type, place, &mut attributes),
        "object" | "array" | "any" => nested(context, flat, at),
        _ => {}
    }
    let mut help = description.or_else(|| flat.facet("description")?.as_str()).unwrap_or_default().to_owned();
    if let Some(default) = flat.facet("default").filter(|d| !d.is_null()) {
        default_value(context, default, input_type, place, wanted, &mut attributes, &mut help);
    }
    let (help, is_cut) = paragraph(&help, HELP_CHARS_MAX);
    if is_cut {
        context.report.tally(at, "text_cut", "a text is longer than the format allows");
    }
    if !help.is_empty() {
        attributes.insert("help".to_owned(), json!(help));
    }
    let title = flat.facet("title").and_then(Value::as_str).map(str::to_owned);
    Shape { input_type, attributes, title }
}

fn input_type<'a>(
    context: &mut Context<'a>,
    flat: &Flat<'a>,
    place: &At<'_>,
    wanted: Wanted,
) -> &'static str {
    let at = place.pointer;
    let format = flat.facet("format").and_then(Value::as_str).unwrap_or_default();
    let raw = flat.facet("contentMediaType").is_some() && flat.facet("contentEncoding").is_none();
    match flat.kind {
        Kind::File if wanted.files => "file",
        Kind::String | Kind::Unknown if wanted.files && (format == "binary" || raw) => "file",
        // Why not with values: they are compared as texts.
        Kind::String if flat.values.is_none() && format == "date" => "date",
        Kind::String if flat.values.is_none() && format == "date-time" => "datetime",
        Kind::String | Kind::File => "string",
        Kind::Number => "number",
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
        Kind::Object => "object",
        Kind::Array if wanted.files && has_binary_items(context, flat, at) => {
            place.add(context, "file_array", "a list of files; the input takes one file");
            "file"
        }
        Kind::Array => "array",
        Kind::Unknown => "any",
        Kind::Mixed => {
            context.report.tally(
                at,
                "alternatives_untyped",
                "several types are accepted; the input has none",
            );
            "any"
        }
    }
}

fn has_binary_items<'a>(context: &mut Context<'a>, flat: &Flat<'a>, at: &str) -> bool {
    let Some(items) = flat.facet("items") else { return false };
    let items = context.flatten(items, at, false);
    items.kind == Kind::File || items.facet("format").and_then(Value::as_str) == Some("binary")
}

/// The values of an `enum` that the input can have, without duplicates.
fn values(
    context: &mut Context<'_>,
    flat: &Flat<'_>,
    input_type: &str,
    place: &At<'_>,
) -> Option<Vec<Value>> {
    let given = flat.values.as_ref()?;
    if !matches!(input_type, "string" | "integer" | "number" | "boolean") {
        place.add(context, "enum_not_carried", &format!("a list of values for type {input_type}"));
        return None;
    }
    if given.len() > ENUM_VALUES_MAX {
        let message = format!("{} values, the limit is {ENUM_VALUES_MAX}", given.len());
        place.add(context, "enum_not_carried", &message);
        return None;
    }
    let mut values: Vec<Value> = Vec::new();
    let mut lost = 0_usize;
    for value in given.iter().filter(|v| !v.is_null()) {
        if !has_type(value, input_type) || !is_small(value) {
            lost += 1;
        } else if !values.contains(value) {
            values.push((*value).clone());
        }
    }
    if lost > 0 {
        // Why all of them: a list without one of the values would refuse what the API accepts.
        let message = format!("{lost} of its values are not of type {input_type} or too long");
        place.add(context, "enum_not_carried", &message);
        return None;
    }
    (!values.is_empty()).then_some(values)
}

const CONSTRAINT: &str = "a constraint (minLength, multipleOf, items…) that an input cannot have";

fn text_bounds(
    context: &mut Context<'_>,
    flat: &Flat<'_>,
    place: &At<'_>,
    attributes: &mut Map<String, Value>,
) {
    if flat.facet("minLength").and_then(Value::as_u64).is_some_and(|n| n > 0) {
        context.report.tally(place.pointer, "constraint_not_carried", CONSTRAINT);
    }
    if let Some(text) = flat.facet("pattern").and_then(Value::as_str) {
        match pattern(text, &mut context.compiler) {
            Ok(pattern) => {
                attributes.insert("pattern".to_owned(), json!(pattern));
            }
            Err(why) => {
                let message = format!("pattern {:?} {why}", shown(text));
                place.add(context, "pattern_not_carried", &message);
            }
        }
    }
    let longest = flat.facet("maxLength").and_then(Value::as_u64).filter(|n| *n > 0);
    if let Some(longest) = longest.and_then(|n| u32::try_from(n).ok()) {
        attributes.insert("max_length".to_owned(), json!(longest));
    }
}

fn number_bounds(
    context: &mut Context<'_>,
    flat: &Flat<'_>,
    input_type: &str,
    place: &At<'_>,
    attributes: &mut Map<String, Value>,
) {
    let whole = input_type == "integer";
    let mut inexact = flat.facet("multipleOf").is_some();
    let mut bound = |inclusive: &str, exclusive: &str, step: i64| -> Option<Value> {
        let plain = flat.facet(inclusive).filter(|v| v.is_number());
        // 3.0 has a flag beside the bound, 3.1 a separate bound.
        let (value, is_exclusive) = match flat.facet(exclusive) {
            Some(Value::Bool(flag)) => (plain, *flag),
            Some(value @ Value::Number(_)) => (Some(value), true),
            _ => (plain, false),
        };
        match (value?, is_exclusive) {
            (value, false) => Some(value.clone()),
            (value, true) if whole && value.is_i64() => Some(json!(value.as_i64()?.checked_add(step)?)),
            (value, true) => {
                inexact = true;
                Some(value.clone())
            }
        }
    };
    let least = bound("minimum", "exclusiveMinimum", 1);
    let most = bound("maximum", "exclusiveMaximum", -1);
    if let (Some(least), Some(most)) = (&least, &most)
        && least.as_f64() > most.as_f64()
    {
        place.add(context, "bounds_not_carried", &format!("no number is from {least} to {most}"));
        return;
    }
    if inexact {
        context.report.tally(place.pointer, "constraint_not_carried", CONSTRAINT);
    }
    for (name, value) in [("min", least), ("max", most)] {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    }
}

fn nested(context: &mut Context<'_>, flat: &Flat<'_>, at: &str) {
    let inside = flat.has_properties || flat.facet("items").is_some();
    if inside {
        let what = "what is inside an object or array is not checked";
        context.report.tally(at, "nested_not_checked", what);
    }
    if ["minItems", "maxItems", "uniqueItems"].iter().any(|name| flat.facet(name).is_some()) {
        context.report.tally(at, "constraint_not_carried", CONSTRAINT);
    }
}

fn default_value(
    context: &mut Context<'_>,
    default: &Value,
    input_type: &str,
    place: &At<'_>,
    wanted: Wanted,
    attributes: &mut Map<String, Value>,
    help: &mut String,
) {
    if !wanted.sends_default {
        // Why: sent with an update, a default would overwrite the existing value, and as a parameter it would ask for
        // what nobody asked for.
        let what = "the default of what may be left out is mentioned in the help and not sent";
        context.report.tally(place.pointer, "body_default_not_sent", what);
        if is_small(default) && !default.is_object() && !default.is_array() {
            let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            let separator = if help.is_empty() { "" } else { "\n" };
            let room = HELP_CHARS_MAX.saturating_sub(text.chars().count() + 12);
            *help = format!("{}{separator}Default: {text}", paragraph(help, room).0);
        }
        return;
    }
    let among = |value: &Value| match attributes.get("enum").and_then(Value::as_array) {
        Some(values) => values.contains(value),
        None => true,
    };
    let number = |name: &str| attributes.get(name).and_then(Value::as_f64);
    let in_bounds = default.as_f64().is_none_or(|value| {
        number("min").is_none_or(|min| value >= min) && number("max").is_none_or(|max| value <= max)
    });
    let text_fits = default.as_str().is_none_or(|text| {
        let longest = attributes.get("max_length").and_then(Value::as_u64);
        let pattern = attributes.get("pattern").and_then(Value::as_str);
        longest.is_none_or(|max| text.chars().count() as u64 <= max)
            && pattern.is_none_or(|pattern| matches(pattern, text, &mut context.compiler, &context.matching))
    });
    if has_type(default, input_type) && is_small(default) && among(default) && in_bounds && text_fits {
        attributes.insert("default".to_owned(), default.clone());
    } else {
        let message = format!("default {} is no value of the input", shown(&default.to_string()));
        place.add(context, "default_not_carried", &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(schema: Value, wanted: Wanted) -> (Value, Vec<&'static str>) {
        let root = json!({ "openapi": "3.1.0", "x": schema });
        let mut context = Context::new(&root).unwrap();
        let flat = context.flatten(&root["x"], "/x", false);
        let shape = describe(&mut context, &flat, None, &At { pointer: "/x", name: "x" }, wanted);
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
            (
                json!({ "type": "string", "pattern": "(?=a)" }),
                json!({ "type": "string" }),
                "pattern_not_carried",
            ),
            (
                json!({ "type": "integer", "minimum": 3, "maximum": 2 }),
                json!({ "type": "integer" }),
                "bounds_not_carried",
            ),
            (
                json!({ "type": "string", "minLength": 2 }),
                json!({ "type": "string" }),
                "constraint_not_carried",
            ),
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
        let base64 =
            json!({ "type": "string", "contentMediaType": "image/png", "contentEncoding": "base64" });
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
}
