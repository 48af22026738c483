//! Every form that is looked for is found, and nothing else is touched.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

const SECRET: &str = "sk/live+\"Q&<9>'~é";

fn scrubbed(text: &[u8]) -> (bool, Vec<u8>) {
    let mut body = text.to_vec();
    let found = Scrubber::new([SECRET].into_iter()).scrub(&mut body);
    (found, body)
}

#[test]
fn every_listed_form_is_removed_and_its_surroundings_stay() {
    for form in forms_of(SECRET) {
        let mut text = b"before ".to_vec();
        text.extend_from_slice(&form);
        text.extend_from_slice(b" after");
        let (found, body) = scrubbed(&text);
        assert!(found, "{}", String::from_utf8_lossy(&form));
        assert_eq!(body, b"before [redacted] after", "{}", String::from_utf8_lossy(&form));
    }
}

#[test]
fn base64_is_found_at_every_alignment() {
    for prefix in ["", "a", "ab", "abc", "user:"] {
        for suffix in ["", "z", "zz"] {
            let text = format!("{prefix}{SECRET}{suffix}");
            for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                let (found, body) = scrubbed(encoded.as_bytes());
                assert!(found, "{prefix} {suffix}");
                let left = String::from_utf8(body).unwrap();
                assert!(left.contains("[redacted]"), "{left}");
            }
        }
    }
}

#[test]
fn what_is_not_the_secret_stays() {
    let text = b"sk/live is a prefix; so is nothing else";
    assert_eq!(scrubbed(text), (false, text.to_vec()));
    let scrubber = Scrubber::new(["abc"].into_iter());
    let mut text = b"abc".to_vec();
    assert!(!scrubber.scrub(&mut text), "too short to look for");
}

#[test]
fn every_occurrence_is_removed() {
    let text = format!("{SECRET}{SECRET} and {SECRET}");
    assert_eq!(scrubbed(text.as_bytes()).1, b"[redacted][redacted] and [redacted]");
}

/// Found by fuzzing: the mark put behind a byte spelled the secret again.
#[test]
fn the_mark_never_spells_a_secret_with_its_surroundings() {
    for (secret, text) in [("\0[re", &b"\0\0[re"[..]), ("[red", b"a [red b"), ("ted]x", b"ted]xx and ted]x")]
    {
        let scrubber = Scrubber::new([secret].into_iter());
        let mut body = text.to_vec();
        assert!(scrubber.scrub(&mut body));
        assert!(!scrubber.is_in(&body), "{secret:?} in {:?}", String::from_utf8_lossy(&body));
    }
}
