//! Dates that are written in another form than their format says.
//!
//! `format: date-time` is a date and time with offset (RFC 3339). Many APIs take a plain date there as well, or show
//! one: an input of that type would refuse the vendor's own example.

use portcullis_core::format::{is_date, is_datetime};
use serde_json::Value;

use crate::names::shown;

/// Words that tell of plain dates beside dates with a time.
const PLAIN: &[&str] = &[
    "date only",
    "date-only",
    "date or date",
    "date or a date",
    "date, or",
    "dates or",
    "full-date",
    "full date or",
    "just a date",
    "just the date",
    "only a date",
    "only the date",
    "plain date",
    "time is optional",
    "time part is optional",
    "time portion is optional",
    "without a time",
    "without time",
];

/// Patterns of other forms, as people write them.
const FORMS: &[&str] = &["yyyymmdd", "yyyy/mm/dd", "mm/dd/yyyy", "dd/mm/yyyy", "dd-mm-yyyy", "mm-dd-yyyy"];

/// A form that the description shows and that an input of that type would refuse.
pub(super) fn other_form(input_type: &str, text: &str, examples: &[&Value]) -> Option<String> {
    let is_of_type: fn(&str) -> bool = match input_type {
        "datetime" => is_datetime,
        "date" => is_date,
        _ => return None,
    };
    let texts = examples.iter().filter_map(|value| value.as_str());
    let refused = |text: &&str| text.bytes().any(|b| b.is_ascii_digit()) && !is_of_type(text);
    if let Some(other) = texts.filter(|text| !text.is_empty()).find(refused) {
        return Some(format!("{:?}", shown(other)));
    }
    let lower = text.to_ascii_lowercase();
    let by_word =
        |words: &[&str]| words.iter().find(|word| lower.contains(*word)).map(|word| format!("{word:?}"));
    by_word(FORMS).or_else(|| match input_type {
        "datetime" => by_word(PLAIN).or_else(|| plain_date(&lower)),
        _ => None,
    })
}

/// A plain date, or its pattern, in a text.
fn plain_date(lower: &str) -> Option<String> {
    if let Some(at) = alone(lower, "yyyy-mm-dd") {
        return lower.get(at..at + 10).map(|date| format!("{date:?}"));
    }
    let windows = lower.char_indices().filter_map(|(at, _)| Some((at, lower.get(at..at + 10)?)));
    let date = windows.filter(|(_, text)| is_date(text)).find(|(at, text)| {
        let before = lower.get(..*at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_ascii_digit())
            && is_alone(lower.get(at + text.len()..).unwrap_or_default())
    });
    date.map(|(_, date)| format!("{date:?}"))
}

fn alone(lower: &str, word: &str) -> Option<usize> {
    let ends = lower.match_indices(word);
    ends.map(|(at, _)| at).find(|at| is_alone(lower.get(at + word.len()..).unwrap_or_default()))
}

/// Whether no time follows a date.
fn is_alone(after: &str) -> bool {
    let bare = after.trim_start_matches(['\'', '"', '`', '[', '(', ' ', '{', '_', '-']);
    let time = ["hh", "thh", "t'", "t\"", "t`", "t["].iter().any(|time| bare.starts_with(time));
    let clock = |text: &str| text.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let digits = match bare.strip_prefix('t') {
        Some(rest) => clock(rest),
        None => clock(bare) && bare.get(..6).is_some_and(|text| text.contains(':')),
    };
    !(time || digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn f9_plain_dates_are_seen_in_examples_and_in_words() {
        for (input_type, text, example, expected) in [
            ("datetime", "", json!("2024-01-31"), true),
            ("datetime", "", json!("2024-01-31T10:00:00Z"), false),
            ("datetime", "", json!("2024-01-31T10:00:00"), true),
            ("datetime", "", json!("2024-01-31 10:00"), true),
            ("datetime", "", json!("string"), false),
            ("datetime", "", json!(""), false),
            ("datetime", "The day, YYYY-MM-DD.", Value::Null, true),
            ("datetime", "YYYY-MM-DDTHH:mm:ssZ", Value::Null, false),
            ("datetime", "YYYY-MM-DD'T'HH:mm:ss", Value::Null, false),
            ("datetime", "yyyy-mm-dd hh:mm:ss", Value::Null, false),
            ("datetime", "e.g. 2024-01-31T10:00:00Z", Value::Null, false),
            ("datetime", "e.g. 2024-01-31T10:00:00Z or 2024-01-31", Value::Null, true),
            ("datetime", "e.g. `2024-01-31`, in UTC", Value::Null, true),
            ("datetime", "e.g. 2024-01-31 10:00:00", Value::Null, false),
            ("datetime", "A date or datetime", Value::Null, true),
            ("datetime", "When it was made", Value::Null, false),
            ("date", "", json!("2024-01-31"), false),
            ("date", "", json!("2024-01-31T10:00:00Z"), true),
            ("date", "MM/DD/YYYY", Value::Null, true),
            ("date", "YYYY-MM-DD", Value::Null, false),
            ("string", "YYYY-MM-DD", json!("2024-01-31"), false),
        ] {
            let found = other_form(input_type, text, &[&example]);
            assert_eq!(found.is_some(), expected, "{input_type} {text:?} {example}: {found:?}");
        }
    }
}
