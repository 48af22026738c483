//! Values of a description (defaults, enumerations, bounds, patterns), checked against an input.

use portcullis_action::{Budget, Compiler};
use regex_syntax::hir::Look;
use serde_json::Value;

use crate::limits::{DEFAULT_NODES_MAX, PATTERN_CHARS_MAX, VALUE_CHARS_MAX};

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
pub(crate) fn pattern(text: &str, compiler: &mut Compiler) -> Result<String, &'static str> {
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
    // Why here too: what the platform would refuse is left out, and the rest of the draft is good.
    match compiler.whole(&whole) {
        Ok(_) => Ok(whole),
        Err(why) if why.contains("limits.") => Err(
            "is one too many: the description has more patterns, or larger ones, than a definition may have",
        ),
        Err(_) => Err("is too large, or has something that the platform's engine does not know"),
    }
}

/// Whether a text matches a pattern of an input; one that would cost too much to match does not.
pub(crate) fn matches(pattern: &str, text: &str, compiler: &mut Compiler, budget: &Budget) -> bool {
    compiler.whole(pattern).is_ok_and(|pattern| pattern.matches_within(text, budget).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::limits::Limits;
    use serde_json::json;

    fn compiler() -> Compiler {
        Compiler::new(Limits::default().compiling())
    }

    fn fits(text: &str, value: &str) -> bool {
        let mut compiler = compiler();
        let pattern = pattern(text, &mut compiler).unwrap();
        matches(&pattern, value, &mut compiler, &Budget::matching(1_000_000))
    }

    #[test]
    fn s3_large_patterns_of_a_description_are_carried_up_to_a_limit() {
        let mut compiler = compiler();
        let results: Vec<_> =
            (0..2000).map(|n| pattern(&format!("^(?:[a-z]{{1,60}}){{1,30}}b{n}$"), &mut compiler)).collect();
        let carried = results.iter().filter(|result| result.is_ok()).count();
        assert!((10..200).contains(&carried), "{carried}");
        assert!(pattern("^x$", &mut compiler).unwrap_err().contains("too many"));
    }

    #[test]
    fn patterns_mean_the_same_when_matched_whole() {
        for (text, expected) in [
            ("^AC[0-9a-f]{32}$", "^AC[0-9a-f]{32}$"),
            ("^a|^b", "(?:^a|^b)(?s:.*)"),
            ("^a|b$", "(?s:.*)(?:^a|b$)(?s:.*)"),
            ("x", "(?s:.*)(?:x)(?s:.*)"),
        ] {
            assert_eq!(pattern(text, &mut compiler()).as_deref(), Ok(expected), "{text}");
        }
        assert!(fits("b", "a\nbc"));
        assert!(!fits("^b", "ab"));
        assert!(fits("^b", "ba"));
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
            assert!(pattern(text, &mut compiler()).is_err(), "{text}");
        }
        assert!(pattern("(a+)+$", &mut compiler()).is_ok(), "harmless in a linear-time engine");
    }

    #[test]
    fn big_values_are_told_from_small_ones() {
        assert!(is_small(&json!({ "a": [1, 2, "x"] })));
        assert!(!is_small(&json!("x".repeat(1001))));
        assert!(!is_small(&json!(vec![0; 60])));
    }
}
