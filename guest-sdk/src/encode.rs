//! Percent-encoding (RFC 3986): every byte but the unreserved ones, so that a value cannot leave its place.

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

/// Appends the encoded value.
pub(crate) fn push_encoded(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
            continue;
        }
        out.push('%');
        for nibble in [byte >> 4, byte & 15] {
            out.extend(HEX.get(usize::from(nibble)));
        }
    }
}

/// The encoded value.
pub(crate) fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    push_encoded(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encoded("a-Z.0_~"), "a-Z.0_~");
        assert_eq!(encoded("a/b?c#d&e=f g%+"), "a%2Fb%3Fc%23d%26e%3Df%20g%25%2B");
        assert_eq!(encoded("ü\r\n"), "%C3%BC%0D%0A");
    }
}
