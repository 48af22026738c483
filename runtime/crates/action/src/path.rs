//! Paths into a JSON document: JSON pointers (RFC 6901) whose step `*` stands for every element of
//! an array or member of an object.
//!
//! A path is parsed once and followed often. Following it touches each node of the document at most
//! once, so the cost of a wildcard is bounded by the size of the document.

use serde_json::Value;

use crate::budget::{Budget, Exceeded};

/// Longest path, bytes.
pub const PATH_BYTES_MAX: usize = 400;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// `*`
    Every,
    /// A member's name, and the array index that it stands for.
    Named { name: String, index: Option<usize> },
}

impl Path {
    /// Parses a path; `None` if it is neither empty nor begins with `/`, or is too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            return None;
        }
        if text.is_empty() {
            return Some(Self { steps: Vec::new() });
        }
        let steps = text.strip_prefix('/')?.split('/').map(step).collect();
        Some(Self { steps })
    }

    /// Whether it is the path of the whole document.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether `holds` is true for one of the values at the path. Every value on the way is a step.
    ///
    /// # Errors
    /// [`Exceeded`] of the budget, or of `holds`.
    pub fn any<'v>(
        &self,
        document: &'v Value,
        budget: &Budget,
        mut holds: impl FnMut(&'v Value) -> Result<bool, Exceeded>,
    ) -> Result<bool, Exceeded> {
        follow(&self.steps, document, budget, &mut holds)
    }

    /// The first value at the path that is not null.
    ///
    /// # Errors
    /// [`Exceeded`] of the budget.
    pub fn find<'v>(&self, document: &'v Value, budget: &Budget) -> Result<Option<&'v Value>, Exceeded> {
        let mut first = None;
        self.any(document, budget, |value| {
            if !value.is_null() {
                first = Some(value);
            }
            Ok(first.is_some())
        })?;
        Ok(first)
    }

    /// As [`Self::find`], where the document's size is bound enough.
    #[must_use]
    pub fn first<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.find(document, &Budget::unlimited()).unwrap_or_default()
    }
}

/// The first value at `path` that is not null; `None` also for a text that is not a path.
#[must_use]
pub fn first<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    Path::parse(path)?.first(document)
}

fn step(text: &str) -> Step {
    if text == "*" {
        return Step::Every;
    }
    let canonical = text == "0" || !text.starts_with('0');
    let index = if canonical && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
    // Why this order: `~01` is the name `~1` (RFC 6901 section 4).
    Step::Named { name: text.replace("~1", "/").replace("~0", "~"), index }
}

fn follow<'v>(
    steps: &[Step],
    value: &'v Value,
    budget: &Budget,
    holds: &mut dyn FnMut(&'v Value) -> Result<bool, Exceeded>,
) -> Result<bool, Exceeded> {
    budget.step(1)?;
    let Some((step, rest)) = steps.split_first() else {
        return holds(value);
    };
    let mut below = |item: &'v Value| follow(rest, item, budget, holds);
    match (step, value) {
        (Step::Every, Value::Array(items)) => one_of(items.iter(), &mut below),
        (Step::Every, Value::Object(map)) => one_of(map.values(), &mut below),
        (Step::Named { name, .. }, Value::Object(map)) => map.get(name).map_or(Ok(false), below),
        (Step::Named { index, .. }, Value::Array(items)) => {
            index.and_then(|index| items.get(index)).map_or(Ok(false), below)
        }
        _ => Ok(false),
    }
}

fn one_of<'v>(
    mut items: impl Iterator<Item = &'v Value>,
    holds: &mut impl FnMut(&'v Value) -> Result<bool, Exceeded>,
) -> Result<bool, Exceeded> {
    items.find_map(|item| holds(item).map(|found| found.then_some(true)).transpose()).unwrap_or(Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn without_a_wildcard_a_path_is_a_json_pointer() {
        let document = json!({ "a": [{ "b": 1 }, 2], "": 3, "x/y": 4, "~1": 5, "0": 6, "01": 7 });
        for pointer in
            ["", "/a", "/a/0/b", "/a/1", "/a/01", "/a/-", "/a/+1", "/", "/x~1y", "/~01", "/0", "/01", "/z"]
        {
            assert_eq!(first(&document, pointer), document.pointer(pointer), "{pointer}");
        }
        assert_eq!(first(&document, "a"), None);
        assert_eq!(Path::parse(&format!("/{}", "a".repeat(PATH_BYTES_MAX))), None);
    }

    #[test]
    fn a_star_is_every_element_and_every_member() {
        let document = json!({ "errors": [{ "code": null }, { "code": "A" }, { "code": "B" }],
                               "data": { "one": { "userErrors": [] }, "two": { "userErrors": [1] } } });
        assert_eq!(first(&document, "/errors/*/code"), Some(&json!("A")));
        assert_eq!(first(&document, "/data/*/userErrors/0"), Some(&json!(1)));
        assert_eq!(first(&document, "/data/*/none"), None);
        assert_eq!(first(&document, "/errors/0/code/*"), None);
        let mut seen = Vec::new();
        let path = Path::parse("/errors/*/code").unwrap();
        let seeing = |value: &Value| {
            seen.push(value.clone());
            Ok(false)
        };
        assert_eq!(path.any(&document, &Budget::matching(100), seeing), Ok(false));
        assert_eq!(seen, [json!(null), json!("A"), json!("B")]);
    }

    #[test]
    fn every_value_on_the_way_is_a_step() {
        let document = json!({ "l": [{ "a": 1 }, { "b": 1 }, 3] });
        let path = Path::parse("/l/*/c").unwrap();
        // The document, the list and its three entries.
        assert_eq!(path.find(&document, &Budget::matching(5)), Ok(None));
        assert!(path.find(&document, &Budget::matching(4)).is_err());
    }
}
