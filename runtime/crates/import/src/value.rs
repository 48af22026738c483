//! Values of a description (defaults, enumerations, bounds, patterns), checked against an input.

use regex_lite::{Regex, RegexBuilder};
use regex_syntax::hir::Look;
use serde_json::Value;

use crate::limits::{DEFAULT_NODES_MAX, PATTERN_BYTES_MAX, PATTERN_CHARS_MAX, VALUE_CHARS_MAX};

/// Whether a value has an input type of the format.
pub(crate) fn has_type(value: &Value, input_type: &str) -> bool {
    match input_type {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "any" => !value.is_null(),
        _ => false,
    }
}

/// Whether a value is small enough for a draft.
pub(crate) fn is_small(value: &Value) -> bool {
    fn fits(value: &Value, nodes: &mut usize) -> bool {
        if *nodes == 0 {
            return false;
        }
        *nodes -= 1;
        match value {
            Value::String(text) => text.len() <= VALUE_CHARS_MAX,
            Value::Array(items) => items.iter().all(|item| fits(item, nodes)),
            Value::Object(map) => {
                map.iter().all(|(name, item)| name.len() <= VALUE_CHARS_MAX && fits(item, nodes))
            }
            _ => true,
        }
    }
    fits(value, &mut DEFAULT_NODES_MAX.clone())
}

/// The pattern of an input, which is matched against the whole text.
///
/// A pattern of a description is searched for (ECMA-262); if it is not anchored itself, that is
/// written out.
///
/// # Errors
/// Why it cannot be converted.
pub(crate) fn pattern(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.chars().count() > PATTERN_CHARS_MAX {
        return Err("is too long");
    }
    let hir = regex_syntax::parse(text).map_err(|_| "is not a linear-time expression")?;
    let properties = hir.properties();
    let start = properties.look_set_prefix().contains(Look::Start);
    let end = properties.look_set_suffix().contains(Look::End);
    let whole = match (start, end) {
        (true, true) => text.to_owned(),
        (true, false) => format!("(?:{text})(?s:.*)"),
        (false, true) => format!("(?s:.*)(?:{text})"),
        (false, false) => format!("(?s:.*)(?:{text})(?s:.*)"),
    };
    if whole.chars().count() > PATTERN_CHARS_MAX {
        return Err("is too long");
    }
    // Why alone too: `a)|(?:b` is invalid alone, but would escape the anchors around it.
    if compiled(&whole).is_none() || anchored(&whole).is_none() {
        return Err("is too large, or has something that the platform's engine does not know");
    }
    Ok(whole)
}

fn compiled(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().ok()
}

fn anchored(text: &str) -> Option<Regex> {
    compiled(&format!("^(?:{text})$"))
}

/// Whether a text matches a pattern of an input.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    anchored(pattern).is_some_and(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_mean_the_same_when_matched_whole() {
        for (text, expected) in [
            ("^AC[0-9a-f]{32}$", "^AC[0-9a-f]{32}$"),
            ("^a|^b", "(?:^a|^b)(?s:.*)"),
            ("^a|b$", "(?s:.*)(?:^a|b$)(?s:.*)"),
            ("x", "(?s:.*)(?:x)(?s:.*)"),
        ] {
            assert_eq!(pattern(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(matches(&pattern("b").unwrap(), "a\nbc"));
        assert!(!matches(&pattern("^b").unwrap(), "ab"));
        assert!(matches(&pattern("^b").unwrap(), "ba"));
    }

    #[test]
    fn what_needs_more_than_linear_time_or_much_memory_is_no_pattern() {
        for text in [
            "(?=a)b",
            "a)|(?:b",
            "(?x)a # b",
            "\\p{L}+",
            "(a)\\1",
            "(?!x)",
            "[",
            "",
            "(a{1000}){1000}",
            &"a".repeat(501),
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
        assert!(pattern("(a+)+$").is_ok(), "harmless in a linear-time engine");
    }

    #[test]
    fn big_values_are_told_from_small_ones() {
        assert!(is_small(&json!({ "a": [1, 2, "x"] })));
        assert!(!is_small(&json!("x".repeat(1001))));
        assert!(!is_small(&json!(vec![0; 60])));
    }
}
