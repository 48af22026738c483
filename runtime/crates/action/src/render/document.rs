//! A body document under construction: given values stay borrowed, only containers that combine
//! several sources are taken apart.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json::{self, Object};
use crate::plan::InputPlan;

/// Comparisons of names above which two objects are merged by a table.
const PAIRS_MAX: usize = 4096;

/// A value of the document.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// A given value, and the input that gave it.
    Leaf(Cow<'a, Value>, Option<&'a InputPlan>),
    /// The same as compact JSON text, which is parsed when something is put into it.
    Text(&'a str, Option<&'a InputPlan>),
    /// Members in order of appearance.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
    /// Entries.
    Array(Vec<Node<'a>>),
}

/// Why a value cannot be put at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    /// The position, or one before it, holds a value without members.
    #[error("has a position in the body that already holds another value")]
    Taken,
    /// An index beyond the end of an array.
    #[error("has a position in the body with an array index that leaves a gap")]
    Gap,
    /// A name used as an index of an array.
    #[error("has a position in the body that names a member of an array; write its index")]
    NotAnIndex,
}

impl<'a> Node<'a> {
    /// An object without members.
    pub(super) const fn empty() -> Self {
        Self::Object(Vec::new())
    }

    /// A member of the call's input, with its plan.
    pub(super) fn given(input: Object<'a>, name: &str, origin: Option<&'a InputPlan>) -> Option<Self> {
        match input {
            Object::Map(map) => map.get(name).map(|value| Self::Leaf(Cow::Borrowed(value), origin)),
            Object::Members(members) => members.get(name).map(|text| Self::Text(text, origin)),
        }
    }

    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Leaf(Cow::Owned(Value::String(text.to_owned())), None)
    }

    /// Whether it is an object without members.
    pub(super) fn is_empty_object(&self) -> bool {
        match self {
            Self::Object(members) => members.is_empty(),
            Self::Leaf(value, _) => value.as_object().is_some_and(Map::is_empty),
            Self::Text(text, _) => *text == "{}",
            Self::Array(_) => false,
        }
    }

    /// Whether it is an array or object.
    pub(super) fn is_container(&self) -> bool {
        match self {
            Self::Leaf(value, _) => value.is_array() || value.is_object(),
            Self::Text(text, _) => text.starts_with(['{', '[']),
            Self::Object(_) | Self::Array(_) => true,
        }
    }

    /// The input that gave the value.
    pub(super) const fn origin(&self) -> Option<&'a InputPlan> {
        match self {
            Self::Leaf(_, origin) | Self::Text(_, origin) => *origin,
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    /// A given array or object taken apart by one level; anything else unchanged.
    pub(super) fn expanded(self) -> Self {
        match self {
            Self::Text(text, origin) if self.is_container() => {
                Self::Leaf(Cow::Owned(json::read(text)), origin).expanded()
            }
            Self::Leaf(Cow::Borrowed(Value::Object(map)), origin) => {
                let member = |(name, value)| (Cow::from(name), Self::Leaf(Cow::Borrowed(value), origin));
                Self::Object(map.iter().map(|(name, value)| member((name.as_str(), value))).collect())
            }
            Self::Leaf(Cow::Owned(Value::Object(map)), origin) => Self::Object(
                map.into_iter()
                    .map(|(name, value)| (Cow::Owned(name), Self::Leaf(Cow::Owned(value), origin)))
                    .collect(),
            ),
            Self::Leaf(Cow::Borrowed(Value::Array(items)), origin) => {
                Self::Array(items.iter().map(|value| Self::Leaf(Cow::Borrowed(value), origin)).collect())
            }
            Self::Leaf(Cow::Owned(Value::Array(items)), origin) => {
                Self::Array(items.into_iter().map(|value| Self::Leaf(Cow::Owned(value), origin)).collect())
            }
            other => other,
        }
    }

    fn expand(&mut self) {
        if matches!(self, Self::Leaf(..) | Self::Text(..)) && self.is_container() {
            *self = std::mem::replace(self, Self::empty()).expanded();
        }
    }

    /// Puts a value at the position of these steps. Missing containers are
    /// created; two objects at one position are merged; nothing is overwritten.
    pub(super) fn place(&mut self, steps: &'a [String], node: Self) -> Result<(), Conflict> {
        let Some((step, rest)) = steps.split_first() else {
            return self.merge(node);
        };
        self.expand();
        match self {
            Self::Object(members) => match members.iter_mut().find(|(name, _)| name == step) {
                Some((_, child)) => child.place(rest, node),
                None => {
                    members.push((Cow::Borrowed(step), Self::nested(rest, node)?));
                    Ok(())
                }
            },
            Self::Array(items) => {
                let index = index_of(step).ok_or(Conflict::NotAnIndex)?;
                let length = items.len();
                match items.get_mut(index) {
                    Some(child) => child.place(rest, node),
                    None if index == length => {
                        items.push(Self::nested(rest, node)?);
                        Ok(())
                    }
                    None => Err(Conflict::Gap),
                }
            }
            Self::Leaf(..) | Self::Text(..) => Err(Conflict::Taken),
        }
    }

    /// Whether there is a value at that position.
    pub(super) fn has(&self, steps: &[String]) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            return true;
        };
        match self {
            Self::Object(members) => {
                members.iter().find(|(name, _)| name == step).is_some_and(|(_, child)| child.has(rest))
            }
            Self::Array(items) => {
                index_of(step).and_then(|index| items.get(index)).is_some_and(|c| c.has(rest))
            }
            Self::Leaf(value, _) => is_in(value, steps),
            Self::Text(text, _) => is_in(&json::read(text), steps),
        }
    }

    /// The document as compact JSON.
    pub(super) fn to_text(&self) -> String {
        // Why: most bodies fit; the buffer grows for others.
        let mut out = String::with_capacity(512);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text, _) => out.push_str(text),
            Self::Leaf(value, _) => match value.as_ref() {
                Value::String(text) => json::push_string(text, out),
                value => out.push_str(&value.to_string()),
            },
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    json::push_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (index, value) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
        }
    }

    fn merge(&mut self, node: Self) -> Result<(), Conflict> {
        self.expand();
        let (Self::Object(members), Self::Object(others)) = (self, node.expanded()) else {
            return Err(Conflict::Taken);
        };
        if members.len().saturating_mul(others.len()) > PAIRS_MAX {
            return merge_many(members, others);
        }
        for (name, value) in others {
            match members.iter_mut().find(|(other, _)| *other == name) {
                Some((_, child)) => child.merge(value)?,
                None => members.push((name, value)),
            }
        }
        Ok(())
    }

    /// New containers around a value, from the inside out.
    fn nested(steps: &'a [String], node: Self) -> Result<Self, Conflict> {
        steps.iter().rev().try_fold(node, |node, step| match index_of(step) {
            Some(0) => Ok(Self::Array(vec![node])),
            Some(_) => Err(Conflict::Gap),
            None => Ok(Self::Object(vec![(Cow::Borrowed(step.as_str()), node)])),
        })
    }
}

