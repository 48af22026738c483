//! The structural check of a document against a JSON Schema that was generated from a Rust type.
//!
//! Definitions, request bodies and query parameters share it. Every breach becomes a violation with a
//! pointer and a hint, all in one answer; only then serde reads the document. A message may quote names
//! and the schema, never a value: it could be a secret. What a document means is not checked here.

use jsonschema::{ValidationError, Validator};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::violation::{Violation, Violations};

mod describe;
mod prepare;
mod sample;

use describe::Describe;
pub use prepare::{Unknown, close, flatten_constants, flatten_optional};

/// The code of a breach of `minLength`, `maxLength`, `minItems` or `maxItems`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LengthCode {
    /// `too_short`, `too_long`, `too_few`, `too_many`.
    OfKind,
    /// `out_of_range`, as for a number.
    OutOfRange,
}

/// A schema prepared for checking documents.
#[derive(Debug)]
pub struct Structure {
    schema: Value,
    /// The names of all members, for hints.
    names: Vec<String>,
    validator: Validator,
    lengths: LengthCode,
}

impl Structure {
    /// From a schema as it is; `None` if it is not a JSON Schema (2020-12) that can be checked.
    #[must_use]
    pub fn new(schema: Value) -> Option<Self> {
        let validator = jsonschema::draft202012::new(&schema).ok()?;
        let names = prepare::member_names(&schema);
        Some(Self { schema, names, validator, lengths: LengthCode::OfKind })
    }

    /// From a type's schema. Objects with fixed members refuse others.
    #[must_use]
    pub fn of<T: JsonSchema>() -> Option<Self> {
        let mut schema = schemars::schema_for!(T).to_value();
        close(&mut schema, Unknown::Refused);
        flatten_constants(&mut schema);
        Self::new(schema)
    }

    /// With `out_of_range` for a text or list of the wrong length. Definitions have used this code from
    /// the beginning, and a code is never renamed.
    #[must_use]
    pub(crate) const fn with_lengths_out_of_range(mut self) -> Self {
        self.lengths = LengthCode::OutOfRange;
        self
    }

    #[must_use]
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// Reports the breaches of the schema.
    pub fn check(&self, document: &Value, violations: &mut Violations) {
        self.errors(document, violations, &mut |_| {});
    }

    /// Reads a document that matches the schema.
    ///
    /// # Errors
    /// The breaches. A value that the schema allows and the type refuses, such as a number that is too
    /// large for its type, is one breach with its pointer.
    pub fn read<T: DeserializeOwned>(&self, document: Value) -> Result<T, Vec<Violation>> {
        if !self.validator.is_valid(&document) {
            let mut violations = Violations::default();
            self.check(&document, &mut violations);
            return Err(violations.into_vec());
        }
        // Why twice: keeping the path to every value costs, and is needed only for what the type refuses.
        T::deserialize(&document).or_else(|_| read_sound(document)).map_err(|violation| vec![violation])
    }

    /// Reports the breaches of the schema, and returns the document without the values that break it, so
    /// that it can be read and further rules can report in the same answer. An array with an invalid entry
    /// becomes empty: without the entry, the pointers of the others would be wrong. `None` if so much is wrong
    /// that not all of it was found.
    #[must_use]
    pub fn sound_part(&self, document: &Value, violations: &mut Violations) -> Option<Value> {
        if self.validator.is_valid(document) {
            return Some(document.clone());
        }
        let mut broken = Vec::new();
        let whole = self.errors(document, violations, &mut |error| {
            if !describe::is_about_names(error.kind()) {
                broken.push(error.instance_path().as_str().to_owned());
            }
        });
        if !whole || violations.is_full() {
            return None;
        }
        let mut sound = document.clone();
        broken.iter().for_each(|pointer| prune(&mut sound, pointer));
        Some(sound)
    }

    /// Reports errors and calls `note` with each; returns whether all were found. A large document is looked at in
    /// part, because the validator keeps an error for each value that is wrong.
    fn errors(
        &self,
        document: &Value,
        violations: &mut Violations,
        note: &mut dyn FnMut(&ValidationError<'_>),
    ) -> bool {
        let part = sample::of(document, &self.names);
        let judged = part.as_ref().unwrap_or(document);
        let describe = self.describe(judged);
        let before = violations.len();
        for error in self.validator.iter_errors(judged) {
            note(&error);
            describe.add(&error, violations);
        }
        if part.is_some() && violations.len() == before {
            // What is wrong lies outside of the part: the first of it is as good as any.
            if let Err(error) = self.validator.validate(document) {
                self.describe(document).add(&error, violations);
            }
        }
        part.is_none()
    }

    fn describe<'s>(&'s self, document: &'s Value) -> Describe<'s> {
        Describe { schema: &self.schema, names: &self.names, document, lengths: self.lengths }
    }
}

/// The schema of a type as serde writes it: members that are always written are required.
#[must_use]
pub fn written_schema<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema, Unknown::Refused);
    flatten_constants(&mut schema);
    schema
}

/// Panics if a value is not written as its schema says.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_written<T: JsonSchema + serde::Serialize>(value: &T) {
    let structure = Structure::new(written_schema::<T>()).unwrap();
    let mut violations = Violations::default();
    structure.check(&serde_json::to_value(value).unwrap(), &mut violations);
    assert_eq!(violations.into_vec(), []);
}

/// Reads a document that has passed its schema.
///
/// # Errors
/// A breach that only the type detects.
pub(crate) fn read_sound<T: DeserializeOwned>(document: Value) -> Result<T, Violation> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let pointer = describe::pointer_of(error.path());
        Violation::new(pointer, "wrong_type", describe::expectation(&error.inner().to_string()))
    })
}

/// Removes the value at `pointer`, or empties the array that contains it.
fn prune(document: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = last.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&name);
        }
        Some(array @ Value::Array(_)) => *array = Value::Array(Vec::new()),
        _ => {}
    }
}

/// The errors of a validation, or of one alternative.
type Errors<'e> = [ValidationError<'e>];

#[cfg(test)]
mod tests;
