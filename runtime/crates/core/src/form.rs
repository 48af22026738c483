//! A filled-in credential form, checked against the definition's fields and split into what is
//! sealed and what is not.

use std::borrow::Cow;

use portcullis_action::budget::{Budget, MATCHING_STEPS, RENDERED_BYTES};
use portcullis_action::template::{Filter, Tables, apply_filters, scalar_text};
use serde_json::{Map, Value};

use crate::definition::{EnumValue, FieldFormat, FieldScope, FieldType};
use crate::format;
use crate::input::Pattern;
use crate::secret::SecretValue;
use crate::violation::{Violation, Violations, step};
use zeroize::Zeroizing;

/// Most characters of an unknown name in a message.
const NAME_CHARS_MAX: usize = 80;

/// One field of a credential form or of a connection's config.
#[derive(Debug, Clone, Default)]
pub struct Field {
    pub name: String,
    pub label: Option<String>,
    pub kind: FieldType,
    pub required: bool,
    /// Whether it is sealed and never shown to a guest.
    pub secret: bool,
    /// Whose value it is.
    pub scope: FieldScope,
    /// Value used when none is given; never for a secret.
    pub default: Option<String>,
    /// Shortest value, characters.
    pub min_length: Option<u32>,
    /// Longest value, characters.
    pub max_length: Option<u32>,
    pub accepted: Option<Vec<EnumValue>>,
    pub placeholder: Option<String>,
    pub help: Option<String>,
    /// Link to a longer explanation.
    pub help_url: Option<String>,
    /// Heading it is grouped under.
    pub group: Option<String>,
    /// Position among the others.
    pub order: Option<i32>,
    /// Anchored pattern of the whole value.
    pub pattern: Option<Pattern>,
    pub format: Option<FieldFormat>,
    /// Removed from the start of a pasted value.
    pub prefix: Option<String>,
    /// Removed from a pasted value, with everything after it.
    pub suffix: Option<String>,
    /// Condition under which it is shown.
    pub visible_when: Option<VisibleWhen>,
    /// Filled by the product, not by a person.
    pub automated: bool,
    /// Computed from another field.
    pub computed: Option<Computed>,
    /// Whether white space at both ends is removed.
    pub trim: bool,
}

/// A condition on another field of the same form.
#[derive(Debug, Clone)]
pub struct VisibleWhen {
    /// The other field.
    pub field: String,
    /// Values with which this one is shown.
    pub accepted: Vec<String>,
}

/// How a config value is computed from another field.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The other field.
    pub from: String,
    /// Applied from left to right.
    pub filters: Vec<Filter>,
    /// What they look into.
    pub tables: Tables,
}

impl Field {
    /// Whether a person must give a value, given the rest of the form.
    fn is_asked(&self, fields: &[Self], given: &Map<String, Value>, kept: &FormValues) -> bool {
        let shown = self.visible_when.as_ref().is_none_or(|when| {
            if let Some(text) = kept.config.get(&when.field).and_then(scalar_text) {
                return when.accepted.contains(&text);
            }
            let other = fields.iter().find(|field| field.name == when.field);
            let text = given.get(&when.field).and_then(scalar_text);
            let text = text.or_else(|| other.and_then(|field| field.default.clone())).unwrap_or_default();
            let text = other.map_or(text.as_str(), |field| field.tidy(&text));
            when.accepted.iter().any(|accepted| accepted == text)
        });
        shown && !self.is_filled_by_itself()
    }

    /// Whether the product fills it in, and no person does.
    #[must_use]
    pub const fn is_filled_by_itself(&self) -> bool {
        self.automated || self.computed.is_some()
    }

    /// Checks one value like those of a form, such as a default or what `discover` found. Messages name
    /// the field and limits, never the value.
    pub fn check(&self, text: &str, pointer: &str, problems: &mut Violations) {
        self.check_within(text, pointer, &Budget::matching(MATCHING_STEPS), problems);
    }

