//! Values that people and programs hand in, held against what the definition asks for: an action's
//! input, and the fields of a credential form.
//!
//! Nothing is coerced: text that looks like a number is text. Every breach is reported at once.

use serde_json::{Map, Value};

use crate::definition::{EnumValue, FieldType, InputType};
use crate::problem::{Problem, nearest, step};
use crate::secret::SecretValue;

/// One input of an action.
#[derive(Debug, Clone)]
pub struct Input {
    /// Name in `input`.
    pub name: String,
    /// Label for people.
    pub label: Option<String>,
    /// Type.
    pub kind: InputType,
    /// Whether it must be given.
    pub required: bool,
    /// What stands in when it is not given.
    pub default: Option<Value>,
    /// Accepted values.
    pub accepted: Option<Vec<Value>>,
    /// Longest text, characters.
    pub max_length: Option<u32>,
    /// For people.
    pub help: Option<String>,
}

/// The name of an input type as callers write it.
#[must_use]
pub const fn type_name(kind: InputType) -> &'static str {
    match kind {
        InputType::String => "string",
        InputType::Number => "number",
        InputType::Integer => "integer",
        InputType::Boolean => "boolean",
        InputType::Object => "object",
        InputType::Array => "array",
        InputType::Any => "any",
    }
}

fn has_type(value: &Value, kind: InputType) -> bool {
    match kind {
        InputType::String => value.is_string(),
        InputType::Number => value.is_number(),
        InputType::Integer => value.is_i64() || value.is_u64(),
        InputType::Boolean => value.is_boolean(),
        InputType::Object => value.is_object(),
        InputType::Array => value.is_array(),
        InputType::Any => true,
    }
}

impl Input {
    /// Checks one given value.
    pub fn check(&self, value: &Value, pointer: &str, problems: &mut Vec<Problem>) {
        if !has_type(value, self.kind) {
            let message = format!("{} must be {}", self.name, type_name(self.kind));
            problems.push(Problem::new(pointer, "wrong_type", message));
            return;
        }
        if let Some(accepted) = &self.accepted
            && !accepted.contains(value)
        {
            let list = Value::Array(accepted.clone());
            problems.push(Problem::new(
                pointer,
                "not_in_list",
                format!("{} must be one of {list}", self.name),
            ));
        }
        if let (Some(limit), Some(text)) = (self.max_length, value.as_str())
            && text.chars().count() > limit as usize
        {
            let message = format!("{} must have at most {limit} characters", self.name);
            problems.push(Problem::new(pointer, "too_long", message));
        }
    }
}

