//! References inside the description. A reference to another document is never followed.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::limits::REF_HOPS_MAX;

/// Why a reference cannot be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefProblem {
    /// It refers to another document, or to `$id` or `$anchor`.
    External,
    /// Its target does not exist.
    Missing,
    /// It refers to itself, or through too many others.
    Cycle,
}

impl RefProblem {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::External => "external_ref",
            Self::Missing => "missing_ref",
            Self::Cycle => "ref_cycle",
        }
    }

    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::External => "leads out of the description; nothing is fetched",
            Self::Missing => "leads to a part of the description that does not exist",
            Self::Cycle => "leads to itself",
        }
    }
}

/// The text of `$ref`, when the value is a reference.
pub(crate) fn reference(value: &Value) -> Option<&str> {
    value.get("$ref").and_then(Value::as_str)
}

/// Follows references to the first value that is not one.
pub(crate) fn resolve<'a>(root: &'a Value, value: &'a Value) -> Result<&'a Value, RefProblem> {
    let mut value = value;
    for _ in 0..REF_HOPS_MAX {
        match reference(value) {
            None => return Ok(value),
            Some(text) => value = lookup(root, text)?,
        }
    }
    Err(RefProblem::Cycle)
}

/// The value that one reference names.
pub(crate) fn lookup<'a>(root: &'a Value, reference: &str) -> Result<&'a Value, RefProblem> {
    let fragment = reference.strip_prefix('#').ok_or(RefProblem::External)?;
    if !fragment.is_empty() && !fragment.starts_with('/') {
        return Err(RefProblem::External);
    }
    let pointer = percent_decode_str(fragment).decode_utf8().map_err(|_| RefProblem::Missing)?;
    root.pointer(&pointer).ok_or(RefProblem::Missing)
}

/// The pointer to a reference's final target; `None` if the value is not a reference.
pub(crate) fn home(root: &Value, value: &Value) -> Option<String> {
    let mut value = value;
    let mut pointer = None;
    for _ in 0..REF_HOPS_MAX {
        let Some(text) = reference(value) else { break };
        let fragment = text.strip_prefix('#')?;
        pointer = Some(percent_decode_str(fragment).decode_utf8().ok()?.into_owned());
        value = lookup(root, text).ok()?;
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_places_inside_the_document_are_found() {
        let root = json!({
            "a/b": { "é x": 1 }, "r": { "$ref": "#/s" }, "s": { "$ref": "#/a~1b" },
            "loop": { "$ref": "#/loop" },
        });
        assert_eq!(lookup(&root, "#/a~1b/%C3%A9%20x"), Ok(&json!(1)));
        assert_eq!(resolve(&root, &root["r"]), Ok(&root["a/b"]));
        assert_eq!(home(&root, &root["r"]).as_deref(), Some("/a~1b"));
        assert_eq!(home(&root, &root["a/b"]), None);
        assert_eq!(lookup(&root, "#/nope"), Err(RefProblem::Missing));
        for text in ["other.yaml#/a", "https://example.com/x", "#anchor", ""] {
            assert_eq!(lookup(&root, text), Err(RefProblem::External), "{text}");
        }
        assert_eq!(resolve(&root, &root["loop"]), Err(RefProblem::Cycle));
    }
}
