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

use serde_json::{Map, Number, Value};

use crate::path::Path;
use crate::pattern::Pattern;

/// Deepest nesting. A condition that needs more belongs in a program.
const DEPTH_MAX: usize = 8;
/// Maximum predicates of one list.
const ITEMS_MAX: usize = 64;

const FORMS: &str = "must be {path, eq|ne|in|exists|matches|contains|gt|gte|lt|lte}, {all}, {any} or {not}";

/// A parsed predicate: paths parsed and patterns compiled, so that it can be evaluated often.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    At(Path, Test),
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
    /// Reads a predicate.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position.
    pub fn parse(value: &Value) -> Result<Self, PredicateError> {
        parse(value, "", DEPTH_MAX).map(Self)
    }

    /// Whether it holds for a document.
    #[must_use]
    pub fn holds(&self, document: &Value) -> bool {
        self.0.holds(document)
    }

    /// Whether it holds for an object with these members.
    #[must_use]
    pub fn holds_for_members(&self, members: &Map<String, Value>) -> bool {
        // Why a copy: a path needs a value to start from, and headers are few and bounded.
        self.holds(&Value::Object(members.clone()))
    }
}

impl Node {
    fn holds(&self, document: &Value) -> bool {
        match self {
            Self::At(path, test) => test.holds(path, document),
            Self::All(list) => list.iter().all(|p| p.holds(document)),
            Self::Any(list) => list.iter().any(|p| p.holds(document)),
            Self::Not(inner) => !inner.holds(document),
        }
    }
}

impl Test {
    fn holds(&self, path: &Path, document: &Value) -> bool {
        match self {
            Self::Eq(wanted) => path.any(document, |found| same(found, wanted)),
            Self::Ne(wanted) => !path.any(document, |found| same(found, wanted)),
            Self::In(list) => path.any(document, |found| list.iter().any(|wanted| same(found, wanted))),
            Self::Exists(wanted) => path.any(document, |found| !found.is_null()) == *wanted,
            Self::Matches(pattern) => path.any(document, |found| match found {
                Value::String(text) => pattern.matches(text),
                Value::Number(_) | Value::Bool(_) => pattern.matches(&found.to_string()),
                _ => false,
            }),
            Self::Contains(wanted) => path.any(document, |found| match (found, wanted) {
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                (Value::Array(items), _) => items.iter().any(|item| same(item, wanted)),
                _ => false,
            }),
            Self::Compare(accepted, limit) => path.any(document, |found| {
                let number = match found {
                    Value::Number(number) => Some(number.clone()),
                    // Why: header values are text.
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                number.and_then(|number| compare(&number, limit)).is_some_and(|o| accepted.contains(&o))
            }),
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// Whole numbers are compared exactly, whatever their size.
fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn parse(value: &Value, at: &str, depth: usize) -> Result<Node, PredicateError> {
    let wrong = |message: &str| PredicateError { pointer: at.to_owned(), message: message.to_owned() };
    let depth = depth.checked_sub(1).ok_or_else(|| wrong("is nested too deeply"))?;
    if let Value::Array(items) = value {
        return list(items, at, depth).map(Node::All);
    }
    let map = value.as_object().ok_or_else(|| wrong("must be an object or a list"))?;
    let mut members = map.iter();
    match (members.next(), members.next(), members.next()) {
        (Some((name, inner)), None, None) => group(name, inner, at, depth),
        (Some(_), Some(_), None) => test(map).map_err(|message| wrong(&message)),
        _ => Err(wrong(FORMS)),
    }
}

fn group(name: &str, inner: &Value, at: &str, depth: usize) -> Result<Node, PredicateError> {
    let wrong = |message: String| PredicateError { pointer: at.to_owned(), message };
    let items = || inner.as_array().ok_or_else(|| wrong(format!("{name} must be a list")));
    match name {
        "all" => list(items()?, &format!("{at}/all"), depth).map(Node::All),
        "any" => list(items()?, &format!("{at}/any"), depth).map(Node::Any),
        "not" => parse(inner, &format!("{at}/not"), depth).map(|node| Node::Not(Box::new(node))),
        _ => Err(wrong(FORMS.to_owned())),
    }
}

fn test(map: &Map<String, Value>) -> Result<Node, String> {
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
            Test::Matches(Pattern::whole(text).map_err(|why| format!("matches {why}"))?)
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

fn list(items: &[Value], at: &str, depth: usize) -> Result<Vec<Node>, PredicateError> {
    if items.len() > ITEMS_MAX {
        let message = format!("has {} entries, the limit is {ITEMS_MAX}", items.len());
        return Err(PredicateError { pointer: at.to_owned(), message });
    }
    items.iter().enumerate().map(|(i, item)| parse(item, &format!("{at}/{i}"), depth)).collect()
}

#[cfg(test)]
mod tests;
