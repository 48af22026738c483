//! An action's input, checked against the definition.
//!
//! Nothing is coerced: text that looks like a number is text. Every breach is reported at once.

use std::collections::HashSet;

use portcullis_action::budget::Budget;
use portcullis_action::pattern;
use portcullis_action::template::is_integer;
use serde_json::{Map, Value};

use crate::definition::{FieldFormat, InputType};
use crate::format;
use crate::violation::{Violation, Violations, step};

/// An anchored regular expression and the message shown when it does not match.
#[derive(Debug, Clone)]
pub struct Pattern {
    whole: pattern::Pattern,
    message: Option<String>,
}

impl Pattern {
    /// A compiled pattern that must match a whole text.
    #[must_use]
    pub const fn new(whole: pattern::Pattern, message: Option<String>) -> Self {
        Self { whole, message }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.whole.as_str()
    }

    /// What is said when a text does not match.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What matching a text of so many bytes counts, in bytes that are read ([`crate::offload::over`]).
    #[must_use]
    pub fn effort(&self, bytes: usize) -> usize {
        self.whole.effort(bytes)
    }

    /// Code and message of why a text does not match, or of why that is not found out; `None` when it does match.
    #[must_use]
    pub fn breach(&self, name: &str, text: &str, budget: &Budget) -> Option<(&'static str, String)> {
        let message = match (self.whole.matches_within(text, budget), &self.message) {
            (Ok(true), _) => return None,
            (Err(why), _) => {
                return Some((TOO_COSTLY, format!("{name} is too long for its pattern: matching it {why}")));
            }
            // Why more than the message: it often tells one half of the pattern, and the text breaks the other.
            (Ok(false), Some(message)) => {
                let count = text.chars().count();
                format!("{name}: {message} (it has {count} characters and must match {})", self.as_str())
            }
            (Ok(false), None) => format!("{name} must match {}", self.as_str()),
        };
        Some(("wrong_form", message))
    }
}

/// Most characters of an unknown name in a message.
const NAME_CHARS_MAX: usize = 80;

/// The code of a text that is not matched because it would cost too much.
pub(crate) const TOO_COSTLY: &str = "pattern_too_costly";

/// One input of an action.
#[derive(Debug, Clone, Default)]
pub struct Input {
    pub name: String,
    pub label: Option<String>,
    pub kind: InputType,
    pub required: bool,
    /// Whether an explicit null is a value to be sent; otherwise it counts as not given.
    pub nullable: bool,
    /// Value used when none is given.
    pub default: Option<Value>,
    pub accepted: Option<Vec<Value>>,
    /// Anchored pattern of a text.
    pub pattern: Option<Pattern>,
    pub format: Option<FieldFormat>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// Shortest text in characters, or fewest entries.
    pub min_length: Option<u32>,
    /// Longest text in characters, or most entries.
    pub max_length: Option<u32>,
    /// Its value is not shown in dry runs.
    pub sensitive: bool,
    pub help: Option<String>,
    pub example: Option<Value>,
}

/// The name of an input type as callers know it.
#[must_use]
pub const fn type_name(kind: InputType) -> &'static str {
    match kind {
        InputType::String => "string",
        InputType::Number => "number",
        InputType::Integer => "integer",
        InputType::Boolean => "boolean",
        InputType::Object => "object",
        InputType::Array => "array",
        InputType::Date => "date",
        InputType::Datetime => "datetime",
        InputType::File => "file",
        InputType::Any => "any",
    }
}

fn has_type(value: &Value, kind: InputType) -> bool {
    match kind {
        InputType::String => value.is_string(),
        InputType::Number => value.is_number(),
        InputType::Integer => matches!(value, Value::Number(number) if is_integer(number)),
        InputType::Boolean => value.is_boolean(),
        InputType::Object => value.is_object(),
        InputType::Array => value.is_array(),
        InputType::Date => value.as_str().is_some_and(format::is_date),
        InputType::Datetime => value.as_str().is_some_and(format::is_datetime),
        InputType::File => value.is_string() || is_file(value),
        InputType::Any => true,
    }
}

