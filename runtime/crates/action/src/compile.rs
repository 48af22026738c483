//! Patterns and conditions of one document, compiled once.
//!
//! A definition has the same pattern in many places, and a shared rule in every action: each is compiled once, and
//! all together stay below limits. Nothing is compiled again for a call on the host; a guest, which begins anew in
//! every call, reads what was checked here (see [`crate::predicate::Predicate::parse`]).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pattern::Pattern;
use crate::predicate::{Predicate, PredicateError};

/// How much one document may have compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Different patterns.
    pub patterns: u64,
    /// Compiled patterns together, bytes.
    pub pattern_bytes: u64,
    /// Predicates of one condition, those inside others included.
    pub predicates: u64,
}

/// Compiles the patterns and conditions of one document.
#[derive(Debug)]
pub struct Compiler {
    limits: CompileLimits,
    /// By whether a pattern must match a whole text, and its text.
    patterns: BTreeMap<(bool, String), Result<Pattern, String>>,
    bytes: u64,
    /// By the condition's text.
    conditions: BTreeMap<String, Result<Predicate, PredicateError>>,
}

impl Compiler {
    /// A compiler that has compiled nothing.
    #[must_use]
    pub const fn new(limits: CompileLimits) -> Self {
        Self { limits, patterns: BTreeMap::new(), bytes: 0, conditions: BTreeMap::new() }
    }

    /// Size of the patterns that were compiled, bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A pattern that must match a whole text.
    ///
    /// # Errors
    /// What is wrong with it, or that there are too many.
    pub fn whole(&mut self, text: &str) -> Result<Pattern, String> {
        self.pattern(true, text)
    }

    /// A pattern that may match anywhere in a text.
    ///
    /// # Errors
    /// What is wrong with it, or that there are too many.
    pub fn within(&mut self, text: &str) -> Result<Pattern, String> {
        self.pattern(false, text)
    }

    fn pattern(&mut self, whole: bool, text: &str) -> Result<Pattern, String> {
        let key = (whole, text.to_owned());
        if let Some(known) = self.patterns.get(&key) {
            return known.clone();
        }
        let CompileLimits { patterns, pattern_bytes, .. } = self.limits;
        if self.patterns.len() as u64 >= patterns {
            return Err(format!(
                "is one pattern too many: the limit is {patterns} different ones (limits.patterns)"
            ));
        }
        if self.bytes >= pattern_bytes {
            return Err(format!(
                "is too much: all patterns together have {pattern_bytes} bytes when they are compiled, the limit \
                 (limits.pattern_bytes); repetitions such as {{1,500}} make them large"
            ));
        }
        let made = if whole { Pattern::whole(text) } else { Pattern::within(text) };
        self.bytes = self.bytes.saturating_add(made.as_ref().map_or(0, |pattern| pattern.bytes() as u64));
        self.patterns.insert(key, made.clone());
        made
    }

    /// A condition.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position.
    pub fn predicate(&mut self, value: &Value) -> Result<Predicate, PredicateError> {
        self.condition(value, false)
    }

    /// A condition of an automation, which may use what is given besides the document. All conditions of one document
    /// are of the same kind.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position.
    pub fn predicate_given(&mut self, value: &Value) -> Result<Predicate, PredicateError> {
        self.condition(value, true)
    }

    fn condition(&mut self, value: &Value, given: bool) -> Result<Predicate, PredicateError> {
        let key = value.to_string();
        if let Some(known) = self.conditions.get(&key) {
            return known.clone();
        }
        let most = self.limits.predicates;
        let made = Predicate::compile(value, most, &mut |text| self.pattern(true, text), given);
        self.conditions.insert(key, made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: CompileLimits = CompileLimits { patterns: 3, pattern_bytes: 8 * 1024, predicates: 5 };

    #[test]
    fn a_pattern_that_stands_in_many_places_counts_once() {
        let mut compiler = Compiler::new(LIMITS);
        for _ in 0..100 {
            assert!(compiler.whole("a+").is_ok() && compiler.within("a+").is_ok());
            assert!(compiler.predicate(&json!({ "path": "/a", "matches": "b" })).is_ok());
        }
        assert!(compiler.whole("c").unwrap_err().contains("limits.patterns"));
        assert!(compiler.whole("a+").is_ok(), "known ones stay");
    }

    #[test]
    fn large_patterns_use_up_the_bytes() {
        let mut compiler = Compiler::new(LIMITS);
        assert!(compiler.whole("a{200}").is_ok());
        assert!(compiler.whole("b").unwrap_err().contains("limits.pattern_bytes"));
    }

    #[test]
    fn predicates_are_counted_in_the_whole_tree() {
        let leaf = |n: usize| json!({ "path": "/a", "eq": n });
        let list = |n: usize| (0..n).map(leaf).collect::<Value>();
        let mut compiler = Compiler::new(LIMITS);
        assert!(compiler.predicate(&json!({ "any": list(4) })).is_ok());
        let error = compiler.predicate(&json!({ "all": [leaf(9), { "any": list(4) }] })).unwrap_err();
        assert!(error.message.contains("limits.predicates"), "{error}");
    }
}
