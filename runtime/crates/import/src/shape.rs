//! From a flattened schema to the attributes of an input: type, values, bounds, help.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::limits::{ENUM_VALUES_MAX, HELP_CHARS_MAX};
use crate::names::{paragraph, shown};
use crate::schema::{Flat, Kind};
use crate::value::{has_type, is_small, matches};

mod bounds;
mod dates;

const CONSTRAINT: &str = "a constraint (minLength, multipleOf, items…) that an input cannot have";

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

/// What the description says of an input outside its schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said<'a> {
    /// It takes precedence over that of the schema.
    pub(crate) description: Option<&'a str>,
    /// Values that are shown.
    pub(crate) examples: Vec<&'a Value>,
}

impl<'a> Said<'a> {
    fn text(&self, flat: &Flat<'a>) -> &'a str {
        self.description.or_else(|| flat.facet("description")?.as_str()).unwrap_or_default()
    }

    /// Every value that is shown, in the schema too.
    fn examples(&self, flat: &Flat<'a>) -> Vec<&'a Value> {
        let own = ["example", "x-example", "default"].iter().filter_map(|name| flat.facet(name));
        let list = flat.facet("examples").and_then(Value::as_array).into_iter().flatten();
        self.examples.iter().copied().chain(own).chain(list).collect()
    }
}

/// The values that a parameter or media type shows: `example`, and those of `examples`.
pub(crate) fn examples_in(holder: &Map<String, Value>) -> Vec<&Value> {
    let mut list: Vec<&Value> =
        ["example", "x-example"].iter().filter_map(|name| holder.get(*name)).collect();
    match holder.get("examples") {
        Some(Value::Array(values)) => list.extend(values),
        Some(Value::Object(map)) => list.extend(map.values().map(|one| one.get("value").unwrap_or(one))),
        _ => {}
    }
    list
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

/// Makes the attributes of an input.
pub(crate) fn describe<'a>(
    context: &mut Context<'a>,
    flat: &Flat<'a>,
    said: &Said<'a>,
    place: &At<'_>,
    wanted: Wanted,
) -> Shape {
    let at = place.pointer;
    let mut input_type = input_type(context, flat, place, wanted);
    if let Some(shown_form) = dates::other_form(input_type, said.text(flat), &said.examples(flat)) {
        place.add(context, "date_as_text", &format!("{shown_form} is shown; the input is a text"));
        input_type = "string";
    }
    let mut attributes = Map::new();
    if let Some(values) = values(context, flat, input_type, place) {
        attributes.insert("enum".to_owned(), Value::Array(values));
    }
    match input_type {
        "string" => bounds::text_bounds(context, flat, said, place, &mut attributes),
        "integer" | "number" => bounds::number_bounds(context, flat, input_type, place, &mut attributes),
        "object" | "array" | "any" => nested(context, flat, at),
        _ => {}
    }
    let mut help = said.text(flat).to_owned();
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
mod tests;