    /// As [`Self::check`], as one of many values that share a budget for their patterns.
    pub(crate) fn check_within(&self, text: &str, pointer: &str, budget: &Budget, problems: &mut Violations) {
        check_text(self, self.tidy(text), u64::MAX, pointer, budget, problems);
    }

    /// What a person meant: a pasted value without white space, scheme, prefix and suffix.
    #[must_use]
    pub fn tidy<'t>(&self, text: &'t str) -> &'t str {
        let mut text = if self.trim { text.trim() } else { text };
        if matches!(self.format, Some(FieldFormat::Hostname | FieldFormat::HostnameLabel)) {
            text = text.strip_prefix("https://").unwrap_or(text);
            text = text.split('/').next().unwrap_or(text);
        }
        if let Some(prefix) = &self.prefix {
            text = text.strip_prefix(prefix.as_str()).unwrap_or(text);
        }
        if let Some((before, _)) = self.suffix.as_ref().and_then(|suffix| text.split_once(suffix.as_str())) {
            text = before;
        }
        text
    }
}

/// A form's values, split into what is sealed and what is not.
#[derive(Debug, Default)]
pub struct FormValues {
    /// Secret fields in form order.
    pub secrets: Vec<(String, SecretValue)>,
    /// Non-secret values by name.
    pub config: Map<String, Value>,
}

/// What the patterns of a form cost for texts of these lengths, by the names of their fields, in bytes that are read:
/// [`crate::offload::over`] decides by it where a form is checked.
#[must_use]
pub fn effort<'t>(fields: &[Field], texts: impl Iterator<Item = (&'t str, usize)>) -> usize {
    let of = |(name, bytes): (&str, usize)| {
        let field = fields.iter().find(|field| field.name == name);
        field.and_then(|field| field.pattern.as_ref()).map_or(0, |pattern| pattern.effort(bytes))
    };
    texts.map(of).fold(0, usize::saturating_add)
}

/// The texts of a filled-in form, for [`effort`].
pub fn lengths(given: &Map<String, Value>) -> impl Iterator<Item = (&str, usize)> {
    given.iter().map(|(name, value)| (name.as_str(), value.as_str().map_or(0, str::len)))
}

/// Checks a filled-in form. Messages name fields and limits, never a value.
///
/// # Errors
/// Every breach with its pointer, such as `/config/api_key`.
pub fn check_form(
    fields: &[Field],
    given: Map<String, Value>,
    secret_bytes_max: u64,
) -> Result<FormValues, Vec<Violation>> {
    check_form_with(fields, given, FormValues::default(), secret_bytes_max)
}

