//! How a breach of a schema is reported: code, pointer and a sentence that quotes no value.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::{Errors, LengthCode};
use crate::violation::{Violation, Violations, step};

/// Maximum members that a message lists; a longer list is not read.
const LISTED_MAX: usize = 12;

/// Most characters of a name in a message.
const NAME_CHARS_MAX: usize = 80;

/// What is needed to describe a breach.
pub(super) struct Describe<'s> {
    pub(super) schema: &'s Value,
    /// The names of all members of the schema.
    pub(super) names: &'s [String],
    pub(super) document: &'s Value,
    pub(super) lengths: LengthCode,
}

impl Describe<'_> {
    /// Adds the violations of one error.
    pub(super) fn add(&self, error: &jsonschema::ValidationError<'_>, violations: &mut Violations) {
        if violations.is_full() {
            violations.count(breaches(error.kind()));
            return;
        }
        let at = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let object = parent(error.schema_path().as_str()).and_then(|p| self.schema.pointer(p));
                for (index, name) in unexpected.iter().enumerate() {
                    if violations.is_full() {
                        violations.count(unexpected.len().saturating_sub(index));
                        break;
                    }
                    let unknown = self.unknown(at, name, object, violations);
                    violations.push(unknown);
                }
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let pointer = format!("{at}/{}", step(name));
                violations.push(Violation::new(pointer, "missing_field", format!("{name} is required")));
            }
            Kind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default();
                let message = format!("the name {}", rule(error.kind()));
                violations.push(Violation::new(format!("{at}/{}", step(name)), "wrong_form", message));
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                self.choice(at, context, violations);
            }
            Kind::Type { kind } => violations.push(self.wrong_type(at, &type_names(kind))),
            kind => violations.push(Violation::new(at, self.code(kind), rule(kind))),
        }
    }

    /// A name that the object does not have.
    fn unknown(
        &self,
        at: &str,
        name: &str,
        object: Option<&Value>,
        violations: &mut Violations,
    ) -> Violation {
        let keys = |keyword: &str| -> Vec<&str> {
            let map = object.and_then(|schema| schema.get(keyword)).and_then(Value::as_object);
            map.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect()
        };
        let (members, patterns) = (keys("properties"), keys("patternProperties"));
        let pointer = format!("{at}/{}", step(name));
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        if let ([], [first, ..]) = (members.as_slice(), patterns.as_slice()) {
            return Violation::new(pointer, "wrong_form", format!("the name {shown:?} must match {first}"));
        }
        let listed = (1..=LISTED_MAX).contains(&members.len());
        let mut message = format!("unknown field {shown:?}");
        let mut hint = violations.hint(name, members.iter().copied());
        if hint.is_empty() && !listed {
            hint = violations.hint(name, self.names.iter().map(String::as_str));
        }
        message.push_str(&hint);
        if hint.is_empty() {
            if listed {
                message.push_str(&format!("; the fields are {}", members.join(", ")));
            }
            if patterns.contains(&super::prepare::ANNOTATION) {
                message.push_str("; annotations start with x_");
            }
        }
        Violation::new(pointer, "unknown_field", message)
    }

    fn wrong_type(&self, at: &str, expected: &[&str]) -> Violation {
        let found = self.document.pointer(at).map_or("nothing", type_name);
        Violation::new(at, "wrong_type", format!("must be {}, is {found}", expected.join(" or ")))
    }

    /// A value that matches none of several alternatives: described by the one that was meant, if that can be seen.
    fn choice(&self, at: &str, ways: &[Vec<jsonschema::ValidationError<'_>>], into: &mut Violations) {
        let types: Vec<Option<Vec<&str>>> = ways.iter().map(|way| types_at(at, way)).collect();
        if types.iter().all(Option::is_some) {
            let mut expected: Vec<&str> = types.into_iter().flatten().flatten().collect();
            expected.dedup();
            into.push(self.wrong_type(at, &expected));
            return;
        }
        let of_type = || ways.iter().zip(&types).filter(|(_, types)| types.is_none()).map(|(way, _)| way);
        let tags: Vec<(&str, &Value)> = of_type().filter_map(|way| other_tag(at, way)).collect();
        if let [(tag, _), ..] = tags.as_slice()
            && tags.len() == of_type().count()
        {
            let options: Vec<&Value> = tags.iter().map(|(_, option)| *option).collect();
            let options = options.into_iter().cloned().collect::<Value>();
            into.push(Violation::new(*tag, "not_in_list", format!("must be one of {options}")));
            return;
        }
        let meant = of_type().filter(|way| other_tag(at, way).is_none()).min_by_key(|way| way.len());
        for error in meant.into_iter().flatten() {
            self.add(error, into);
        }
    }

    /// The code of a breach that concerns neither names nor types.
    const fn code(&self, kind: &Kind) -> &'static str {
        match (kind, self.lengths) {
            (Kind::Enum { .. }, _) => "not_in_list",
            (Kind::Pattern { .. } | Kind::Format { .. }, _) => "wrong_form",
            (Kind::FalseSchema, _) => "unknown_field",
            (Kind::UniqueItems, _) => "duplicate_entry",
            (Kind::MinLength { .. }, LengthCode::OfKind) => "too_short",
            (Kind::MaxLength { .. }, LengthCode::OfKind) => "too_long",
            (Kind::MinItems { .. } | Kind::MinProperties { .. }, LengthCode::OfKind) => "too_few",
            (Kind::MaxItems { .. } | Kind::MaxProperties { .. }, LengthCode::OfKind) => "too_many",
            _ => "out_of_range",
        }
    }
}

