//! Bytes as lower-case hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes written at once: a SHA-256.
const CHUNK_BYTES: usize = 32;

/// The digits of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    push(bytes, &mut out);
    out
}

/// Appends the digits of `bytes`.
pub fn push(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let mut digits = [[b'0'; 2]; CHUNK_BYTES];
        for (pair, byte) in digits.iter_mut().zip(chunk) {
            // Why never absent: the index has four bits.
            *pair =
                [byte >> 4, byte & 15].map(|nibble| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
        let digits = digits.get(..chunk.len()).unwrap_or_default().as_flattened();
        out.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_two_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(encode(&bytes), expected);
        for length in [0, 1, 31, 32, 33, 64] {
            assert_eq!(encode(&bytes[..length]), expected[..2 * length]);
        }
    }
}