/// Merges objects of many members by a table of their names.
fn merge_many<'a>(
    members: &mut Vec<(Cow<'a, str>, Node<'a>)>,
    others: Vec<(Cow<'a, str>, Node<'a>)>,
) -> Result<(), Conflict> {
    let mut known: BTreeMap<Cow<'a, str>, usize> =
        members.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
    for (name, value) in others {
        match known.get(&name).and_then(|index| members.get_mut(*index)) {
            Some((_, child)) => child.merge(value)?,
            None => {
                known.insert(name.clone(), members.len());
                members.push((name, value));
            }
        }
    }
    Ok(())
}

/// An array index in the form of RFC 6901 section 4: no sign, no leading zero.
fn index_of(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with('0');
    (plain && step.bytes().all(|b| b.is_ascii_digit())).then(|| step.parse().ok()).flatten()
}

fn is_in(value: &Value, steps: &[String]) -> bool {
    steps
        .iter()
        .try_fold(value, |value, step| match value {
            Value::Object(map) => map.get(step),
            Value::Array(items) => index_of(step).and_then(|index| items.get(index)),
            _ => None,
        })
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place_all(base: &Value, places: &[(&str, Value)]) -> Result<Value, Conflict> {
        let places: Vec<(Vec<String>, Value)> = places
            .iter()
            .map(|(path, value)| (path.split('/').map(str::to_owned).collect(), value.clone()))
            .collect();
        let mut document = Node::Leaf(Cow::Borrowed(base), None);
        for (steps, value) in &places {
            let had = document.has(steps);
            document.place(steps, Node::Leaf(Cow::Borrowed(value), None))?;
            assert!(document.has(steps));
            assert!(!had || value.is_object(), "only objects may meet");
        }
        Ok(serde_json::from_str(&document.to_text()).unwrap())
    }

    #[test]
    fn containers_are_made_and_shared() {
        for (base, places, expected) in [
            (
                json!({}),
                vec![("a/b/c", json!(1)), ("a/b/d", json!(2)), ("e", json!([]))],
                json!({ "a": { "b": { "c": 1, "d": 2 } }, "e": [] }),
            ),
            (
                json!({}),
                vec![("p/0/to/0/email", json!("x")), ("p/0/to/1/email", json!("y")), ("p/0/n", json!(1))],
                json!({ "p": [{ "to": [{ "email": "x" }, { "email": "y" }], "n": 1 }] }),
            ),
            (
                json!({ "f": { "k": { "z": 1 }, "l": [1] } }),
                vec![("f", json!({ "s": 1, "k": { "y": 2 } })), ("f/l/1", json!(2))],
                json!({ "f": { "k": { "z": 1, "y": 2 }, "l": [1, 2], "s": 1 } }),
            ),
            // A step of digits is a member where an object exists already; `01` always is.
            (json!({ "a": {} }), vec![("a/0", json!(1))], json!({ "a": { "0": 1 } })),
            (json!({}), vec![("a/01", json!(1))], json!({ "a": { "01": 1 } })),
            (json!([{}]), vec![("0/a", json!(1)), ("1", json!(2))], json!([{ "a": 1 }, 2])),
        ] {
            assert_eq!(place_all(&base, &places), Ok(expected));
        }
    }

    #[test]
    fn nothing_is_overwritten_and_no_gap_is_left() {
        for (base, place, value, expected) in [
            (json!({ "a": 1 }), "a", json!(2), Conflict::Taken),
            (json!({ "a": 1 }), "a", json!({}), Conflict::Taken),
            (json!({ "a": null }), "a/b", json!(1), Conflict::Taken),
            (json!({ "a": { "b": 1 } }), "a", json!({ "b": 1 }), Conflict::Taken),
            (json!({ "a": [1] }), "a", json!([2]), Conflict::Taken),
            (json!({ "a": [1] }), "a/0", json!(2), Conflict::Taken),
            (json!({ "a": [1] }), "a/2", json!(2), Conflict::Gap),
            (json!({}), "a/1", json!(2), Conflict::Gap),
            (json!({ "a": [] }), "a/b", json!(2), Conflict::NotAnIndex),
            (json!([]), "a", json!(2), Conflict::NotAnIndex),
        ] {
            assert_eq!(place_all(&base, &[(place, value)]), Err(expected), "{base} {place}");
        }
    }
}
