//! Reading lower-case hexadecimal digits; `portcullis_core::hex` writes them.
//!
//! Upper case is refused: a hash has only one spelling, so that every changed byte is noticed.

/// The decoded bytes, if the digits are lower case and exactly `N` bytes.
pub(crate) fn decode<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (value(*high)? << 4) | value(*low)?;
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::hex;

    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else_is() {
        let bytes: [u8; 256] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(decode(&hex::encode(&bytes)), Some(bytes));
        for wrong in ["0", "000", "0000", "0G", "g0", "0A", "/0", ":0", "`0", " 0", "é"] {
            assert_eq!(decode::<1>(wrong), None, "{wrong:?}");
        }
        assert_eq!(decode::<0>(""), Some([]));
    }
}