/// `{"filename", "content_type"?, "data": <base64>}`.
fn is_file(value: &Value) -> bool {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    text("filename").is_some_and(|name| !name.is_empty()) && text("data").is_some_and(format::is_base64)
}

impl Input {
    /// Checks one given value. The budget is for its pattern.
    pub fn check(&self, value: &Value, pointer: &str, budget: &Budget, problems: &mut Violations) {
        let mut refuse =
            |code: &'static str, message: String| problems.push(Violation::new(pointer, code, message));
        if !has_type(value, self.kind) {
            let hint = match self.kind {
                InputType::Date => ", such as 2026-11-22",
                InputType::Datetime => ", such as 2026-11-22T13:54:00Z",
                InputType::File => ": text, or {\"filename\", \"content_type\"?, \"data\": base64}",
                _ => "",
            };
            refuse("wrong_type", format!("{} must be {}{hint}", self.name, type_name(self.kind)));
            return;
        }
        if let Some(accepted) = &self.accepted
            && !accepted.contains(value)
        {
            let list = Value::Array(accepted.clone());
            refuse("not_in_list", format!("{} must be one of {list}", self.name));
        }
        self.check_size(value, &mut refuse);
        let Some(text) = value.as_str() else { return };
        let pattern = self.pattern.as_ref();
        if let Some((code, breach)) = pattern.and_then(|p| p.breach(&self.name, text, budget)) {
            refuse(code, breach);
        }
        if let Some(breach) = self.format.and_then(|format| format::breach(format, text)) {
            refuse("wrong_form", format!("{} must be {breach}", self.name));
        }
    }

    fn check_size(&self, value: &Value, refuse: &mut impl FnMut(&'static str, String)) {
        let name = &self.name;
        let (length, unit) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(items) => (items.len(), "entries"),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                if let Some(min) = self.min.filter(|min| number < *min) {
                    refuse("too_small", format!("{name} must be at least {min}"));
                }
                if let Some(max) = self.max.filter(|max| number > *max) {
                    refuse("too_large", format!("{name} must be at most {max}"));
                }
                return;
            }
            _ => return,
        };
        if let Some(limit) = self.max_length.filter(|limit| length > *limit as usize) {
            refuse("too_long", format!("{name} must have at most {limit} {unit}"));
        }
        if let Some(limit) = self.min_length.filter(|limit| length < *limit as usize) {
            refuse("too_short", format!("{name} must have at least {limit} {unit}"));
        }
    }
}

/// What the patterns of these inputs cost, in bytes that are read: [`crate::offload::over`] decides by it where an input
/// is checked, for a short text may be dear to match.
#[must_use]
pub fn effort(inputs: &[Input], given: &Map<String, Value>) -> usize {
    let of = |input: &Input| match (&input.pattern, given.get(&input.name)) {
        (Some(pattern), Some(Value::String(text))) => pattern.effort(text.len()),
        _ => 0,
    };
    inputs.iter().map(of).fold(0, usize::saturating_add)
}

