//! Predicates: a small typed JSON form, no scripting language.
//!
//! | form | holds when |
//! |---|---|
//! | `{"path": "/status", "eq": "open"}` | a value there equals this one |
//! | `{"path": "/status", "ne": "open"}` | no value there does: the opposite of `eq`, also if there is no value |
//! | `{"path": "/n", "in": [1, 2]}` | a value there is one of these |
//! | `{"path": "/tags/0", "exists": true}` | a value there is not null |
//! | `{"path": "/code", "matches": "RATE.*"}` | a text, number or boolean there matches as a whole |
//! | `{"path": "/tags", "contains": "a"}` | an array there has this element, or a text this part |
//! | `{"path": "/n", "gt": 5}`, `gte`, `lt`, `lte` | a number there, or a text that is one, compares so |
//! | `{"all": […]}`, `{"any": […]}`, `{"not": {…}}` | each, one, or it does not; a list stands for `all` |
//!
//! Paths are those of [`crate::path`]: with a `*`, a predicate holds if it does for one of
//! the values. Numbers are equal by value: `1` is `1.0`.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::budget::{Budget, Exceeded};
use crate::given::Given;
use crate::path::Path;
use crate::pattern::Pattern;
use crate::scalar::compare;

mod given;

/// Deepest nesting. A condition that needs more belongs in a program.
const DEPTH_MAX: usize = 8;
/// Maximum predicates of one list.
const ITEMS_MAX: usize = 64;

const FORMS: &str = "must be {path, eq|ne|in|exists|matches|contains|gt|gte|lt|lte}, {all}, {any} or {not}";

/// A parsed predicate: paths parsed and patterns compiled, so that it can be evaluated often.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Arc<Node>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    At(Path, Test),
    Given(Box<given::GivenTest>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Eq(Value),
    Ne(Value),
    In(Vec<Value>),
    Exists(bool),
    Matches(Pattern),
    Contains(Value),
    /// The accepted results of comparing the found number with this one.
    Compare(&'static [Ordering], Number),
}

/// Why a value is not a predicate, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct PredicateError {
    /// JSON pointer into the predicate.
    pub pointer: String,
    /// What is wrong and the accepted forms.
    pub message: String,
}

impl PredicateError {
    /// The same error, with a pointer into the document that contains the predicate at `place`.
    #[must_use]
    pub fn below(self, place: &str) -> Self {
        Self { pointer: format!("{place}{}", self.pointer), message: self.message }
    }
}

impl Predicate {
    /// Reads a predicate that was checked before, by [`crate::Compiler::predicate`] under the host's limits.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position.
    pub fn parse(value: &Value) -> Result<Self, PredicateError> {
        Self::compile(value, u64::MAX, &mut |text| Pattern::checked_whole(text), false)
    }

    /// As [`Self::parse`], for a condition of an automation, which may use what is given besides the document.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position.
    pub fn parse_given(value: &Value) -> Result<Self, PredicateError> {
        Self::compile(value, u64::MAX, &mut |text| Pattern::checked_whole(text), true)
    }

    /// Reads a condition of at most this number of predicates; `pattern` compiles its patterns, and `given` says whether
    /// it may use what is given besides the document.
    pub(crate) fn compile(
        value: &Value,
        most: u64,
        pattern: Compile<'_>,
        given: bool,
    ) -> Result<Self, PredicateError> {
        let mut reader = Reader { left: most, most, pattern, given };
        reader.parse(value, "", DEPTH_MAX).map(|node| Self(Arc::new(node)))
    }

    /// Whether it holds for a document.
    ///
    /// # Errors
    /// [`Exceeded`] if finding out would cost more than is left.
    pub fn holds(&self, document: &Value, budget: &Budget) -> Result<bool, Exceeded> {
        self.0.holds(document, &[], budget)
    }

    /// Whether it holds for a document, with what is given besides.
    ///
    /// # Errors
    /// As [`Self::holds`].
    pub fn holds_given(&self, document: &Value, given: Given<'_>, budget: &Budget) -> Result<bool, Exceeded> {
        self.0.holds(document, given, budget)
    }

    /// The variables that it uses of what is given, such as `workspace.values.owner`.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.0.given(&mut found);
        found
    }

    /// Whether it looks at members of the document, and not only at the whole of it.
    #[must_use]
    pub fn reads_members(&self) -> bool {
        self.0.reads_members()
    }

    /// Whether it holds for an object with these members.
    ///
    /// # Errors
    /// As [`Self::holds`].
    pub fn holds_for_members(&self, members: &Map<String, Value>, budget: &Budget) -> Result<bool, Exceeded> {
        // Why a copy: a path needs a value to start from, and headers are few and bounded.
        self.holds(&Value::Object(members.clone()), budget)
    }
}

