//! The text of a single value, as used in a template, a pair or a form.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

/// The text of a scalar: strings unchanged, numbers and booleans as JSON.
/// `None` for null, arrays and objects.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<String> {
    scalar_cow(value).map(Cow::into_owned)
}

/// [`scalar_text`] without a copy if the value is text already.
pub(crate) fn scalar_cow(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A boolean as people and vendors write it.
pub(crate) fn truth(text: &str) -> Option<bool> {
    let text = text.trim();
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "yes", "y", "1", "on"]) {
        return Some(true);
    }
    is_one_of(["false", "no", "n", "0", "off"]).then_some(false)
}

/// What a value is, for messages.
pub(crate) const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Whether a number is written as a whole one, of any size.
#[must_use]
pub fn is_integer(number: &Number) -> bool {
    let text = number.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares two numbers: whole ones exactly, whatever their size.
pub(crate) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return Some(a.cmp(&b));
    }
    if !is_integer(a) || !is_integer(b) {
        return a.as_f64()?.partial_cmp(&b.as_f64()?);
    }
    let (a, b) = (a.to_string(), b.to_string());
    let split = |text: &str| match text.strip_prefix('-') {
        Some(digits) => (true, digits.trim_start_matches('0').to_owned()),
        None => (false, text.trim_start_matches('0').to_owned()),
    };
    let ((a_negative, a), (b_negative, b)) = (split(&a), split(&b));
    let size = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
    Some(match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => size.reverse(),
        // Why: zero has two signs.
        _ if a.is_empty() && b.is_empty() => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_whole_numbers_of_any_size_are_told_apart() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        for (a, b, expected) in [
            ("36893488147419103232", "36893488147419103233", Ordering::Less),
            ("36893488147419103232", "36893488147419103232", Ordering::Equal),
            ("-36893488147419103232", "36893488147419103232", Ordering::Less),
            ("-36893488147419103233", "-36893488147419103232", Ordering::Less),
            ("18446744073709551615", "9223372036854775807", Ordering::Greater),
            ("-0", "0", Ordering::Equal),
            ("1.5", "1", Ordering::Greater),
            ("1e2", "100", Ordering::Equal),
        ] {
            assert_eq!(compare(&number(a), &number(b)), Some(expected), "{a} {b}");
        }
        for (text, whole) in [("-0", true), ("36893488147419103232", true), ("1.0", false), ("1e2", false)] {
            assert_eq!(is_integer(&number(text)), whole, "{text}");
        }
    }

    #[test]
    fn the_usual_words_for_true_and_false_are_read() {
        for (text, expected) in
            [(" TRUE ", Some(true)), ("n", Some(false)), ("0", Some(false)), ("2", None), ("", None)]
        {
            assert_eq!(truth(text), expected, "{text}");
        }
    }
}
