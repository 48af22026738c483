//! A part of a large document that has what is wrong with it, or at least some of it.
//!
//! The validator finds out fast and without memory whether a document is valid, but it keeps an error for each value
//! that is not. So of a large document that is not valid only a part is looked at: whole objects and the first
//! entries of arrays, so that every pointer into the part is one into the document.

use serde_json::{Map, Value};

/// Values that are looked at; the largest definitions that are known have fewer.
const VALUES_MAX: usize = 100_000;

/// The part of a document, or `None` if the document is not large. Members with one of these names, which are sorted,
/// are always in it: without them something would seem to be missing.
pub(super) fn of(document: &Value, names: &[String]) -> Option<Value> {
    let mut left = VALUES_MAX;
    if count(document, &mut left) {
        return None;
    }
    left = VALUES_MAX;
    Some(part(document, names, &mut left))
}

/// Whether a document has no more values than are left.
fn count(value: &Value, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.len() <= rest && items.iter().all(|item| count(item, left)),
        Value::Object(map) => map.len() <= rest && map.values().all(|item| count(item, left)),
        _ => true,
    }
}

fn part(value: &Value, names: &[String], left: &mut usize) -> Value {
    *left = left.saturating_sub(1);
    match value {
        Value::Array(items) => {
            let mut kept = Vec::new();
            for item in items {
                // Why one in any case: an empty array may be too short.
                if *left == 0 && !kept.is_empty() {
                    break;
                }
                kept.push(part(item, names, left));
            }
            Value::Array(kept)
        }
        Value::Object(map) => {
            let mut kept = Map::new();
            for (name, item) in map {
                if *left > 0 || names.binary_search(name).is_ok() {
                    kept.insert(name.clone(), part(item, names, left));
                }
            }
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_small_document_is_looked_at_whole() {
        assert_eq!(of(&json!({ "a": vec![1; 1000] }), &[]), None);
    }

    #[test]
    fn a_part_has_the_named_members_and_the_first_entries() {
        let document = json!({ "long": vec![1; VALUES_MAX * 2], "x": 1, "name": "n", "list": [1, 2] });
        let part = of(&document, &["list".to_owned(), "name".to_owned()]).unwrap();
        assert!(part["long"].as_array().unwrap().len() <= VALUES_MAX);
        assert_eq!((&part["name"], &part["list"]), (&json!("n"), &json!([1])));
        assert_eq!(part.get("x"), None);
    }
}
