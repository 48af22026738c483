//! Compares [`read`] and [`read_text`] with `serde_json`.
//!
//! It generates no input: the unit tests and the fuzz target `json_reader` do, and both include this file. So it uses
//! nothing of the crate except what `super` imports.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{JsonError, Limits, read, read_text};

/// `serde_json` replaces an object whose first member has this name by that member's text; the reader keeps it.
const EMBEDDED: &str = "$serde_json::private::";

/// Whether the text was read.
///
/// # Panics
/// If `serde_json` reads it differently, or something was refused without reason.
pub(super) fn agree(bytes: &[u8]) -> bool {
    let limits = Limits::default();
    let outcome = read(bytes, &limits);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(read_text(text, &limits), outcome, "bytes and text are read alike");
    }
    let twice = serde_json::from_slice::<Twice>(bytes).map(|Twice(twice)| twice);
    match &outcome {
        Ok(value) => {
            assert_eq!(twice.ok(), Some(false), "a member is there twice");
            if !value.to_string().contains(EMBEDDED) {
                let expected: Value = serde_json::from_slice(bytes).expect("JSON");
                assert_eq!((value.to_string(), value), (expected.to_string(), &expected));
            }
        }
        Err(JsonError::Syntax { line, column }) => {
            let error = twice.expect_err("not JSON");
            assert_eq!((*line, *column), (error.line(), error.column()));
        }
        Err(JsonError::Duplicates(violations)) => {
            assert_eq!((twice.ok(), violations.is_empty()), (Some(true), false));
        }
        Err(JsonError::TooDeep { pointer, levels_max }) => {
            assert_eq!(*levels_max, limits.json_levels);
            assert_eq!(pointer.matches('/').count() as u64, *levels_max, "{pointer}");
        }
    }
    outcome.is_ok()
}

/// Whether some object in a text has two members with the same name.
#[derive(Debug)]
struct Twice(bool);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Search)
    }
}

struct Search;

impl<'de> Visitor<'de> for Search {
    type Value = Twice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
        Ok(Twice(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Twice, A::Error> {
        let mut found = false;
        while let Some(Twice(inner)) = entries.next_element()? {
            found |= inner;
        }
        Ok(Twice(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Twice, A::Error> {
        let (mut found, mut names) = (false, HashSet::new());
        while let Some((name, Twice(inner))) = members.next_entry::<String, Twice>()? {
            found |= inner | !names.insert(name);
        }
        Ok(Twice(found))
    }
}
