//! One thing that is wrong with a document: where, which rule, and what would be right.

use schemars::JsonSchema;
use serde::Serialize;

/// A breach of a rule, found by validation. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the document that was sent.
    pub pointer: String,
    /// Stable snake_case code of the rule.
    pub code: &'static str,
    /// What is wrong and what the accepted form is.
    pub message: String,
}

impl Violation {
    /// A breach at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }
}

/// One step of a JSON pointer, with `~` and `/` escaped (RFC 6901 section 3).
#[must_use]
pub fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The known name closest to a mistyped one, if any is close: at most two edits, and fewer than half
/// of its letters.
#[must_use]
pub fn nearest<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|name| (edit_distance(typed, name), name))
        .filter(|(distance, name)| *distance <= 2 && distance * 2 < name.len().max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(80).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let up = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let value = (diagonal + usize::from(ca != *cb)).min(up + 1).min(left + 1);
            diagonal = up;
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            left = value;
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_field_and_a_stranger_finds_none() {
        let known = ["allowed_domains", "actions", "enabled"];
        assert_eq!(nearest("allowed_domain", known.into_iter()), Some("allowed_domains"));
        assert_eq!(nearest("alowed_domians", known.into_iter()), None);
        assert_eq!(nearest("enable", known.into_iter()), Some("enabled"));
        assert_eq!(nearest("webhooks", known.into_iter()), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
    }

    #[test]
    fn its_schema_is_what_is_written() {
        crate::structure::assert_written(&Violation::new("/a", "wrong_type", "must be string"));
    }

    #[test]
    fn pointer_steps_are_escaped() {
        assert_eq!(step("a/b~c"), "a~1b~0c");
    }
}
