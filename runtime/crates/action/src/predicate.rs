//! Predicates: a small typed JSON form, no scripting language.
//!
//! `{"path": "/status", "eq": "open"}`, `{"path": "/tags/0", "exists": true}`,
//! `{"path": "/n", "in": [1, 2]}`, and `{"all": [...]}`, `{"any": [...]}`, `{"not": {...}}` around
//! them. A list stands for `all`. Paths are JSON pointers (RFC 6901).

use serde_json::Value;

/// Deepest nesting. A condition that needs more belongs in a program.
const DEPTH_MAX: usize = 8;
/// Most predicates of one list.
const ITEMS_MAX: usize = 64;

/// A parsed predicate.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// The value there equals this one.
    Eq(String, Value),
    /// The value there is one of these.
    In(String, Vec<Value>),
    /// Whether there is a value that is not null.
    Exists(String, bool),
    /// Every one holds; true when there is none.
    All(Vec<Predicate>),
    /// One holds; false when there is none.
    Any(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

/// Why a value is not a predicate, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredicateError {
    /// JSON pointer into the predicate.
    pub pointer: String,
    /// What is wrong and the accepted forms.
    pub message: String,
}

impl Predicate {
    /// Reads a predicate.
    ///
    /// # Errors
    /// [`PredicateError`] naming the place.
    pub fn parse(value: &Value) -> Result<Self, PredicateError> {
        parse(value, "", DEPTH_MAX)
    }

    /// Whether it holds for a document.
    #[must_use]
    pub fn holds(&self, document: &Value) -> bool {
        match self {
            Self::Eq(path, value) => document.pointer(path) == Some(value),
            Self::In(path, values) => document.pointer(path).is_some_and(|found| values.contains(found)),
            Self::Exists(path, wanted) => document.pointer(path).is_some_and(|v| !v.is_null()) == *wanted,
            Self::All(list) => list.iter().all(|p| p.holds(document)),
            Self::Any(list) => list.iter().any(|p| p.holds(document)),
            Self::Not(inner) => !inner.holds(document),
        }
    }
}

fn parse(value: &Value, at: &str, depth: usize) -> Result<Predicate, PredicateError> {
    let wrong = |message: &str| PredicateError { pointer: at.to_owned(), message: message.to_owned() };
    let depth = depth.checked_sub(1).ok_or_else(|| wrong("is nested too deeply"))?;
    if let Value::Array(items) = value {
        return list(items, at, depth).map(Predicate::All);
    }
    let map = value.as_object().ok_or_else(|| wrong("must be an object or a list"))?;
    let names: Vec<&str> = map.keys().map(String::as_str).collect();
    let member = |name: &str| map.get(name).unwrap_or(&Value::Null);
    let path = || {
        let text = member("path").as_str().ok_or_else(|| wrong("path must be a JSON pointer"))?;
        let pointer = text.is_empty() || text.starts_with('/');
        if pointer { Ok(text.to_owned()) } else { Err(wrong("path must be a JSON pointer such as /status")) }
    };
    let array = |name: &str| member(name).as_array().ok_or_else(|| wrong(&format!("{name} must be a list")));
    match names.as_slice() {
        ["all"] => list(array("all")?, &format!("{at}/all"), depth).map(Predicate::All),
        ["any"] => list(array("any")?, &format!("{at}/any"), depth).map(Predicate::Any),
        ["not"] => parse(member("not"), &format!("{at}/not"), depth).map(|p| Predicate::Not(Box::new(p))),
        ["path", "eq"] | ["eq", "path"] => Ok(Predicate::Eq(path()?, member("eq").clone())),
        ["path", "in"] | ["in", "path"] => Ok(Predicate::In(path()?, array("in")?.clone())),
        ["path", "exists"] | ["exists", "path"] => {
            let wanted = member("exists").as_bool().ok_or_else(|| wrong("exists must be true or false"))?;
            Ok(Predicate::Exists(path()?, wanted))
        }
        _ => Err(wrong("must be {path, eq}, {path, in}, {path, exists}, {all}, {any} or {not}")),
    }
}

fn list(items: &[Value], at: &str, depth: usize) -> Result<Vec<Predicate>, PredicateError> {
    if items.len() > ITEMS_MAX {
        let message = format!("has {} entries, the limit is {ITEMS_MAX}", items.len());
        return Err(PredicateError { pointer: at.to_owned(), message });
    }
    items.iter().enumerate().map(|(i, item)| parse(item, &format!("{at}/{i}"), depth)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_holds_and_does_not_hold() {
        let document = json!({ "status": "open", "n": 5, "tags": ["a"], "none": null });
        for (predicate, expected) in [
            (json!({ "path": "/status", "eq": "open" }), true),
            (json!({ "path": "/status", "eq": "closed" }), false),
            (json!({ "path": "/missing", "eq": null }), false),
            (json!({ "path": "/n", "in": [4, 5] }), true),
            (json!({ "path": "/n", "in": ["5"] }), false),
            (json!({ "path": "/tags/0", "exists": true }), true),
            (json!({ "path": "/none", "exists": true }), false),
            (json!({ "path": "/none", "exists": false }), true),
            (json!({ "not": { "path": "/n", "eq": 5 } }), false),
            (json!({ "any": [{ "path": "/n", "eq": 1 }, { "path": "/n", "eq": 5 }] }), true),
            (json!({ "any": [] }), false),
            (json!([{ "path": "/n", "eq": 5 }, { "path": "/status", "eq": "x" }]), false),
            (json!([]), true),
        ] {
            assert_eq!(Predicate::parse(&predicate).unwrap().holds(&document), expected, "{predicate}");
        }
    }

    #[test]
    fn what_is_no_predicate_is_named_with_its_place() {
        for (predicate, pointer) in [
            (json!("x"), ""),
            (json!({ "path": "status", "eq": 1 }), ""),
            (json!({ "path": "/a", "eq": 1, "in": [] }), ""),
            (json!({ "path": "/a", "matches": "x" }), ""),
            (json!({ "all": [{ "path": "/a", "eq": 1 }, { "eval": "1" }] }), "/all/1"),
            (json!({ "not": { "path": "/a", "exists": 1 } }), "/not"),
        ] {
            assert_eq!(Predicate::parse(&predicate).unwrap_err().pointer, pointer, "{predicate}");
        }
        let mut deep = json!({ "path": "/a", "eq": 1 });
        for _ in 0..DEPTH_MAX {
            deep = json!({ "not": deep });
        }
        assert!(Predicate::parse(&deep).is_err());
    }
}