/// How patterns are compiled.
type Compile<'c> = &'c mut dyn FnMut(&str) -> Result<Pattern, String>;

impl Node {
    fn reads_members(&self) -> bool {
        match self {
            Self::At(path, _) => !path.is_whole(),
            Self::Given(_) => false,
            Self::All(list) | Self::Any(list) => list.iter().any(Self::reads_members),
            Self::Not(inner) => inner.reads_members(),
        }
    }

    fn holds(&self, document: &Value, given: Given<'_>, budget: &Budget) -> Result<bool, Exceeded> {
        budget.step(1)?;
        match self {
            Self::At(path, test) => test.holds(path, document, budget),
            Self::Given(test) => test.holds(document, given, budget),
            Self::All(list) => first(list, document, given, budget, false).map(|found| !found),
            Self::Any(list) => first(list, document, given, budget, true),
            Self::Not(inner) => Ok(!inner.holds(document, given, budget)?),
        }
    }

    fn given(&self, found: &mut Vec<String>) {
        match self {
            Self::At(..) => {}
            Self::Given(test) => test.variables(found),
            Self::All(list) | Self::Any(list) => list.iter().for_each(|node| node.given(found)),
            Self::Not(inner) => inner.given(found),
        }
    }
}

/// Whether one of these predicates has this result.
fn first(
    list: &[Node],
    document: &Value,
    given: Given<'_>,
    budget: &Budget,
    wanted: bool,
) -> Result<bool, Exceeded> {
    for node in list {
        if node.holds(document, given, budget)? == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Test {
    fn holds(&self, path: &Path, document: &Value, budget: &Budget) -> Result<bool, Exceeded> {
        let equal = |found: &Value, wanted: &Value| same_within(found, wanted, budget);
        match self {
            Self::Eq(wanted) => path.any(document, budget, |found| equal(found, wanted)),
            Self::Ne(wanted) => path.any(document, budget, |found| equal(found, wanted)).map(|any| !any),
            Self::In(list) => path.any(document, budget, |found| one_is(list, found, budget)),
            Self::Exists(wanted) => Ok(path.any(document, budget, |found| Ok(!found.is_null()))? == *wanted),
            Self::Matches(pattern) => path.any(document, budget, |found| match found {
                Value::String(text) => pattern.matches_within(text, budget),
                Value::Number(_) | Value::Bool(_) => pattern.matches_within(&found.to_string(), budget),
                _ => Ok(false),
            }),
            Self::Contains(wanted) => path.any(document, budget, |found| match (found, wanted) {
                (Value::String(text), Value::String(part)) => {
                    budget.step(text.len() as u64)?;
                    Ok(text.contains(part.as_str()))
                }
                (Value::Array(items), _) => one_is(items, wanted, budget),
                _ => Ok(false),
            }),
            Self::Compare(accepted, limit) => path.any(document, budget, |found| {
                let number = match found {
                    Value::Number(number) => Some(number.clone()),
                    // Why: header values are text.
                    Value::String(text) => {
                        budget.step(text.len() as u64)?;
                        text.trim().parse().ok()
                    }
                    _ => None,
                };
                Ok(number.and_then(|number| compare(&number, limit)).is_some_and(|o| accepted.contains(&o)))
            }),
        }
    }
}

/// Whether one of these values is that one.
fn one_is(list: &[Value], value: &Value, budget: &Budget) -> Result<bool, Exceeded> {
    for item in list {
        if same_within(item, value, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`same`], within a budget: comparing costs what the smaller value has.
fn same_within(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Exceeded> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => budget.step(1 + a.len().min(b.len()) as u64)?,
        (Value::Array(a), Value::Array(b)) => {
            budget.step(1)?;
            if a.len() != b.len() {
                return Ok(false);
            }
            a.iter().try_for_each(|item| weigh(item, budget))?;
        }
        (Value::Object(a), Value::Object(b)) => {
            budget.step(1)?;
            if a.len() != b.len() {
                return Ok(false);
            }
            a.values().try_for_each(|item| weigh(item, budget))?;
        }
        _ => budget.step(1)?,
    }
    Ok(same(a, b))
}

/// Asks for a step for each value and each byte of text in a value.
fn weigh(value: &Value, budget: &Budget) -> Result<(), Exceeded> {
    match value {
        Value::String(text) => budget.step(1 + text.len() as u64),
        Value::Array(items) => {
            budget.step(1)?;
            items.iter().try_for_each(|item| weigh(item, budget))
        }
        Value::Object(map) => {
            budget.step(1)?;
            map.iter().try_for_each(|(name, item)| {
                budget.step(name.len() as u64)?;
                weigh(item, budget)
            })
        }
        _ => budget.step(1),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// Reads the predicates of one condition.
struct Reader<'c> {
    /// Predicates that may still come.
    left: u64,
    most: u64,
    pattern: Compile<'c>,
    /// Whether it may use what is given besides the document.
    given: bool,
}

impl Reader<'_> {
    fn parse(&mut self, value: &Value, at: &str, depth: usize) -> Result<Node, PredicateError> {
        let wrong = |message: String| PredicateError { pointer: at.to_owned(), message };
        let depth = depth.checked_sub(1).ok_or_else(|| wrong("is nested too deeply".to_owned()))?;
        if let Value::Array(items) = value {
            return self.list(items, at, depth).map(Node::All);
        }
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| PredicateError {
            pointer: String::new(),
            message: format!("has more than {} predicates (limits.predicates)", self.most),
        })?;
        let map = value.as_object().ok_or_else(|| wrong("must be an object or a list".to_owned()))?;
        let mut members = map.iter();
        match (members.next(), members.next(), members.next()) {
            (Some((name, inner)), None, None) => self.group(name, inner, at, depth),
            (Some(_), Some(_), None) => self.test(map).map_err(wrong),
            _ => Err(wrong(FORMS.to_owned())),
        }
    }

    fn test(&mut self, map: &Map<String, Value>) -> Result<Node, String> {
        if self.given
            && let Some(test) = given::read(map, self.pattern)?
        {
            return Ok(Node::Given(Box::new(test)));
        }
        test(map, self.pattern)
    }

    fn group(&mut self, name: &str, inner: &Value, at: &str, depth: usize) -> Result<Node, PredicateError> {
        let wrong = |message: String| PredicateError { pointer: at.to_owned(), message };
        let items = || inner.as_array().ok_or_else(|| wrong(format!("{name} must be a list")));
        match name {
            "all" => self.list(items()?, &format!("{at}/all"), depth).map(Node::All),
            "any" => self.list(items()?, &format!("{at}/any"), depth).map(Node::Any),
            "not" => self.parse(inner, &format!("{at}/not"), depth).map(|node| Node::Not(Box::new(node))),
            _ => Err(wrong(FORMS.to_owned())),
        }
    }

    fn list(&mut self, items: &[Value], at: &str, depth: usize) -> Result<Vec<Node>, PredicateError> {
        if items.len() > ITEMS_MAX {
            let message = format!("has {} entries, the limit is {ITEMS_MAX}", items.len());
            return Err(PredicateError { pointer: at.to_owned(), message });
        }
        items.iter().enumerate().map(|(i, item)| self.parse(item, &format!("{at}/{i}"), depth)).collect()
    }
}

fn test(map: &Map<String, Value>, pattern: Compile<'_>) -> Result<Node, String> {
    let path = map.get("path").ok_or(FORMS)?;
    let (name, value) = map.iter().find(|(name, _)| *name != "path").ok_or(FORMS)?;
    let path = path
        .as_str()
        .and_then(Path::parse)
        .ok_or("path must be a JSON pointer such as /status, where * is every element")?;
    let compare = |accepted| match value {
        Value::Number(limit) => Ok(Test::Compare(accepted, limit.clone())),
        _ => Err(format!("{name} must be a number")),
    };
    let test = match name.as_str() {
        "eq" => Test::Eq(value.clone()),
        // Why: it would hold for absent values, which is never intended.
        "ne" if value.is_null() => return Err("ne must not be null; write exists: true".to_owned()),
        "ne" => Test::Ne(value.clone()),
        "in" => Test::In(value.as_array().ok_or("in must be a list")?.clone()),
        "exists" => Test::Exists(value.as_bool().ok_or("exists must be true or false")?),
        "matches" => {
            let text = value.as_str().ok_or("matches must be a regular expression")?;
            Test::Matches(pattern(text).map_err(|why| format!("matches {why}"))?)
        }
        "contains" => Test::Contains(value.clone()),
        "gt" => compare(&[Ordering::Greater])?,
        "gte" => compare(&[Ordering::Greater, Ordering::Equal])?,
        "lt" => compare(&[Ordering::Less])?,
        "lte" => compare(&[Ordering::Less, Ordering::Equal])?,
        _ => return Err(FORMS.to_owned()),
    };
    Ok(Node::At(path, test))
}

#[cfg(test)]
mod tests;