/// Checks an action's input and fills in defaults.
///
/// # Errors
/// The breaches, each with its pointer, such as `/input/Email`.
pub fn check_input(
    inputs: &[Input],
    given: &Map<String, Value>,
    budget: &Budget,
) -> Result<Map<String, Value>, Vec<Violation>> {
    let mut problems = Violations::default();
    let mut checked = Map::with_capacity(inputs.len());
    check_names(inputs, given, &mut problems);
    for input in inputs {
        // Why a closure: most inputs have no error and need no pointer.
        let pointer = || format!("/input/{}", step(&input.name));
        match given.get(&input.name).filter(|v| input.nullable || !v.is_null()) {
            Some(Value::Null) => {
                checked.insert(input.name.clone(), Value::Null);
            }
            Some(value) => {
                // Why of its own: a violation at no pointer would be the same for two inputs.
                let mut own = Violations::default();
                input.check(value, "", budget, &mut own);
                for mut problem in own.into_vec() {
                    problem.pointer = pointer();
                    problems.push(problem);
                }
                checked.insert(input.name.clone(), value.clone());
            }
            None => match &input.default {
                Some(default) => {
                    checked.insert(input.name.clone(), default.clone());
                }
                None if input.required => {
                    let message = format!("{} is required", input.name);
                    problems.push(Violation::new(pointer(), "missing_input", message));
                }
                None => {}
            },
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(problems.into_vec()) }
}

/// Reports names that are no inputs of the action.
fn check_names(inputs: &[Input], given: &Map<String, Value>, problems: &mut Violations) {
    let known = inputs.iter().filter(|input| given.contains_key(&input.name)).count();
    // Why counted first: as a rule there is none, and then nothing is compared.
    let unknown = given.len().saturating_sub(known);
    if unknown == 0 {
        return;
    }
    let names: HashSet<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let unnamed = given.keys().filter(|name| !names.contains(name.as_str()));
    for (shown, name) in unnamed.enumerate() {
        if problems.is_full() {
            problems.count(unknown.saturating_sub(shown));
            return;
        }
        let hint = problems.hint(name, inputs.iter().map(|i| i.name.as_str()));
        let of: String = name.chars().take(NAME_CHARS_MAX).collect();
        let message = format!("the action has no input {of:?}{hint}");
        problems.push(Violation::new(format!("/input/{}", step(name)), "unknown_input", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(name: &str, kind: InputType, required: bool) -> Input {
        Input { name: name.to_owned(), kind, required, ..Input::default() }
    }

    fn check(inputs: &[Input], given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Violation>> {
        check_input(inputs, given, &Budget::matching(1_000_000))
    }

    fn codes(result: Result<Map<String, Value>, Vec<Violation>>) -> Vec<(String, &'static str)> {
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
            codes(check(&inputs, given.as_object().unwrap())),
            [
                ("/input/emial".to_owned(), "unknown_input"),
                ("/input/Email".to_owned(), "wrong_type"),
                ("/input/n".to_owned(), "wrong_type"),
                ("/input/x".to_owned(), "missing_input"),
            ]
        );
        let good = json!({ "Email": "a", "n": 5, "x": false });
        assert!(check(&inputs, good.as_object().unwrap()).is_ok());
    }

    #[test]
    fn defaults_stand_in_and_limits_hold() {
        let mut field = input("s", InputType::String, true);
        field.default = Some(json!("d"));
        field.max_length = Some(3);
        field.accepted = Some(vec![json!("d"), json!("abc")]);
        let inputs = [field];
        assert_eq!(check(&inputs, &Map::new()).unwrap()["s"], "d");
        let long = json!({ "s": "abcd" });
        assert_eq!(codes(check(&inputs, long.as_object().unwrap())).len(), 2);
    }

    #[test]
    fn s4_many_unknown_names_are_counted_and_not_listed() {
        let inputs: Vec<Input> =
            (0..200).map(|n| input(&format!("input_number_{n}"), InputType::String, false)).collect();
        let given: Map<String, Value> =
            (0..240_000).map(|n| (format!("input_numbr_{n}"), Value::Null)).collect();
        let violations = check(&inputs, &given).unwrap_err();
        assert_eq!(violations.len(), crate::violation::VIOLATIONS_MAX + 1);
        assert!(violations[0].message.contains("did you mean"), "{:?}", violations[0]);
        let last = violations.last().unwrap();
        assert!(last.message.starts_with("239950 more"), "{last:?}");
    }

    #[test]
    fn s3_a_text_that_is_too_long_for_its_pattern_is_refused_and_not_matched() {
        let mut field = input("s", InputType::String, true);
        let whole = pattern::Pattern::whole("(?:[a-z]{1,60}){1,30}b").unwrap();
        field.pattern = Some(Pattern::new(whole, None));
        let inputs = [field];
        let given = json!({ "s": "a".repeat(60_000) });
        assert_eq!(codes(check(&inputs, given.as_object().unwrap())), [("/input/s".to_owned(), TOO_COSTLY)]);
        assert!(check(&inputs, json!({ "s": "aab" }).as_object().unwrap()).is_ok());
    }
}
