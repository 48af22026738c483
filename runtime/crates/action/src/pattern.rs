//! Regular expressions of definitions: linear time, bounded size, compiled once.

use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

use crate::budget::{Budget, Exceeded};

/// Longest pattern, bytes.
pub const PATTERN_BYTES_MAX: usize = 500;
/// Largest compiled pattern, bytes. `a{1000}` fits; `(a{1000}){1000}` does not.
const COMPILED_BYTES_MAX: usize = 1 << 18;
/// The size that most compiled patterns have at most, bytes.
const COMPILED_BYTES_MIN: usize = 1 << 10;
/// Size of one state of a compiled pattern, bytes; it may be entered once for each character of a text.
const STATE_BYTES: u64 = 32;
/// Longest text that is searched, bytes. A longer text does not match.
const TEXT_BYTES_MAX: usize = 1 << 16;

/// Steps that take about as long as a byte of the dearest text to read: one takes 25 ns, a byte up to 150.
const STEPS_PER_BYTE: u64 = 4;

/// A compiled pattern. Two are equal when their texts are.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
    /// Size of the compiled pattern: no more than this, and usually more than half.
    bytes: usize,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// A pattern that must match a whole text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn whole(text: &str) -> Result<Self, String> {
        // Why: `a)|(?:b` alone is an error; inside the group below it would escape the anchors.
        if text.len() > PATTERN_BYTES_MAX {
            return Err(too_long(text));
        }
        let (_, least) = compile(text, COMPILED_BYTES_MIN)?;
        compile(&anchored(text), least).map(|compiled| Self::of(text, compiled))
    }

    /// As [`Self::whole`], for a pattern that was checked by it before. Why: a guest reads patterns in every call.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn checked_whole(text: &str) -> Result<Self, String> {
        compile(&anchored(text), COMPILED_BYTES_MAX).map(|compiled| Self::of(text, compiled))
    }

    /// A pattern that may match anywhere in a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn within(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(too_long(text));
        }
        compile(text, COMPILED_BYTES_MIN).map(|compiled| Self::of(text, compiled))
    }

    fn of(text: &str, (regex, bytes): (Regex, usize)) -> Self {
        Self { text: Arc::from(text), regex, bytes }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Size of the compiled pattern, bytes: no more than this.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most steps that searching a text may take.
    #[must_use]
    pub const fn steps(&self, text: &str) -> u64 {
        self.steps_of(text.len())
    }

    const fn steps_of(&self, bytes: usize) -> u64 {
        (self.bytes as u64 / STATE_BYTES + 1).saturating_mul(bytes as u64 + 1)
    }

    /// How many bytes a text would have whose reading takes as long as searching one of `bytes` bytes: for who decides
    /// on which thread that is done.
    #[must_use]
    pub fn effort(&self, bytes: usize) -> usize {
        if bytes > TEXT_BYTES_MAX {
            return 0;
        }
        usize::try_from(self.steps_of(bytes) / STEPS_PER_BYTE).unwrap_or(usize::MAX)
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text.len() <= TEXT_BYTES_MAX && self.regex.is_match(text)
    }

    /// As [`Self::matches`], within a budget.
    ///
    /// # Errors
    /// [`Exceeded`] if the pattern's size times the text's is more than is left.
    pub fn matches_within(&self, text: &str, budget: &Budget) -> Result<bool, Exceeded> {
        if text.len() > TEXT_BYTES_MAX {
            return Ok(false);
        }
        budget.step(self.steps(text))?;
        Ok(self.regex.is_match(text))
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

fn too_long(text: &str) -> String {
    format!("has {} bytes, the limit is {PATTERN_BYTES_MAX}", text.len())
}

fn anchored(text: &str) -> String {
    format!("\\A(?:{text})\\z")
}

/// The compiled pattern and the smallest of ever doubled sizes, from `least` on, that it fits into: the engine does
/// not tell a size, it only refuses beyond one.
fn compile(text: &str, least: usize) -> Result<(Regex, usize), String> {
    let mut bytes = least;
    loop {
        match RegexBuilder::new(text).size_limit(bytes).build() {
            Ok(regex) => return Ok((regex, bytes)),
            Err(error) if bytes >= COMPILED_BYTES_MAX || !error.to_string().contains("size limit") => {
                return Err(format!("is not a regular expression of bounded size: {error}"));
            }
            Err(_) => bytes = bytes.saturating_mul(2),
        }
    }
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
    fn the_size_of_a_pattern_is_known_and_bounds_its_steps() {
        let sizes =
            ["a", "[a-z]{1,60}", "(?:[a-z]{1,60}){1,30}b"].map(|text| Pattern::whole(text).unwrap().bytes());
        assert!(sizes[0] <= 1 << 10 && sizes[0] < sizes[1] && sizes[1] < sizes[2], "{sizes:?}");
        let large = Pattern::whole("(?:[a-z]{1,60}){1,30}b").unwrap();
        let text = "a".repeat(60_000);
        assert!(large.steps(&text) > 100_000_000);
        assert!(large.matches_within(&text, &Budget::matching(50_000_000)).is_err(), "refused, not searched");
        assert_eq!(large.matches_within("aab", &Budget::matching(50_000_000)), Ok(true));
    }

    #[test]
    fn searching_counts_as_reading_of_a_longer_text() {
        let small = Pattern::whole("[a-z]+").unwrap();
        assert!(small.effort(100) < 32 * 1024, "as nothing");
        let nested = Pattern::whole("(?:(?:(?:([a-z]|(?s).)*)+){3,3}){0,23}").unwrap();
        assert!(nested.effort(100) < 32 * 1024 && nested.effort(30_000) > 32 * 1024);
        assert_eq!(nested.effort(TEXT_BYTES_MAX + 1), 0, "it is not searched");
    }

    #[test]
    fn a_searched_pattern_gives_its_first_group() {
        assert_eq!(Pattern::within("after (\\S+)").unwrap().capture("Retry after 5 s"), Some("5"));
        assert_eq!(Pattern::within("[0-9]+").unwrap().capture("wait 12 s"), Some("12"));
        assert_eq!(Pattern::within("a(b)?").unwrap().capture("a"), None);
    }
}
