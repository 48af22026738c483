//! What mappings and conditions of automations may use besides the source: the workspace that an event is for, with the
//! values that it sets, and its org. `{{workspace.values.pipeline_id}}`, `{{workspace.id}}`, `{{org.id}}`.
//!
//! They are looked up like the entries of a list, under these two names; a value that is not there is absent like a path
//! that the source does not have. A name that a mapping gives to the entries of its own list hides one of these.

use serde_json::Value;

use crate::scalar::scalar_text;
use crate::template::{Part, Scope, Template, Variable};
use crate::values::dotted;

/// The names that templates of automations may begin with, besides `source`.
pub const NAMES: [&str; 2] = ["workspace", "org"];
/// Longest name of a workspace's value, bytes.
pub const VALUE_NAME_BYTES_MAX: usize = 63;
/// What may be written, for messages.
pub(crate) const FORMS: &str = "workspace.values.<name>, workspace.id or org.id";

/// Documents by the names in [`NAMES`].
pub type Given<'a> = &'a [(&'a str, &'a Value)];

/// Whether a workspace's value can have that name.
#[must_use]
pub fn is_value_name(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let has_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    begins && has_word && name.len() <= VALUE_NAME_BYTES_MAX
}

/// Whether a variable is one of these; it was parsed with [`NAMES`].
///
/// # Errors
/// What is wrong with one that begins with such a name.
pub(crate) fn check(variable: &Variable) -> Result<bool, String> {
    let (first, rest) = variable.name.split_once('.').unwrap_or((&variable.name, ""));
    if variable.scope != Scope::Entry || !NAMES.contains(&first) {
        return Ok(false);
    }
    let is_known = match first {
        "workspace" => rest == "id" || rest.strip_prefix("values.").is_some_and(is_value_name),
        _ => rest == "id",
    };
    if is_known { Ok(true) } else { Err(format!("{variable} is nothing that is given; write {FORMS}")) }
}

/// Whether a text has a template that begins with one of these names. Any other text with braces stays what it is.
pub(crate) fn names_given(text: &str) -> bool {
    text.split("{{").skip(1).any(|inner| {
        let inner = inner.trim_start();
        NAMES.iter().any(|name| inner.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    })
}

/// A template of a condition; `None` for a text that is none.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn template(text: &str) -> Result<Option<Template>, String> {
    if !names_given(text) {
        return Ok(None);
    }
    let template = Template::parse_with_entries(text, &NAMES).map_err(|error| error.to_string())?;
    for variable in template.variables() {
        if !check(variable)? {
            return Err(format!("{variable} is not available in a condition; write {FORMS}"));
        }
        // Why: a condition is evaluated often, and what a filter makes is not bounded by its steps.
        if !variable.filters.is_empty() {
            return Err(format!("{variable} has a filter; a condition compares with the value as it is"));
        }
    }
    Ok(Some(template))
}

/// The value of a variable of a condition.
pub(crate) fn find<'v>(variable: &Variable, given: Given<'v>) -> Option<&'v Value> {
    let (first, rest) = variable.name.split_once('.')?;
    let (_, document) = given.iter().find(|(name, _)| *name == first)?;
    dotted(document, rest).filter(|value| !value.is_null())
}

/// The value of a template of a condition: that of a single variable keeps its type.
pub(crate) fn value_of(template: &Template, given: Given<'_>) -> Option<Value> {
    if let Some(variable) = template.as_single_variable() {
        return find(variable, given).cloned();
    }
    let texts = template.parts.iter().map(|part| match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Variable(variable) => find(variable, given).and_then(scalar_text),
    });
    texts.collect::<Option<String>>().map(Value::String)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_values_are_words() {
        for name in ["pipeline_id", "_", "a-b", "A9", &"x".repeat(63)] {
            assert!(is_value_name(name), "{name}");
        }
        for name in ["", "9a", "-a", "a.b", "a b", "a/b", "ä", "a'", "a}", &"x".repeat(64)] {
            assert!(!is_value_name(name), "{name}");
        }
    }

    #[test]
    fn a_text_is_a_template_only_if_it_names_what_is_given() {
        for text in
            ["open", "{{", "{{source.x}}", "{{x}}", "{workspace.id}", "{{workspaces.id}}", "{{orgs.id}}"]
        {
            assert_eq!(template(text), Ok(None), "{text}");
        }
        for text in ["{{workspace.id}}", "{{ org.id }}", "a{{workspace.values.x}}b"] {
            assert!(template(text).unwrap().is_some(), "{text}");
        }
        for (text, says) in [
            ("{{workspace.values}}", "is nothing that is given"),
            ("{{workspace.value.x}}", "is nothing that is given"),
            ("{{org.name}}", "is nothing that is given"),
            ("{{workspace.values.9}}", "is nothing that is given"),
            ("{{workspace.id}}{{source.x}}", "is not available in a condition"),
            ("{{workspace.id|lower}}", "has a filter"),
            ("{{workspace.id", "unbalanced"),
        ] {
            let error = template(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_single_variable_keeps_its_type_and_a_missing_one_has_no_value() {
        let workspace = json!({ "id": "main", "values": { "n": 7, "none": null } });
        let given = [("workspace", &workspace)];
        let value = |text: &str| value_of(&template(text).unwrap().unwrap(), &given);
        assert_eq!(value("{{workspace.values.n}}"), Some(json!(7)));
        assert_eq!(value("{{workspace.id}}-{{workspace.values.n}}"), Some(json!("main-7")));
        for absent in ["{{workspace.values.x}}", "{{workspace.values.none}}", "{{org.id}}", "a{{org.id}}"] {
            assert_eq!(value(absent), None, "{absent}");
        }
    }
}
