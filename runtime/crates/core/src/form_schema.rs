//! A form as JSON Schema (2020-12), with hints for its display: for user interfaces of others, which build the form and
//! check it while a person types.
//!
//! The schema describes the `config` of a save, as it is after white space, prefix and suffix are taken off. What it
//! accepts the product accepts too, but for formats that a pattern cannot say (`json`, and the last details of `url`);
//! the product also takes texts for numbers and flags, and counts null and an empty text as left out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;

use crate::definition::{FieldFormat, FieldType};
use crate::form::Field;

mod portable;

use portable::portable;

/// The dialect of the schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// One line: no control character.
const ONE_LINE: &str = r"^[^\x00-\x1F\x7F-\x9F]*$";
/// Several lines: no control character but tab and line ends.
const LINES: &str = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$";
/// A DNS label.
const LABEL: &str = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
/// Longest host name, characters (RFC 1035 section 2.3.4).
const HOST_CHARS_MAX: u32 = 253;

/// A value in a schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

/// The schema of a form: an object.
#[derive(Debug, Clone, Serialize)]
pub struct FormSchema {
    /// The dialect: 2020-12.
    #[serde(rename = "$schema")]
    dialect: &'static str,
    /// Always `object`.
    r#type: &'static str,
    /// The fields that a person fills in.
    properties: BTreeMap<String, PropertySchema>,
    /// Fields without which the form is not complete.
    required: Vec<String>,
    /// Always false: there are no other fields.
    #[serde(rename = "additionalProperties")]
    additional_properties: bool,
    /// Fields that are required while others have certain values.
    #[serde(rename = "allOf", skip_serializing_if = "Vec::is_empty")]
    all_of: Vec<Conditional>,
}

/// The schema of a field.
#[derive(Debug, Clone, Serialize)]
pub struct PropertySchema {
    /// Label for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Explanation for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// `string`, `number` or `boolean`.
    r#type: &'static str,
    /// Value used when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Scalar>,
    /// The accepted values.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#enum: Option<Vec<Scalar>>,
    /// Shortest text, characters.
    #[serde(rename = "minLength", skip_serializing_if = "Option::is_none")]
    min_length: Option<u32>,
    /// Longest text, characters.
    #[serde(rename = "maxLength", skip_serializing_if = "Option::is_none")]
    max_length: Option<u32>,
    /// The field's own pattern, if it can be written as ECMA-262 does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    /// Name of a format of JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    /// Media type of the text.
    #[serde(rename = "contentMediaType", skip_serializing_if = "Option::is_none")]
    content_media_type: Option<&'static str>,
    /// Whether the value is never read back: it is a secret.
    #[serde(rename = "writeOnly", skip_serializing_if = "is_false")]
    write_only: bool,
    /// Patterns of the field's type and format.
    #[serde(rename = "allOf", skip_serializing_if = "Vec::is_empty")]
    all_of: Vec<PatternSchema>,
}

/// A pattern that a text must match.
#[derive(Debug, Clone, Serialize)]
pub struct PatternSchema {
    pattern: String,
}

/// A field that is required under a condition.
#[derive(Debug, Clone, Serialize)]
pub struct Conditional {
    r#if: ConditionSchema,
    then: RequiredSchema,
}

/// A condition: another field has one of these values.
#[derive(Debug, Clone, Serialize)]
pub struct ConditionSchema {
    properties: BTreeMap<String, ChoiceSchema>,
    /// The other field, unless its default is one of the values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
}

/// Values of a field.
#[derive(Debug, Clone, Serialize)]
pub struct ChoiceSchema {
    r#enum: Vec<Scalar>,
}

