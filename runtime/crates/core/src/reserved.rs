//! Names of parameters as the laxest server reads them. Whether a name is reserved, or taken already, is judged
//! by this reading: a server that folds case or decodes twice would otherwise see a second `state`.

use std::borrow::Cow;

/// How often a name may have been encoded.
const ENCODINGS_MAX: usize = 3;

/// The name that a lax server may read: decoded, without what surrounds it, in lower case, and with `_` for the
/// characters that some frameworks replace by it.
#[must_use]
pub fn folded(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let mut name = name.to_owned();
    for _ in 0..ENCODINGS_MAX {
        let decoded = decoded(&name);
        if decoded == name {
            break;
        }
        name = decoded;
    }
    let name = name.trim_matches(|ch: char| ch.is_whitespace() || ch.is_control());
    let fold = |ch: char| match ch {
        '.' | ' ' | '-' | '+' => '_',
        other => other.to_ascii_lowercase(),
    };
    Cow::Owned(name.chars().filter(|ch| !ch.is_control()).map(fold).collect())
}

/// Whether a name may be read as `own`: as it is, or, where it ends in `[…]`, as an array of that name.
#[must_use]
pub fn takes_place_of(name: &str, own: &str) -> bool {
    is_folded_to(&folded(name), &folded(own))
}

/// Whether one of two names may be read as the other.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    takes_place_of(one, other) || takes_place_of(other, one)
}

/// The reserved name that this name may be read as.
#[must_use]
pub fn reserved<'r>(name: &str, all: &[&'r str]) -> Option<&'r str> {
    let folded = folded(name);
    all.iter().copied().find(|own| is_folded_to(&folded, own))
}

fn is_folded_to(name: &str, own: &str) -> bool {
    let stem = name.split('[').next().unwrap_or_default().trim_end_matches('_');
    name == own || stem == own && stem.len() < name.len()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => pair(*high, *low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_that_some_server_reads_as_the_name_is_the_name() {
        for spelling in [
            "redirect_uri",
            "Redirect_URI",
            "redirect%5Furi",
            "redirect%5furi",
            "redirect%255Furi",
            "%72edirect_uri",
            " redirect_uri",
            "redirect_uri\0",
            "redirect.uri",
            "redirect uri",
            "redirect_uri[]",
            "redirect_uri[0]",
            "redirect_uri%5B%5D",
        ] {
            assert_eq!(reserved(spelling, &["state", "redirect_uri"]), Some("redirect_uri"), "{spelling:?}");
        }
    }

    #[test]
    fn another_name_is_another_name() {
        for other in ["redirect", "redirect_uris", "x_redirect_uri", "prompt", "", "%", "%zz"] {
            assert_eq!(reserved(other, &["state", "redirect_uri"]), None, "{other:?}");
        }
        assert!(is_same("Prompt", "prompt") && !is_same("prompt", "prompts"));
        assert!(
            takes_place_of("Key[]", "key") && takes_place_of("key[a]", "KEY[A]") && is_same("key", "key[a]")
        );
        assert!(
            !takes_place_of("key", "key[a]")
                && !takes_place_of("key[b]", "key[a]")
                && !is_same("key[b]", "key[a]")
        );
    }
}
