//! `base_url`: what a `url_template` that begins with `/` is joined to.

use portcullis_action::UrlTemplate;

use super::place::check_config_variables;
use super::reach::Reach;
use crate::definition::Definition;
use crate::form::Field;
use crate::violation::{Violation, Violations};

/// The result of checking a definition's base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Absent,
    /// There is one and it was refused: URLs joined to it need no report.
    Unsound,
    /// The text to put before a path.
    Sound(String),
}

/// A last path segment that shows whether a path was appended to the base's path or to another part of it.
const PROBE: &str = "portcullis-probe";

/// Checks the base URL: over `config.*`, without query and fragment, inside `allowed_domains`.
pub(super) fn check(
    definition: &Definition,
    fields: &[Field],
    reach: Reach<'_>,
    errors: &mut Violations,
) -> Base {
    const AT: &str = "/base_url";
    let Some(text) = &definition.base_url else { return Base::Absent };
    let text = text.trim_end_matches('/');
    let before = errors.len();
    match UrlTemplate::parse(&format!("{text}/{PROBE}")) {
        Err(e) => errors.push(Violation::new(AT, "template_invalid", e.to_string())),
        Ok(url) => {
            let ends_in_path = url.segments.last().and_then(|last| last.as_literal()) == Some(PROBE);
            if !ends_in_path || !url.query.is_empty() {
                let message = "must end in its path: no query; default_query is for pairs of every action";
                errors.push(Violation::new(AT, "base_url_form", message));
            }
            check_config_variables(url.variables(), fields, AT, errors);
            reach.check(&url, AT, errors);
        }
    }
    if errors.len() == before { Base::Sound(text.to_owned()) } else { Base::Unsound }
}