/// As [`check_form`], for a form in which some values stay as they were saved. `kept` holds no field that `given` names
/// and none that is automated or computed.
///
/// # Errors
/// Every breach with its pointer, such as `/config/api_key`; a kept value is checked like one that is given.
pub fn check_form_with(
    fields: &[Field],
    mut given: Map<String, Value>,
    mut kept: FormValues,
    secret_bytes_max: u64,
) -> Result<FormValues, Vec<Violation>> {
    let mut problems = Violations::default();
    let matching = Budget::matching(MATCHING_STEPS);
    let mut values = FormValues::default();
    let asked: Vec<bool> = fields.iter().map(|field| field.is_asked(fields, &given, &kept)).collect();
    for (field, asked) in fields.iter().zip(asked) {
        let pointer = format!("/config/{}", step(&field.name));
        if let Some(at) = kept.secrets.iter().position(|(name, _)| *name == field.name) {
            let (name, secret) = kept.secrets.swap_remove(at);
            check_text(field, secret.expose(), secret_bytes_max, &pointer, &matching, &mut problems);
            values.secrets.push((name, secret));
            continue;
        }
        if let Some(Value::String(text)) = kept.config.shift_remove(&field.name) {
            // Why not tidied: it was when it was saved, and a second time may take off more.
            check_text(field, &text, secret_bytes_max, &pointer, &matching, &mut problems);
            values.config.insert(field.name.clone(), Value::String(text));
            continue;
        }
        let value = given.shift_remove(&field.name).filter(|v| !v.is_null());
        if value.is_some() && field.is_filled_by_itself() {
            let message = format!("{} is filled in by itself", field.name);
            problems.push(Violation::new(pointer, "field_automated", message));
            continue;
        }
        let text = match value {
            None => field.default.clone(),
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) if field.kind == FieldType::Number => Some(number.to_string()),
            Some(Value::Bool(flag)) if field.kind == FieldType::Boolean => Some(flag.to_string()),
            Some(_) => {
                problems.push(Violation::new(pointer, "wrong_type", format!("{} must be text", field.name)));
                continue;
            }
        };
        // Why wiped: it may be a secret, as it was pasted.
        let text = text.map(Zeroizing::new);
        let Some(text) = text.map(|t| field.tidy(&t).to_owned()).filter(|t| !t.is_empty()) else {
            if field.required && asked {
                problems.push(Violation::new(
                    pointer,
                    "missing_field",
                    format!("{} is required", field.name),
                ));
            }
            continue;
        };
        check_text(field, &text, secret_bytes_max, &pointer, &matching, &mut problems);
        if field.secret {
            values.secrets.push((field.name.clone(), SecretValue::new(text)));
        } else {
            values.config.insert(field.name.clone(), Value::String(text));
        }
    }
    for name in given.keys() {
        problems.push_with(|| {
            let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
            let message = format!("the form has no field {shown:?}");
            Violation::new(format!("/config/{}", step(name)), "unknown_field", message)
        });
    }
    if problems.is_empty() {
        compute(fields, &mut values, &matching, &mut problems);
    }
    if problems.is_empty() { Ok(values) } else { Err(problems.into_vec()) }
}

/// Computes the fields that depend on others, and checks them like any other.
fn compute(fields: &[Field], values: &mut FormValues, matching: &Budget, problems: &mut Violations) {
    let budget = Budget::rendering(RENDERED_BYTES);
    for field in fields {
        let Some(computed) = &field.computed else { continue };
        let secret = values.secrets.iter().find(|(name, _)| *name == computed.from).map(|(_, value)| value);
        let from = match secret {
            Some(value) => Some(Value::String(value.expose().to_owned())),
            None => values.config.get(&computed.from).cloned(),
        };
        let made = apply_filters(from.map(Cow::Owned), &computed.filters, &computed.tables, &budget);
        let made = match made {
            Ok(made) => made.as_deref().and_then(scalar_text),
            Err(why) => {
                let pointer = format!("/config/{}", step(&computed.from));
                let message = format!("{}, which is made from it, {why}", field.name);
                problems.push(Violation::new(pointer, "not_computable", message));
                continue;
            }
        };
        let told = |text: &str| secret.is_some_and(|secret| tells(secret, text, &computed.filters));
        let Some(text) = made.filter(|text| !text.is_empty() && !told(text)) else {
            if field.required {
                let pointer = format!("/config/{}", step(&computed.from));
                let message = format!("{} cannot be made from {}", field.name, computed.from);
                problems.push(Violation::new(pointer, "not_computable", message));
            }
            continue;
        };
        let pointer = format!("/config/{}", step(&computed.from));
        check_text(field, &text, u64::MAX, &pointer, matching, problems);
        values.config.insert(field.name.clone(), Value::String(text));
    }
}

/// Whether a visible text taken from a secret reveals too much of it: more than half. A filter whose
/// separator is not in the secret returns the whole secret.
fn tells(secret: &SecretValue, text: &str, filters: &[Filter]) -> bool {
    let hashed = filters.iter().any(|f| matches!(f, Filter::Md5 | Filter::Sha1 | Filter::Sha256));
    !hashed && text.len() * 2 > secret.len()
}

