//! Where what an example says and what was made of it differ: a few places, not two whole documents.

use serde_json::Value;

use crate::violation::step;

/// Most places that a message names.
const PLACES_MAX: usize = 5;
/// Most characters of a value in a message.
const VALUE_CHARS_MAX: usize = 80;
/// Most characters of a text before its first difference.
const BEFORE_CHARS: usize = 20;

/// Says where two documents differ, either of which may be absent.
pub(super) fn of_documents(what: &str, expected: Option<&Value>, found: Option<&Value>) -> String {
    let (expected, found) = match (expected, found) {
        (Some(expected), Some(found)) => (expected, found),
        (None, Some(found)) => return format!("{what} is {}, the example says nothing of it", shown(found)),
        (Some(expected), None) => return format!("{what} is absent, the example says {}", shown(expected)),
        (None, None) => return format!("{what} differs"),
    };
    let mut places = Vec::new();
    compare(expected, found, "", &mut places);
    let more = places.len().saturating_sub(PLACES_MAX);
    places.truncate(PLACES_MAX);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("{what} differs: {}{more}", places.join("; "))
}

/// Where two texts differ first, as the end of a sentence.
pub(super) fn of_texts(expected: &str, found: &str) -> String {
    let same = expected.chars().zip(found.chars()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| -> String {
        text.chars().skip(same.saturating_sub(BEFORE_CHARS)).take(VALUE_CHARS_MAX).collect()
    };
    format!(
        "; they differ at character {}: {:?}, the example says {:?}",
        same + 1,
        from(found),
        from(expected)
    )
}

/// Collects the places in order. Why no bound: both documents are bounded by the definition's size.
fn compare(expected: &Value, found: &Value, at: &str, places: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let at = format!("{at}/{}", step(name));
                match found.get(name) {
                    Some(other) => compare(value, other, &at, places),
                    None => places.push(format!("{at} is absent, the example says {}", shown(value))),
                }
            }
            for (name, value) in found.iter().filter(|(name, _)| !expected.contains_key(*name)) {
                places.push(format!("{at}/{} is {}, not in the example", step(name), shown(value)));
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (value, other)) in expected.iter().zip(found).enumerate() {
                compare(value, other, &format!("{at}/{index}"), places);
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            let place = if at.is_empty() { "/" } else { at };
            let (has, said) = (found.len(), expected.len());
            places.push(format!("{place} has {has} entries, the example says {said}"));
        }
        (expected, found) if expected != found => {
            let place = if at.is_empty() { "/" } else { at };
            places.push(format!("{place} is {}, the example says {}", shown(found), shown(expected)));
        }
        _ => {}
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told_with_its_place() {
        let expected = json!({ "a": 1, "b": { "c/d": [1, 2] }, "e": "x", "f": [1] });
        let found = json!({ "a": 1, "b": { "c/d": [1, 3] }, "f": [1, 2], "g": true });
        assert_eq!(
            of_documents("the body", Some(&expected), Some(&found)),
            "the body differs: /b/c~1d/1 is 3, the example says 2; /e is absent, the example says \"x\"; \
             /f has 2 entries, the example says 1; /g is true, not in the example"
        );
        assert_eq!(
            of_documents("the body", Some(&json!("a")), Some(&json!(1))),
            "the body differs: / is 1, the example says \"a\""
        );
        assert_eq!(
            of_documents("the body", None, Some(&json!(1))),
            "the body is 1, the example says nothing of it"
        );
        let many: Value = (0..9).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>().into();
        assert!(of_documents("the body", Some(&json!({})), Some(&many)).ends_with("; and 4 more"));
        let long = of_documents("the body", Some(&json!("é".repeat(500))), Some(&json!(1)));
        assert!(long.chars().count() < 200, "{long}");
    }

    #[test]
    fn texts_are_told_from_their_first_difference() {
        assert_eq!(
            of_texts("https://a.example.com/v1/x", "https://a.example.com/v2/x"),
            "; they differ at character 24: \"ps://a.example.com/v2/x\", the example says \"ps://a.example.com/v1/x\""
        );
    }
}
