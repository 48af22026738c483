//! Made-up values: a credential that a form accepts, and inputs that an action accepts or must refuse.

use portcullis_core::connector::{Action, Connector};
use portcullis_core::definition::{FieldFormat, FieldType, InputType};
use portcullis_core::form::Field;
use portcullis_core::input::Input;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

/// How often a made-up text repeats a repeatable part.
const REPEATS: u32 = 6;

/// Every value that the form of this connector requires.
pub(crate) fn credential(connector: &Connector) -> Map<String, Value> {
    let mut config = Map::new();
    for field in &connector.fields {
        let shown = field.visible_when.as_ref().is_none_or(|when| {
            let other = config.get(&when.field).and_then(Value::as_str).unwrap_or_default();
            when.accepted.iter().any(|value| value == other)
        });
        let asked = field.required && !field.automated && field.computed.is_none();
        if asked && shown && field.default.is_none() {
            config.insert(field.name.clone(), of_field(field));
        }
    }
    config
}

fn of_field(field: &Field) -> Value {
    if let Some(first) = field.accepted.as_ref().and_then(|values| values.first()) {
        return json!(first.value);
    }
    match field.kind {
        FieldType::Number => json!(1),
        FieldType::Boolean => json!(true),
        _ => {
            let pattern = field.pattern.as_ref().map(|pattern| pattern.as_str());
            json!(text(pattern, field.format, field.min_length))
        }
    }
}

/// An input with every field of the action, on top of a good one.
pub(crate) fn every_field(action: &Action, good: &Map<String, Value>) -> Map<String, Value> {
    let mut full = good.clone();
    for input in &action.inputs {
        full.entry(input.name.clone()).or_insert_with(|| of_input(input));
    }
    full
}

fn of_input(input: &Input) -> Value {
    let given = input.example.as_ref().or(input.default.as_ref());
    if let Some(value) = given.or_else(|| input.accepted.as_ref().and_then(|values| values.first())) {
        return value.clone();
    }
    match input.kind {
        InputType::Integer | InputType::Number => {
            #[allow(clippy::cast_possible_truncation, reason = "limits of inputs are small whole numbers")]
            let least = input.min.unwrap_or(1.0).ceil() as i64;
            json!(least)
        }
        InputType::Boolean => json!(true),
        InputType::Object => json!({}),
        InputType::Array => json!(["x"]),
        InputType::Date => json!("2026-01-01"),
        InputType::Datetime => json!("2026-01-01T00:00:00Z"),
        InputType::File => json!({ "filename": "a.txt", "data": "aGVsbG8=" }),
        InputType::String | InputType::Any => {
            let pattern = input.pattern.as_ref().map(|pattern| pattern.as_str());
            json!(text(pattern, input.format, input.min_length))
        }
    }
}

/// Inputs that must be refused, each with its fault.
pub(crate) fn broken(action: &Action, good: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let mut found = Vec::new();
    for input in &action.inputs {
        let name = &input.name;
        if input.required && input.default.is_none() {
            let mut without = good.clone();
            without.shift_remove(name);
            found.push((format!("without {name}"), without));
        }
        if let Some(wrong) = of_another_type(input.kind) {
            let mut other = good.clone();
            other.insert(name.clone(), wrong);
            found.push((format!("{name} of a wrong type"), other));
        }
    }
    let mut more = good.clone();
    more.insert("no_such_input".to_owned(), json!("x"));
    found.push(("with an input that there is not".to_owned(), more));
    found
}

fn of_another_type(kind: InputType) -> Option<Value> {
    match kind {
        InputType::Any => None,
        InputType::Integer | InputType::Number | InputType::Boolean => Some(json!("seven")),
        InputType::Object | InputType::Array => Some(json!("x")),
        InputType::String | InputType::Date | InputType::Datetime | InputType::File => Some(json!(7)),
    }
}

/// A text that matches; the pattern is more specific than the format.
fn text(pattern: Option<&str>, format: Option<FieldFormat>, min_length: Option<u32>) -> String {
    if let Some(text) = pattern.and_then(matching) {
        return text;
    }
    match format {
        Some(FieldFormat::Hostname) => "made-up.example.com".to_owned(),
        Some(FieldFormat::HostnameLabel) => "made-up".to_owned(),
        Some(FieldFormat::Url) => "https://made-up.example.com/x".to_owned(),
        Some(FieldFormat::Email) => "made.up@example.com".to_owned(),
        Some(FieldFormat::Uuid) => "00000000-0000-4000-8000-000000000000".to_owned(),
        Some(FieldFormat::Pem) => "-----BEGIN MADE UP-----\nbWFkZSB1cA==\n-----END MADE UP-----\n".to_owned(),
        Some(FieldFormat::Json) => "{}".to_owned(),
        None => "madeup".repeat(min_length.unwrap_or(1).div_ceil(6).max(1) as usize),
    }
}

fn matching(pattern: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    Some(text)
}

fn write(expression: &Hir, text: &mut String) -> Option<()> {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class)?),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.map_or(REPEATS, |max| max.min(REPEATS));
            for _ in 0..most.max(repetition.min) {
                write(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text))?,
        HirKind::Alternation(ways) => write(ways.first()?, text)?,
    }
    Some(())
}

/// A letter or digit if the class has one.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let has = |wanted: &char| ranges.iter().any(|(first, last)| (first..=last).contains(&wanted));
    ['a', 'A', '1', '0'].into_iter().find(has).or_else(|| ranges.first().map(|(first, _)| *first))
}
