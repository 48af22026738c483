//! Pieces of compact JSON, written directly because every call writes them. The output is exactly
//! what `serde_json` writes.

pub use portcullis_action::json::push_string as push_text;
use serde_json::Value;

/// Appends a text without characters to escape, such as an identifier, with its quotes.
pub fn push_plain(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Appends a number.
pub fn push_number(mut number: u64, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        // Why it fits: it is below ten.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        first -= 1;
        if number == 0 {
            break;
        }
    }
    let text = digits.get(first..).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

/// About how many bytes a value takes as text, counted up to `max`.
#[must_use]
pub fn size(value: &Value, max: usize) -> usize {
    let mut left = max;
    count(value, &mut left);
    max - left
}

/// Punctuation of a member or an element, and a number or a word.
const NODE_BYTES: usize = 8;

fn count(value: &Value, left: &mut usize) {
    let own = match value {
        Value::String(text) => text.len(),
        _ => 0,
    };
    *left = left.saturating_sub(own + NODE_BYTES);
    match value {
        Value::Array(items) => {
            for item in items {
                if *left == 0 {
                    return;
                }
                count(item, left);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if *left == 0 {
                    return;
                }
                *left = left.saturating_sub(name.len());
                count(member, left);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_about_that_of_the_text_and_is_counted_to_its_bound() {
        let value = serde_json::json!({ "name": "Ada", "list": [1, 2, null, { "a": "b".repeat(1000) }] });
        let (size, text) = (size(&value, usize::MAX), value.to_string().len());
        assert!(size >= text && size < 2 * text, "{size} {text}");
        assert_eq!(super::size(&value, 500), 500);
        assert_eq!(super::size(&serde_json::json!(vec![0; 100_000]), 600), 600);
    }

    fn of(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn every_ascii_character_and_power_of_ten_is_written_as_serde_writes_it() {
        for ch in (0..=0x9f_u8).map(char::from) {
            let text = format!("a{ch}b");
            assert_eq!(of(|out| push_text(&text, out)), serde_json::to_string(&text).unwrap());
        }
        for number in (0..20).map(|power| 10_u64.pow(power)).flat_map(|n| [n - 1, n, n + 1]).chain([u64::MAX])
        {
            assert_eq!(of(|out| push_number(number, out)), number.to_string());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_writes_it(text in any::<String>(), number in any::<u64>()) {
            prop_assert_eq!(of(|out| push_text(&text, out)), serde_json::to_string(&text).unwrap());
            prop_assert_eq!(of(|out| push_number(number, out)), number.to_string());
        }
    }
}
