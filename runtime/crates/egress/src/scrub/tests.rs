//! Every listed form is found, and nothing else is changed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use proptest::prelude::*;

use super::*;

mod reference;

use self::reference::forms_of;

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
fn what_python_and_php_write_by_default_is_removed() {
    let scrubber = Scrubber::new(["pässwörd/\u{1f600}x"].into_iter());
    for form in [
        r"p\u00e4ssw\u00f6rd/\ud83d\ude00x",
        r"p\u00e4ssw\u00f6rd\/\ud83d\ude00x",
        r"p\u00E4ssw\u00F6rd/\uD83D\uDE00x",
    ] {
        let mut text = format!("{{\"token\":\"{form}\"}}").into_bytes();
        assert!(scrubber.scrub(&mut text), "{form}");
        assert_eq!(text, br#"{"token":"[redacted]"}"#, "{form}");
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
    assert!(!scrubber.scrub(&mut text), "too short to be searched for");
}

#[test]
fn every_occurrence_is_removed() {
    let text = format!("{SECRET}{SECRET} and {SECRET}");
    assert_eq!(scrubbed(text.as_bytes()).1, b"[redacted][redacted] and [redacted]");
}

/// Found by fuzzing: the mark and the byte before it spelled the secret again.
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

#[test]
fn every_form_is_the_one_that_the_usual_libraries_write() {
    let shown = |form: &[u8]| String::from_utf8_lossy(form).into_owned();
    let all = (0..=0x2ff_u32).chain([0x2028, 0xffff, 0x1_0000, 0x1f_600, 0x10_ffff]);
    let texts = all.filter_map(char::from_u32).flat_map(|ch| {
        [
            ch.to_string(),
            format!("{ch}{ch}{ch}{ch}"),
            format!("ab{ch}d"),
            format!("{ch}bcde{ch}"),
            format!("abc{ch}"),
        ]
    });
    for text in texts.chain([SECRET.to_owned(), "ΑΣ ΑΣΑ".to_owned(), "straße".to_owned(), String::new()])
    {
        let expected = forms_of(&text);
        let found: Vec<_> = forms::wholes(&text).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{text:?}: {} {}", shown(found), shown(expected));
        }
        let starts: Vec<u32> = forms::starts(&text).collect();
        let first = |form: &Zeroizing<Vec<u8>>| form.first_chunk().map(|first| u32::from_le_bytes(*first));
        assert_eq!(starts, expected.iter().filter_map(first).collect::<Vec<_>>(), "{text:?}");
    }
}

#[test]
fn a_form_never_grows_beyond_its_room() {
    for text in ["a", "\"\"", "\u{1}", "é", "\u{10ffff}", "\u{149}ŉ", "ΐΰ"] {
        for form in forms::wholes(text) {
            assert!(form.capacity() <= text.len() * 6, "{text:?} {}", form.len());
        }
    }
}

proptest! {
    #[test]
    fn any_secret_has_the_forms_that_the_usual_libraries_write(secret in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
        prop_assert_eq!(forms::wholes(&secret).collect::<Vec<_>>(), forms_of(&secret));
    }

    /// The prefilter passes no text that has a form: any secret, any form, anywhere.
    #[test]
    fn the_prefilter_never_misses_a_form(
        secret in "\\PC{4,40}",
        others in prop::collection::vec("[ -~]{4,20}", 0..3),
        before in prop::collection::vec(any::<u8>(), 0..20),
        after in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let secrets = others.iter().map(String::as_str).chain([secret.as_str()]);
        let starts = Starts::of(secrets);
        for form in forms_of(&secret).into_iter().filter(|form| form.len() >= SECRET_BYTES_MIN) {
            let text = [&before[..], &form[..], &after[..]].concat();
            prop_assert!(starts.may_be_in(&text), "{}", String::from_utf8_lossy(&form));
        }
    }
}

#[test]
fn the_prefilter_finds_nothing_in_a_text_without_a_secret() {
    let starts = Starts::of([SECRET].into_iter());
    assert!(!starts.may_be_in(b"{\"id\":\"003\",\"success\":true}"));
    assert!(!starts.may_be_in(b"sk/"));
    // The start of a form is enough.
    assert!(starts.may_be_in(b"a sk/lab b"));
}
