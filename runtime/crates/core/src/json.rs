//! Pieces of compact JSON, written directly because every call writes them. The output is exactly
//! what `serde_json` writes.

pub use portcullis_action::json::push_string as push_text;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