/// Fields that must be given.
#[derive(Debug, Clone, Serialize)]
pub struct RequiredSchema {
    required: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl FormSchema {
    /// The schema of a form. Fields that the product fills in are not part of it.
    #[must_use]
    pub fn of(fields: &[Field]) -> Self {
        let asked = || fields.iter().filter(|field| !field.is_filled_by_itself());
        let needed = |field: &&Field| field.required && field.default.is_none();
        let always = asked().filter(needed).filter(|field| field.visible_when.is_none());
        let conditional = asked().filter(needed).filter_map(|field| conditional(field, fields));
        Self {
            dialect: DIALECT,
            r#type: "object",
            properties: asked().map(|field| (field.name.clone(), property(field))).collect(),
            required: always.map(|field| field.name.clone()).collect(),
            additional_properties: false,
            all_of: conditional.collect(),
        }
    }
}

/// The rule of a field that must be given while it is shown.
fn conditional(field: &Field, fields: &[Field]) -> Option<Conditional> {
    let when = field.visible_when.as_ref()?;
    let other = fields.iter().find(|other| other.name == when.field)?;
    let values = when.accepted.iter().filter_map(|text| scalar(other.kind, text)).collect();
    let by_default = other.default.as_ref().is_some_and(|default| when.accepted.contains(default));
    let required = if by_default { Vec::new() } else { vec![other.name.clone()] };
    let properties = BTreeMap::from([(other.name.clone(), ChoiceSchema { r#enum: values })]);
    Some(Conditional {
        r#if: ConditionSchema { properties, required },
        then: RequiredSchema { required: vec![field.name.clone()] },
    })
}

/// A text as a value of the field's type; `None` if it is none.
fn scalar(kind: FieldType, text: &str) -> Option<Scalar> {
    match kind {
        FieldType::Boolean => text.parse().ok().map(Scalar::Flag),
        FieldType::Number => match text.parse::<i64>() {
            Ok(whole) => Some(Scalar::Number(whole.into())),
            Err(_) => text.parse().ok().and_then(Number::from_f64).map(Scalar::Number),
        },
        _ => Some(Scalar::Text(text.to_owned())),
    }
}

fn property(field: &Field) -> PropertySchema {
    let r#type = match field.kind {
        FieldType::Number => "number",
        FieldType::Boolean => "boolean",
        _ => "string",
    };
    let is_text = r#type == "string";
    let format = field.format.or(match field.kind {
        FieldType::Url => Some(FieldFormat::Url),
        FieldType::Email => Some(FieldFormat::Email),
        FieldType::Json => Some(FieldFormat::Json),
        FieldType::Pem => Some(FieldFormat::Pem),
        _ => None,
    });
    let format = format.filter(|_| is_text);
    let accepted = field
        .accepted
        .as_ref()
        .map(|all| all.iter().filter_map(|option| scalar(field.kind, &option.value)).collect());
    let lines = if field.kind.is_multiline() { LINES } else { ONE_LINE };
    let patterns = std::iter::once(lines.to_owned()).chain(format.and_then(pattern_of));
    let default = field.default.as_deref().filter(|_| !field.secret);
    PropertySchema {
        title: field.label.clone(),
        description: field.help.clone(),
        r#type,
        default: default.and_then(|text| scalar(field.kind, text)),
        r#enum: accepted,
        // Why at least one: an empty text is no value.
        min_length: is_text.then(|| field.min_length.unwrap_or(1).max(1)),
        max_length: longest(field, format).filter(|_| is_text),
        pattern: field.pattern.as_ref().filter(|_| is_text).and_then(|pattern| portable(pattern.as_str())),
        format: format.and_then(standard_name),
        content_media_type: (format == Some(FieldFormat::Json)).then_some("application/json"),
        write_only: field.secret,
        all_of: patterns.filter(|_| is_text).map(|pattern| PatternSchema { pattern }).collect(),
    }
}

fn longest(field: &Field, format: Option<FieldFormat>) -> Option<u32> {
    match (field.max_length, format) {
        (own, Some(FieldFormat::Hostname)) => Some(own.unwrap_or(HOST_CHARS_MAX).min(HOST_CHARS_MAX)),
        (own, _) => own,
    }
}

/// The format's name in JSON Schema, where it has one that means the same.
const fn standard_name(format: FieldFormat) -> Option<&'static str> {
    match format {
        FieldFormat::Hostname => Some("hostname"),
        FieldFormat::Url => Some("uri"),
        FieldFormat::Email => Some("email"),
        FieldFormat::Uuid => Some("uuid"),
        FieldFormat::HostnameLabel | FieldFormat::Pem | FieldFormat::Json => None,
    }
}

/// A format as a pattern: what a format of JSON Schema means differs between its implementations.
fn pattern_of(format: FieldFormat) -> Option<String> {
    // The last label has a letter: without one the name would be an address.
    let host = format!(r"(?:{LABEL}\.)+(?=[0-9-]*[A-Za-z]){LABEL}");
    Some(match format {
        FieldFormat::Hostname => format!("^{host}$"),
        FieldFormat::HostnameLabel => format!("^{LABEL}$"),
        FieldFormat::Url => {
            format!(r"^[Hh][Tt][Tt][Pp][Ss]://{LABEL}(?:\.{LABEL})*(?::[0-9]{{1,4}})?(?:[/?#][^\s]*)?$")
        }
        FieldFormat::Email => format!(r"^[^\s@]+@{host}$"),
        FieldFormat::Uuid => "^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$".to_owned(),
        FieldFormat::Pem => r"^\s*-----BEGIN [\s\S]*-----END [\s\S]*-----\s*$".to_owned(),
        FieldFormat::Json => return None,
    })
}

#[cfg(test)]
mod tests;
