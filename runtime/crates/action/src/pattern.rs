//! Regular expressions of definitions: linear time, bounded size, compiled once.

use regex_lite::{Regex, RegexBuilder};

/// Longest pattern, bytes.
pub const PATTERN_BYTES_MAX: usize = 500;
/// Largest compiled pattern, bytes. `a{1000}` fits; `(a{1000}){1000}` does not.
const COMPILED_BYTES_MAX: usize = 1 << 18;
/// Longest text that is searched, bytes: time is pattern times text, and conditions also run in the
/// host, without a fuel limit. A longer text does not match.
const TEXT_BYTES_MAX: usize = 1 << 16;

/// A compiled pattern. Two are equal when their texts are.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// A pattern that must match a whole text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn whole(text: &str) -> Result<Self, String> {
        // Why: `a)|(?:b` alone is an error; inside the group below it would escape the anchors.
        compile(text)?;
        Ok(Self { text: text.to_owned(), regex: compile_bounded(&format!("\\A(?:{text})\\z"))? })
    }

    /// A pattern that may match anywhere in a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn within(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), regex: compile(text)? })
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text.len() <= TEXT_BYTES_MAX && self.regex.is_match(text)
    }

    /// The first group of the first match; the whole match when the pattern has no group.
    #[must_use]
    pub fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let found = self.regex.captures(text)?;
        let group = if found.len() > 1 { found.get(1) } else { found.get(0) };
        group.map(|group| group.as_str())
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("has {} bytes, the limit is {PATTERN_BYTES_MAX}", text.len()));
    }
    compile_bounded(text)
}

fn compile_bounded(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| format!("is not a regular expression of bounded size: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_pattern_matches_the_whole_text_only() {
        let rate = Pattern::whole("RATE.*|BUSY").unwrap();
        for (text, expected) in
            [("RATE_LIMIT", true), ("BUSY", true), ("BUSY!", false), ("x RATE", false), ("BUSY\n", false)]
        {
            assert_eq!(rate.matches(text), expected, "{text}");
        }
        assert!(!Pattern::whole("(?m)^a$").unwrap().matches("b\na"));
        assert!(!rate.matches(&format!("RATE{}", "x".repeat(TEXT_BYTES_MAX))));
    }

    #[test]
    fn what_is_too_large_or_unbalanced_is_refused() {
        for text in ["(", "a)|(?:b", "(a{1000}){1000}", "(?x)a # b", &"a".repeat(PATTERN_BYTES_MAX + 1)] {
            assert!(Pattern::whole(text).is_err(), "{text}");
        }
        assert!(Pattern::whole("a{1000}").is_ok());
    }

    #[test]
    fn a_searched_pattern_gives_its_first_group() {
        assert_eq!(Pattern::within("after (\\S+)").unwrap().capture("Retry after 5 s"), Some("5"));
        assert_eq!(Pattern::within("[0-9]+").unwrap().capture("wait 12 s"), Some("12"));
        assert_eq!(Pattern::within("a(b)?").unwrap().capture("a"), None);
    }
}
