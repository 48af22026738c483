//! Escaping by position: what a value must be, or becomes, where it is put.
//!
//! Encoding happens exactly once, at substitution; substituted text is never scanned again. The
//! rules follow RFC 3986 (unreserved characters), RFC 1123 (host labels) and RFC 9110 section 5.5
//! (field values).

/// Why a value cannot stand at its position. The caller adds the variable's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscapeError {
    /// Host position.
    #[error("must be one DNS label in a host (letters, digits and inner hyphens, 1 to 63)")]
    NotALabel,
    /// Path position.
    #[error("must not be empty in a path")]
    EmptySegment,
    /// Path position.
    #[error("must not make a path segment `.` or `..`")]
    DotSegment,
    /// Header position.
    #[error("must not contain control characters in a header")]
    HeaderControl,
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Percent-encodes every byte outside RFC 3986 `unreserved`, upper-case hex, into `out`.
pub fn percent_encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(nibble)).map_or('0', |h| char::from(*h)));
            }
        }
    }
}

/// Checks a value for the host position and appends it in lower case.
///
/// # Errors
/// [`EscapeError::NotALabel`] for anything but one LDH label.
pub fn host_label(value: &str, out: &mut String) -> Result<(), EscapeError> {
    if !is_host_label(value) {
        return Err(EscapeError::NotALabel);
    }
    out.push_str(&value.to_ascii_lowercase());
    Ok(())
}

/// Whether `value` is one label of letters, digits and inner hyphens, 1 to 63 bytes.
#[must_use]
pub fn is_host_label(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 63
        && !value.starts_with('-')
        && !value.ends_with('-')
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Checks a value for the header position and appends it.
///
/// # Errors
/// [`EscapeError::HeaderControl`] for CR, LF, NUL or any other control character.
pub fn header_value(value: &str, out: &mut String) -> Result<(), EscapeError> {
    if value.chars().any(char::is_control) {
        return Err(EscapeError::HeaderControl);
    }
    out.push_str(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &str) -> String {
        let mut out = String::new();
        percent_encode(value, &mut out);
        out
    }

    #[test]
    fn everything_but_unreserved_is_encoded_once() {
        assert_eq!(encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(encoded("a/b?c#d%2F&=+ é@:"), "a%2Fb%3Fc%23d%252F%26%3D%2B%20%C3%A9%40%3A");
    }

    #[test]
    fn a_host_value_is_one_label() {
        for good in ["a", "A1", "a-b", &"x".repeat(63)] {
            let mut out = String::new();
            assert_eq!(host_label(good, &mut out), Ok(()), "{good}");
            assert_eq!(out, good.to_ascii_lowercase());
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a.b",
            "a/b",
            "a@b",
            "a:1",
            "a#",
            "a?",
            "a\\",
            "%61",
            "é",
            "a b",
            "a_b",
            &"x".repeat(64),
        ] {
            assert_eq!(host_label(bad, &mut String::new()), Err(EscapeError::NotALabel), "{bad:?}");
        }
    }

    #[test]
    fn a_header_value_has_no_controls() {
        assert_eq!(header_value("a b\u{e9}", &mut String::new()), Ok(()));
        for bad in ["a\r\nb", "a\nb", "\0", "\u{7f}", "a\tb"] {
            assert_eq!(header_value(bad, &mut String::new()), Err(EscapeError::HeaderControl), "{bad:?}");
        }
    }
}
