//! Positions in documents, as definitions write them: JSON pointers and dotted paths.

use portcullis_action::template::{Scope, Variable, tables_of};

use crate::form::Field;
use crate::tables::NOT_HERE;
use crate::violation::{Violation, Violations};

/// The steps of a position in a body, written as a JSON pointer or as a dotted path.
#[must_use]
pub fn steps(path: &str) -> Vec<String> {
    match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|s| s.replace("~1", "/").replace("~0", "~")).collect(),
        None => path.split('.').map(str::to_owned).collect(),
    }
}

/// The steps of a position in a body that is to be written to; no step may be empty.
pub(super) fn body_place(path: &str, at: &str, errors: &mut Violations) -> Vec<String> {
    let steps = steps(path);
    if steps.iter().any(String::is_empty) {
        let message = format!("{path:?} has an empty step; write a pointer such as /properties/email");
        errors.push(Violation::new(at, "pointer_invalid", message));
    }
    steps
}

/// Reports what is not a JSON pointer (RFC 6901); the empty one is the whole document.
pub(super) fn check_pointer(text: &str, at: &str, errors: &mut Violations) {
    if !text.is_empty() && !text.starts_with('/') {
        let message = format!("{text:?} is not a JSON pointer; it begins with /, as in /data/id");
        errors.push(Violation::new(at, "pointer_invalid", message));
    }
}

/// Reports variables that are no visible config value of the connection.
pub(super) fn check_config_variables<'v>(
    variables: impl Iterator<Item = &'v Variable>,
    fields: &[Field],
    at: &str,
    errors: &mut Violations,
) {
    for variable in variables {
        let field = fields.iter().find(|field| field.name == variable.name);
        let message = match (variable.scope, field) {
            (Scope::Config, Some(field)) if !field.secret => None,
            (Scope::Config, Some(_)) => Some(format!(
                "{variable} is a secret, which never stands here; write a field that is not secret"
            )),
            (Scope::Config, None) => {
                let name = &variable.name;
                let visible = fields.iter().filter(|field| !field.secret).map(|field| field.name.as_str());
                let hint = errors.hint(name, visible);
                Some(format!("there is no config field {name:?}; add it to config_fields{hint}"))
            }
            _ => Some(format!("{variable} is not available here; write config.<field>, not secret")),
        };
        if let Some(message) = message {
            errors.push(Violation::new(at, "template_unknown_variable", message));
        }
        if tables_of(&variable.filters).next().is_some() {
            errors.push(Violation::new(at, "lookup_misplaced", NOT_HERE));
        }
    }
}

/// Whether the positions are the same, or one is inside the other.
pub(super) fn overlap(a: &[String], b: &[String]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Whether a pointer's last name suggests a secret: what is captured there would be visible.
pub(super) fn names_secret(pointer: &str) -> bool {
    let last = pointer.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    ["token", "secret", "password", "assertion", "private_key", "api_key"]
        .iter()
        .any(|end| last.ends_with(end))
}