/// The number of breaches in an error.
fn breaches(kind: &Kind) -> usize {
    match kind {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.len()
        }
        _ => 1,
    }
}

/// Whether an error concerns the names of an object's members only, so that its values are valid.
pub(super) const fn is_about_names(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } | Kind::Required { .. }
    )
}

/// The rule that a value breaks, as the end of a sentence.
fn rule(kind: &Kind) -> String {
    match kind {
        Kind::Enum { options } => format!("must be one of {options}"),
        Kind::Pattern { pattern } => format!("must match {pattern}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} entries"),
        Kind::MaxItems { limit } => format!("must have at most {limit} entries"),
        Kind::MinProperties { limit } => format!("must have at least {limit} members"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} members"),
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::UniqueItems => "must not have an entry twice".to_owned(),
        Kind::FalseSchema => "must not be there".to_owned(),
        other => format!("breaks the schema's rule `{}`", other.keyword()),
    }
}

/// The types that an alternative requires of the value itself, if only the type is wrong.
fn types_at<'e>(at: &str, way: &'e Errors<'_>) -> Option<Vec<&'e str>> {
    way.iter().filter(|error| error.instance_path().as_str() == at).find_map(|error| match error.kind() {
        Kind::Type { kind } => Some(type_names(kind)),
        _ => None,
    })
}

/// The member that shows which alternative was meant, if it is not this one.
fn other_tag<'e>(at: &str, way: &'e Errors<'_>) -> Option<(&'e str, &'e Value)> {
    way.iter().find_map(|error| match error.kind() {
        Kind::Constant { expected_value } => {
            let tag = error.instance_path().as_str();
            (parent(tag) == Some(at)).then_some((tag, expected_value.as_ref()))
        }
        _ => None,
    })
}

fn type_names(kind: &TypeKind) -> Vec<&'static str> {
    match kind {
        TypeKind::Single(single) => vec![single.as_str()],
        TypeKind::Multiple(several) => several.iter().map(|one| one.as_str()).collect(),
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The pointer of the object or array that contains the value at `pointer`.
fn parent(pointer: &str) -> Option<&str> {
    pointer.rsplit_once('/').map(|(parent, _)| parent)
}

/// A serde path as a JSON pointer.
pub(super) fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", step(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// What serde expected. Why not its whole message: the rest may quote the value.
pub(super) fn expectation(message: &str) -> String {
    let known = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    let expected =
        message.rsplit_once(", expected ").filter(|_| known.iter().any(|k| message.starts_with(k)));
    match expected {
        // Why: a number is read from its digits, and the library does not say as what.
        None if message.contains("invalid number") => "must be a whole number in range".to_owned(),
        None => "is not a value that is read here".to_owned(),
        Some((
            _,
            integer @ ("u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize"),
        )) => {
            format!("must be an integer ({integer})")
        }
        Some((_, expected)) => format!("must be {expected}"),
    }
}
