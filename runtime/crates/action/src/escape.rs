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
    /// Host position, alone.
    #[error("must be a whole host name such as api.example.com")]
    NotAHost,
    /// Path position.
    #[error("must not be empty in a path")]
    EmptySegment,
    /// Path position.
    #[error("must not make a path segment `.` or `..`")]
    DotSegment,
    /// Header position.
    #[error("must not contain control characters in a header")]
    HeaderControl,
    /// XML position.
    #[error("must not contain characters that XML 1.0 cannot write")]
    XmlCharacter,
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends `name=value`, both percent-encoded, after what is in `out`: a query, or a form.
pub fn append_pair(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('&');
    }
    percent_encode(name, out);
    out.push('=');
    percent_encode(value, out);
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

/// The bytes that [`percent_encode`] makes of a value.
#[must_use]
pub(crate) fn percent_length(value: &str) -> usize {
    let encoded = value.bytes().filter(|byte| !is_unreserved(*byte)).count();
    value.len().saturating_add(encoded.saturating_mul(2))
}

/// [`percent_encode`] as a step that cannot fail, for [`crate::Values::join`].
pub(crate) fn encode_value(value: &str, out: &mut String) -> Result<(), EscapeError> {
    percent_encode(value, out);
    Ok(())
}

/// A value at a position where nothing is escaped, or only later.
pub(crate) fn as_is(value: &str, out: &mut String) -> Result<(), std::convert::Infallible> {
    out.push_str(value);
    Ok(())
}

/// Percent-encodes a name that a definition chose: its `[` and `]` are structure and stay.
pub(crate) fn encode_name(name: &str, out: &mut String) {
    for piece in name.split_inclusive(['[', ']']) {
        let bracket = piece.chars().last().filter(|c| matches!(c, '[' | ']'));
        percent_encode(piece.trim_end_matches(['[', ']']), out);
        out.extend(bracket);
    }
}

/// Appends a value of several path segments, each encoded; none may be empty or a dot segment.
///
/// # Errors
/// [`EscapeError::EmptySegment`] and [`EscapeError::DotSegment`].
pub fn path_segments(value: &str, out: &mut String) -> Result<(), EscapeError> {
    for (index, segment) in value.split('/').enumerate() {
        match segment {
            "" => return Err(EscapeError::EmptySegment),
            "." | ".." => return Err(EscapeError::DotSegment),
            _ => {}
        }
        if index > 0 {
            out.push('/');
        }
        percent_encode(segment, out);
    }
    Ok(())
}

/// Appends a value as XML 1.0 text or attribute value.
///
/// # Errors
/// [`EscapeError::XmlCharacter`] for characters outside the `Char` production, which XML cannot contain even as
/// a reference.
pub fn xml_text(value: &str, out: &mut String) -> Result<(), EscapeError> {
    for ch in value.chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // Why a reference: a reader turns the character itself into a line feed (XML 1.0, 2.11).
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(ch),
            _ => return Err(EscapeError::XmlCharacter),
        }
    }
    Ok(())
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

/// Checks a whole host name of at least two labels and appends it in lower case.
///
/// # Errors
/// [`EscapeError::NotAHost`].
pub fn host(value: &str, out: &mut String) -> Result<(), EscapeError> {
    if !value.contains('.') || !value.split('.').all(is_host_label) {
        return Err(EscapeError::NotAHost);
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
pub(crate) mod tests {
    use super::*;

    /// The text, percent-decoded.
    pub(crate) fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    }

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

    #[test]
    fn a_name_keeps_the_definitions_brackets_alone() {
        for (name, expected) in [
            ("a", "a"),
            ("page[size]", "page[size]"),
            ("a b[c&d][]", "a%20b[c%26d][]"),
            ("[[", "[["),
            ("]é", "]%C3%A9"),
        ] {
            let mut out = String::new();
            encode_name(name, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn xml_escapes_markup_and_refuses_what_it_cannot_write() {
        let mut out = String::new();
        xml_text("<a b=\"c\" d='e'>&amp;\r\n\t\u{1F600}", &mut out).unwrap();
        assert_eq!(out, "&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;amp;&#13;\n\t\u{1F600}");
        for bad in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            let text = format!("a{bad}");
            assert_eq!(xml_text(&text, &mut String::new()), Err(EscapeError::XmlCharacter), "{bad:?}");
        }
        assert!(xml_text("\u{7f}\u{fffd}\u{d7ff}\u{e000}", &mut String::new()).is_ok());
    }
}