/// Checks an action's input and fills in defaults.
///
/// # Errors
/// Every breach with its pointer, such as `/input/Email`.
pub fn check_input(inputs: &[Input], given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut checked = Map::new();
    for name in given.keys() {
        if !inputs.iter().any(|input| input.name == *name) {
            let near = nearest(name, inputs.iter().map(|i| i.name.as_str()));
            let hint = near.map_or_else(String::new, |n| format!("; did you mean {n:?}?"));
            let message = format!("the action has no input {name:?}{hint}");
            problems.push(Problem::new(format!("/input/{}", step(name)), "unknown_input", message));
        }
    }
    for input in inputs {
        let pointer = format!("/input/{}", step(&input.name));
        match given.get(&input.name).filter(|v| !v.is_null()) {
            Some(value) => {
                input.check(value, &pointer, &mut problems);
                checked.insert(input.name.clone(), value.clone());
            }
            None => match &input.default {
                Some(default) => {
                    checked.insert(input.name.clone(), default.clone());
                }
                None if input.required => {
                    problems.push(Problem::new(
                        pointer,
                        "missing_input",
                        format!("{} is required", input.name),
                    ));
                }
                None => {}
            },
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

/// One field of a credential form or of a connection's config.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name in `config`.
    pub name: String,
    /// Label for people.
    pub label: Option<String>,
    /// Type.
    pub kind: FieldType,
    /// Whether a value must be given.
    pub required: bool,
    /// Whether it is sealed and never shown to a guest.
    pub secret: bool,
    /// What stands in when nothing is given; never for a secret.
    pub default: Option<String>,
    /// Shortest value, characters.
    pub min_length: Option<u32>,
    /// Longest value, characters.
    pub max_length: Option<u32>,
    /// Accepted values.
    pub accepted: Option<Vec<EnumValue>>,
    /// Shown in the empty field.
    pub placeholder: Option<String>,
    /// For people.
    pub help: Option<String>,
}

/// A form's values, parted into what is sealed and what is not.
#[derive(Debug, Default)]
pub struct FormValues {
    /// Secret fields in form order.
    pub secrets: Vec<(String, SecretValue)>,
    /// Non-secret values by name.
    pub config: Map<String, Value>,
}

/// Checks a filled-in form. Messages name fields and limits, never a value.
///
/// # Errors
/// Every breach with its pointer, such as `/config/api_key`.
pub fn check_form(
    fields: &[Field],
    given: Map<String, Value>,
    secret_bytes_max: u64,
) -> Result<FormValues, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut values = FormValues::default();
    let mut given = given;
    for field in fields {
        let pointer = format!("/config/{}", step(&field.name));
        let value = given.shift_remove(&field.name).filter(|v| !v.is_null());
        let text = match value {
            None => field.default.clone(),
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) if field.kind == FieldType::Number => Some(number.to_string()),
            Some(Value::Bool(flag)) if field.kind == FieldType::Boolean => Some(flag.to_string()),
            Some(_) => {
                problems.push(Problem::new(pointer, "wrong_type", format!("{} must be text", field.name)));
                continue;
            }
        };
        let Some(text) = text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()) else {
            if field.required {
                problems.push(Problem::new(pointer, "missing_field", format!("{} is required", field.name)));
            }
            continue;
        };
        check_text(field, &text, secret_bytes_max, &pointer, &mut problems);
        if field.secret {
            values.secrets.push((field.name.clone(), SecretValue::new(text)));
        } else {
            values.config.insert(field.name.clone(), Value::String(text));
        }
    }
    for name in given.keys() {
        let message = format!("the form has no field {name:?}");
        problems.push(Problem::new(format!("/config/{}", step(name)), "unknown_field", message));
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn check_text(field: &Field, text: &str, bytes_max: u64, pointer: &str, problems: &mut Vec<Problem>) {
    let name = &field.name;
    let length = text.chars().count();
    if text.len() as u64 > bytes_max {
        problems.push(Problem::new(
            pointer,
            "too_long",
            format!("{name} must have at most {bytes_max} bytes"),
        ));
    }
    if let Some(limit) = field.max_length.filter(|l| length > *l as usize) {
        problems.push(Problem::new(
            pointer,
            "too_long",
            format!("{name} must have at most {limit} characters"),
        ));
    }
    if let Some(limit) = field.min_length.filter(|l| length < *l as usize) {
        problems.push(Problem::new(
            pointer,
            "too_short",
            format!("{name} must have at least {limit} characters"),
        ));
    }
    let one_line = field.kind != FieldType::Textarea;
    if text.chars().any(|c| c.is_control() && (one_line || !matches!(c, '\n' | '\r' | '\t'))) {
        problems.push(Problem::new(pointer, "control_character", format!("{name} has a control character")));
    }
    if let Some(accepted) = &field.accepted
        && !accepted.iter().any(|a| a.value == text)
    {
        let list: Vec<&str> = accepted.iter().map(|a| a.value.as_str()).collect();
        problems.push(Problem::new(
            pointer,
            "not_in_list",
            format!("{name} must be one of {}", list.join(", ")),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(name: &str, kind: InputType, required: bool) -> Input {
        Input {
            name: name.to_owned(),
            label: None,
            kind,
            required,
            default: None,
            accepted: None,
            max_length: None,
            help: None,
        }
    }

    fn codes(result: Result<Map<String, Value>, Vec<Problem>>) -> Vec<(String, &'static str)> {
        result.err().unwrap_or_default().into_iter().map(|p| (p.pointer, p.code)).collect()
    }

    #[test]
    fn input_is_never_coerced_and_every_breach_is_listed() {
        let inputs = [
            input("Email", InputType::String, true),
            input("n", InputType::Integer, false),
            input("x", InputType::Boolean, true),
        ];
        let given = json!({ "Email": 5, "n": "5", "emial": 1 });
        assert_eq!(
            codes(check_input(&inputs, given.as_object().unwrap())),
            [
                ("/input/emial".to_owned(), "unknown_input"),
                ("/input/Email".to_owned(), "wrong_type"),
                ("/input/n".to_owned(), "wrong_type"),
                ("/input/x".to_owned(), "missing_input"),
            ]
        );
        let good = json!({ "Email": "a", "n": 5, "x": false });
        assert!(check_input(&inputs, good.as_object().unwrap()).is_ok());
    }

    #[test]
    fn defaults_stand_in_and_limits_hold() {
        let mut field = input("s", InputType::String, true);
        field.default = Some(json!("d"));
        field.max_length = Some(3);
        field.accepted = Some(vec![json!("d"), json!("abc")]);
        let inputs = [field];
        assert_eq!(check_input(&inputs, &Map::new()).unwrap()["s"], "d");
        let long = json!({ "s": "abcd" });
        assert_eq!(codes(check_input(&inputs, long.as_object().unwrap())).len(), 2);
    }

    fn field(name: &str, required: bool, secret: bool) -> Field {
        Field {
            name: name.to_owned(),
            label: None,
            kind: FieldType::Password,
            required,
            secret,
            default: None,
            min_length: None,
            max_length: Some(8),
            accepted: None,
            placeholder: None,
            help: None,
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
