//! Tables that the filter `lookup` looks into, of a definition or an automation.

use std::collections::BTreeMap;

use portcullis_action::template::{Filter, Tables, tables_of};
use serde_json::Value;

use crate::limits::Limits;
use crate::violation::{Violation, Violations, step};

/// Longest name of a table, characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest text in a table, bytes: both what is looked up and what stands for it.
const TEXT_BYTES_MAX: usize = 1024;
/// What is said where a lookup is not available.
pub(crate) const NOT_HERE: &str = "the filter lookup is not available here; a computed field can have it";

/// Tables as they are written.
pub type WrittenTables = BTreeMap<String, BTreeMap<String, Value>>;

/// Checks tables, and makes them ready to be looked into.
pub fn checked(written: &WrittenTables, limits: &Limits, violations: &mut Violations) -> Tables {
    let mut refuse = |pointer: String, code: &'static str, message: String| {
        violations.push(Violation::new(pointer, code, message));
    };
    if written.len() as u64 > limits.tables {
        let message = format!("has {} tables, the limit is {} (limits.tables)", written.len(), limits.tables);
        refuse("/tables".to_owned(), "too_many", message);
        return Tables::new();
    }
    for (name, table) in written {
        let at = format!("/tables/{}", step(name));
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.contains('\'') {
            let message = format!("a table's name has 1 to {NAME_CHARS_MAX} characters and no quote");
            refuse(at.clone(), "table_invalid", message);
        }
        if table.len() as u64 > limits.table_entries {
            let (count, limit) = (table.len(), limits.table_entries);
            let message = format!("has {count} entries, the limit is {limit} (limits.table_entries)");
            refuse(at.clone(), "too_many", message);
            continue;
        }
        for (key, value) in table {
            let bytes = value.as_str().map_or(0, str::len).max(key.len());
            let message = match value {
                _ if bytes > TEXT_BYTES_MAX => {
                    format!("a text of a table has at most {TEXT_BYTES_MAX} bytes, not {bytes}")
                }
                Value::String(_) | Value::Number(_) | Value::Bool(_) => continue,
                _ => "what stands for a value is a text, a number or a boolean".to_owned(),
            };
            refuse(format!("{at}/{}", step(key)), "table_invalid", message);
        }
    }
    let ready = |table: &BTreeMap<String, Value>| Value::Object(table.clone().into_iter().collect());
    written.iter().map(|(name, table)| (name.clone(), ready(table))).collect()
}

/// The first table that filters look into and that is not there, as a message.
pub fn unknown<'n>(
    filters: &[Filter],
    has: impl Fn(&str) -> bool,
    names: impl Iterator<Item = &'n str>,
    violations: &mut Violations,
) -> Option<String> {
    let table = tables_of(filters).find(|table| !has(table))?;
    Some(format!("there is no table {table:?} in tables{}", violations.hint(table, names)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(written: Value) -> Vec<(String, &'static str)> {
        let written: WrittenTables = serde_json::from_value(written).unwrap();
        let mut violations = Violations::default();
        let limits = Limits { tables: 2, table_entries: 3, ..Limits::default() };
        let tables = checked(&written, &limits, &mut violations);
        assert_eq!(tables.len(), if written.len() > 2 { 0 } else { written.len() });
        violations.into_vec().into_iter().map(|violation| (violation.pointer, violation.code)).collect()
    }

    #[test]
    fn tables_hold_plain_values_within_their_limits() {
        assert_eq!(problems(json!({})), []);
        assert_eq!(problems(json!({ "a": { "x": "1", "y": 2, "z": false }, "b": {} })), []);
        assert_eq!(problems(json!({ "a": {}, "b": {}, "c": {} })), [("/tables".to_owned(), "too_many")]);
        let many = json!({ "a": { "1": 1, "2": 2, "3": 3, "4": 4 } });
        assert_eq!(problems(many), [("/tables/a".to_owned(), "too_many")]);
        for (written, at) in [
            (json!({ "a": { "x": null } }), "/tables/a/x"),
            (json!({ "a": { "x/y": [1] } }), "/tables/a/x~1y"),
            (json!({ "a": { "x": "v".repeat(1025) } }), "/tables/a/x"),
            (json!({ "it's": {} }), "/tables/it's"),
            (json!({ "": {} }), "/tables/"),
        ] {
            assert_eq!(problems(written), [(at.to_owned(), "table_invalid")]);
        }
    }
}
