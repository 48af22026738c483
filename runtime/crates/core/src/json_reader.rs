//! The reader for JSON from outside: definitions and request bodies.
//!
//! It accepts what `serde_json` accepts, except what `serde_json` decides silently: of duplicate members it keeps
//! the last. Nesting is bounded. An error has a position and never quotes the text, which may contain a secret.
//! Numbers keep their digits. It does not interpret a document. Called by `connector` and by the API; unit
//! tests and the fuzz target `json_reader` compare it with `serde_json`.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::json::push_number;
use crate::limits::Limits;
use crate::violation::{Violation, step};

mod number;

/// Maximum members that are reported: enough to repair a document, few enough for an answer.
const REPORTED_MAX: usize = 100;

/// Size of all pointers after which nothing more is reported. The sender chooses the names, which can be long.
const REPORTED_BYTES_MAX: usize = 64 * 1024;

/// Most characters of a member's name in a message.
const NAME_CHARS_MAX: usize = 80;

/// The one member of the object as which `serde_json` hands over a number whose digits it keeps.
const NUMBER: &str = "$serde_json::private::Number";

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes; 0 is the end of the line before.
        column: usize,
    },
    /// Duplicate members; one violation each, with its pointer.
    #[error("{} duplicate members", .0.len())]
    Duplicates(Vec<Violation>),
    /// It nests deeper than `limits.json_levels`.
    #[error("nests deeper than {levels_max} levels (limits.json_levels)")]
    TooDeep {
        /// Pointer of the first array or object that lies too deep.
        pointer: String,
        levels_max: u64,
    },
}

impl JsonError {
    /// The error's code and message for a validation report: `bad_json`, `duplicate_member` or `too_deep`.
    #[must_use]
    pub fn into_violations(self) -> Vec<Violation> {
        let message = self.to_string();
        match self {
            Self::Syntax { .. } => vec![Violation::new("", "bad_json", message)],
            Self::Duplicates(violations) => violations,
            Self::TooDeep { pointer, .. } => vec![Violation::new(pointer, "too_deep", message)],
        }
    }
}

/// Reads one JSON document.
///
/// # Errors
/// [`JsonError`]: the first syntax error, or, if the text is JSON, every duplicate member.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut place = Place::new(limits.json_levels);
    let value = place.next().deserialize(&mut deserializer);
    finish(value.and_then(|value| deserializer.end().map(|()| value)), place)
}

/// Reads one JSON document, as [`read`] does.
///
/// # Errors
/// As [`read`].
pub fn read_text(text: &str, limits: &Limits) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut place = Place::new(limits.json_levels);
    let value = place.next().deserialize(&mut deserializer);
    finish(value.and_then(|value| deserializer.end().map(|()| value)), place)
}

fn finish(value: serde_json::Result<Value>, place: Place) -> Result<Value, JsonError> {
    match value {
        Ok(value) if place.duplicates.is_empty() => Ok(value),
        Ok(_) => Err(JsonError::Duplicates(place.duplicates)),
        Err(_) if place.is_too_deep => {
            Err(JsonError::TooDeep { pointer: place.pointer, levels_max: place.levels_max })
        }
        Err(error) => Err(JsonError::Syntax { line: error.line(), column: error.column() }),
    }
}

/// The reader's position, and the duplicates found.
struct Place {
    /// Pointer to the value being read.
    pointer: String,
    level: u64,
    levels_max: u64,
    is_too_deep: bool,
    duplicates: Vec<Violation>,
    reported_bytes: usize,
}

impl Place {
    const fn new(levels_max: u64) -> Self {
        Self {
            pointer: String::new(),
            level: 0,
            levels_max,
            is_too_deep: false,
            duplicates: Vec::new(),
            reported_bytes: 0,
        }
    }

    const fn next(&mut self) -> Next<'_> {
        Next(self)
    }

    /// Enters an array or object.
    fn descend<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.level >= self.levels_max {
            self.is_too_deep = true;
            return Err(E::custom("too deep"));
        }
        self.level += 1;
        Ok(())
    }

    /// Adds a step to the pointer; returns its length before.
    fn enter_member(&mut self, name: &str) -> usize {
        let outer = self.pointer.len();
        self.pointer.push('/');
        // Why the test: few names contain these, and this runs for every member.
        if name.contains(['~', '/']) {
            self.pointer.push_str(&step(name));
        } else {
            self.pointer.push_str(name);
        }
        outer
    }

    /// As [`Self::enter_member`], for an entry of an array.
    fn enter_entry(&mut self, index: usize) -> usize {
        let outer = self.pointer.len();
        self.pointer.push('/');
        push_number(index as u64, &mut self.pointer);
        outer
    }

    /// Removes steps again. Not called after an error: the pointer then shows where it happened.
    fn leave(&mut self, outer: usize) {
        self.pointer.truncate(outer);
    }

    fn report_duplicate(&mut self, name: &str) {
        if self.duplicates.len() >= REPORTED_MAX || self.reported_bytes >= REPORTED_BYTES_MAX {
            return;
        }
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        let message = format!("the member {shown:?} is a duplicate; which one counts would be a guess");
        self.reported_bytes += self.pointer.len();
        self.duplicates.push(Violation::new(self.pointer.clone(), "duplicate_member", message));
    }
}

/// Reads the next value.
struct Next<'p>(&'p mut Place);

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Next<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let place = self.0;
        place.descend::<A::Error>()?;
        let mut list = Vec::new();
        loop {
            let outer = place.enter_entry(list.len());
            let entry = entries.next_element_seed(place.next())?;
            place.leave(outer);
            match entry {
                Some(entry) => list.push(entry),
                None => break,
            }
        }
        place.level -= 1;
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let place = self.0;
        let mut next = members.next_key::<String>()?;
        let mut object = Map::new();
        if next.as_deref() == Some(NUMBER) {
            match members.next_value_seed(number::First(place))? {
                number::Found::Digits(digits) => {
                    return digits.parse().map(Value::Number).map_err(|_| A::Error::custom("not a number"));
                }
                number::Found::Member(value) => drop(object.insert(NUMBER.to_owned(), value)),
            }
            next = members.next_key()?;
        } else {
            place.descend::<A::Error>()?;
        }
        let mut reported = BTreeSet::new();
        while let Some(name) = next {
            let outer = place.enter_member(&name);
            match object.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(members.next_value_seed(place.next())?);
                }
                Entry::Occupied(occupied) => {
                    if reported.insert(occupied.key().clone()) {
                        place.report_duplicate(occupied.key());
                    }
                    // Read nevertheless: duplicates below it are reported, too.
                    members.next_value_seed(place.next())?;
                }
            }
            place.leave(outer);
            next = members.next_key()?;
        }
        place.level -= 1;
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