fn check_text(
    field: &Field,
    text: &str,
    bytes_max: u64,
    pointer: &str,
    budget: &Budget,
    problems: &mut Violations,
) {
    let name = &field.name;
    let length = text.chars().count();
    if text.len() as u64 > bytes_max {
        problems.push(Violation::new(
            pointer,
            "too_long",
            format!("{name} must have at most {bytes_max} bytes"),
        ));
    }
    if let Some(limit) = field.max_length.filter(|l| length > *l as usize) {
        problems.push(Violation::new(
            pointer,
            "too_long",
            format!("{name} must have at most {limit} characters"),
        ));
    }
    if let Some(limit) = field.min_length.filter(|l| length < *l as usize) {
        problems.push(Violation::new(
            pointer,
            "too_short",
            format!("{name} must have at least {limit} characters"),
        ));
    }
    let one_line = !field.kind.is_multiline();
    if text.chars().any(|c| c.is_control() && (one_line || !matches!(c, '\n' | '\r' | '\t'))) {
        problems.push(Violation::new(
            pointer,
            "control_character",
            format!("{name} has a control character"),
        ));
    }
    if let Some(accepted) = &field.accepted
        && !accepted.iter().any(|a| a.value == text)
    {
        let list: Vec<&str> = accepted.iter().map(|a| a.value.as_str()).collect();
        problems.push(Violation::new(
            pointer,
            "not_in_list",
            format!("{name} must be one of {}", list.join(", ")),
        ));
    }
    let pattern = field.pattern.as_ref();
    if let Some((code, breach)) = pattern.and_then(|pattern| pattern.breach(name, text, budget)) {
        problems.push(Violation::new(pointer, code, breach));
    }
    let typed = match field.kind {
        FieldType::Number => text.parse::<f64>().is_ok_and(f64::is_finite).then_some(()).ok_or("a number"),
        FieldType::Boolean => matches!(text, "true" | "false").then_some(()).ok_or("true or false"),
        _ => Ok(()),
    };
    if let Err(expected) = typed {
        problems.push(Violation::new(pointer, "wrong_type", format!("{name} must be {expected}")));
    }
    let by_kind = match field.kind {
        FieldType::Url => Some(FieldFormat::Url),
        FieldType::Email => Some(FieldFormat::Email),
        FieldType::Json => Some(FieldFormat::Json),
        FieldType::Pem => Some(FieldFormat::Pem),
        _ => None,
    };
    if let Some(breach) = field.format.or(by_kind).and_then(|format| format::breach(format, text)) {
        problems.push(Violation::new(pointer, "wrong_form", format!("{name} must be {breach}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(name: &str, required: bool, secret: bool) -> Field {
        Field {
            name: name.to_owned(),
            kind: FieldType::Password,
            required,
            secret,
            max_length: Some(8),
            trim: true,
            ..Field::default()
        }
    }

    #[test]
    fn a_form_parts_secrets_from_config() {
        let fields = [field("api_key", true, true), field("region", false, false)];
        let given = json!({ "api_key": " sk_1 ", "region": "eu" });
        let values = check_form(&fields, given.as_object().cloned().unwrap(), 100).unwrap();
        assert_eq!(values.secrets[0].1.expose(), "sk_1");
        assert_eq!(values.config["region"], "eu");
    }

    #[test]
    fn a_refused_form_names_fields_and_never_values() {
        let fields = [field("api_key", true, true), field("other", true, true)];
        let given = json!({ "api_key": "canary-too-long", "nope": "canary2" });
        let problems = check_form(&fields, given.as_object().cloned().unwrap(), 100).unwrap_err();
        let text = format!("{problems:?}");
        assert!(!text.contains("canary"), "{text}");
        let codes: Vec<_> = problems.iter().map(|p| p.code).collect();
        assert_eq!(codes, ["too_long", "missing_field", "unknown_field"]);
        let control = json!({ "api_key": "a\nb", "other": "x" });
        assert_eq!(
            check_form(&fields, control.as_object().cloned().unwrap(), 100).unwrap_err()[0].code,
            "control_character"
        );
    }
}
