//! Every listed form is found, and nothing else is changed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use proptest::prelude::*;

use super::*;

mod reference;

use self::reference::{codings_of, forms_of};

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
        let expected = codings_of(&text);
        let found = codings(&text);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{text:?}: {} {}", shown(found), shown(expected));
        }
        let starts: Vec<u32> = forms::starts(&text).collect();
        let first = |form: &Vec<u8>| form.first_chunk().map(|first| u32::from_le_bytes(*first));
        assert_eq!(starts, expected.iter().filter_map(first).collect::<Vec<_>>(), "{text:?}");
    }
}

fn codings(secret: &str) -> Vec<Vec<u8>> {
    forms::wholes(secret).map(|needle| needle.bytes.to_vec()).collect()
}

#[test]
fn a_form_never_grows_beyond_its_room() {
    for text in ["a", "\"\"", "\u{1}", "é", "\u{10ffff}", "\u{149}ŉ", "ΐΰ"] {
        for form in forms::wholes(text) {
            assert!(form.bytes.capacity() <= text.len() * 6, "{text:?} {}", form.bytes.len());
        }
    }
}

proptest! {
    #[test]
    fn any_secret_has_the_forms_that_the_usual_libraries_write(secret in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
        prop_assert_eq!(codings(&secret), codings_of(&secret));
    }

    /// Any secret, any form, anywhere: it is found, and afterwards it is not there.
    #[test]
    fn no_form_is_missed(
        secret in "\\PC{4,40}|[\\x01-\\x7f]{4,40}",
        others in prop::collection::vec("[ -~]{4,20}", 0..3),
        before in prop::collection::vec(any::<u8>(), 0..20),
        after in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let secrets = others.iter().map(String::as_str).chain([secret.as_str()]);
        let scrubber = Scrubber::new(secrets);
        let all = forms_of(&secret).into_iter().map(|form| form.to_vec()).chain(codings_of(&secret));
        for form in all.filter(|form| form.len() >= SECRET_BYTES_MIN) {
            let mut text = [&before[..], &form[..], &after[..]].concat();
            prop_assert!(scrubber.is_in(&text), "{}", String::from_utf8_lossy(&form));
            prop_assert!(scrubber.scrub(&mut text));
            prop_assert!(!scrubber.is_in(&text));
        }
    }

    /// A JSON text in which any characters are escaped in any way that RFC 8259 allows, and that is a JSON
    /// string again.
    #[test]
    fn no_json_spelling_is_missed(
        secret in "\\PC{4,40}",
        ways in prop::collection::vec(0..4_u8, 40),
        times in 0..2_u8,
    ) {
        // Why not those: with the quotation mark before it, the first of two is a doubled one.
        prop_assume!(!secret.contains("\"\""));
        let spelled = secret.chars().zip(ways.iter().cycle()).map(|(ch, way)| json_character(ch, *way));
        let mut text = format!("\"{}\"", spelled.collect::<String>());
        for _ in 0..times {
            text = serde_json::to_string(&text).unwrap();
        }
        let mut body = format!("{{\"a\":{text}}}").into_bytes();
        prop_assert!(Scrubber::new([secret.as_str()].into_iter()).scrub(&mut body));
        let left: serde_json::Value = serde_json::from_slice(&body).unwrap();
        prop_assert!(!left["a"].as_str().unwrap().contains(&secret));
    }

    /// What is left of a JSON text is a JSON text, with the same members.
    #[test]
    fn a_json_text_stays_one(secret in "[!#-&(-+.-9;-Z\\\\^-z|~-]{6,12}", around in "[ -~\\n]{0,12}") {
        // Why without quotes, commas, colons and brackets: the document itself could spell them.
        let document = serde_json::json!({ "a": format!("{around}{secret}{around}"), "b": [around, secret] });
        let mut body = document.to_string().into_bytes();
        prop_assert!(Scrubber::new([secret.as_str()].into_iter()).scrub(&mut body));
        let left: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        let members = left.ok().and_then(|left| left.as_object().map(serde_json::Map::len));
        prop_assert_eq!(members, Some(2), "{}", String::from_utf8_lossy(&body));
    }
}

fn json_character(ch: char, way: u8) -> String {
    let units = |upper: bool| -> String {
        let unit = |unit: &u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        ch.encode_utf16(&mut [0; 2]).iter().map(unit).collect()
    };
    match (way, ch) {
        (0, _) => units(false),
        (1, _) => units(true),
        (2, '/') => "\\/".to_owned(),
        _ => {
            let quoted = serde_json::to_string(&ch).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        }
    }
}

#[test]
fn escapes_of_every_language_are_read() {
    let secret = "k+e=y/~'é";
    let scrubber = Scrubber::new([secret].into_iter());
    for form in [
        r"k\u002Be\u003dy\/~\u0027\u00e9",
        r"k\\u002Be\\u003dy\\/~\\u0027\\u00e9",
        r"k\x2be\x3dy\x2f\x7e\x27\xe9",
        r"k\x{2b}e\u{3d}y\u{2F}~\u{27}\u{e9}",
        r"k\053e\075y\057\176\047\303\251",
        r"k\2b e\3d y\2f \7e \27 é",
        r"k\2be\3dy\2f\7e\27\c3\a9",
        r"k\+e\=y\/\~\'é",
        "k%2Be%3Dy%2F%7E%27%C3%A9",
        "k%2be%3dy%2f~'%e9",
        "k%252Be%253Dy%252F%257E%2527%25C3%25A9",
        "k%25252Be%25253Dy/~'é",
        "k+e=y/~%27%u00e9",
        "k&#43;e&#61;y&#47;&#126;&#39;&#233;",
        "k&#x2b;e&#X3D;y&#x2F;~&#x0027;&eacute;",
        "k&plus;e&equals;y&sol;~&apos;&#233;",
        "k&amp;#43;e&amp;#61;y/~&amp;#39;&amp;#233;",
        "k+e=3Dy/~'=C3=A9",
        "k+e=3D=\r\ny/~'=C3=\n=A9",
        "k+e=3D=\\r\\ny/~'é",
        "k+e=y/~'\\''é",
        "k+e=y/~'\"'\"'é",
        "k+e=y/~'\\\"'\\\"'é",
        "k+e=y/~''é",
        "k%26%2343%3Be=y/~'é",
        "k%5Cu002Be=y/~'é",
        "\\u006b\\u002b\\u0065\\u003d\\u0079\\u002f\\u007e\\u0027\\u00e9",
    ] {
        let mut text = format!("a {form} z").into_bytes();
        assert!(scrubber.scrub(&mut text), "{form}");
        assert_eq!(text, b"a [redacted] z", "{form}: {}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn bytes_in_lines_in_arrays_and_inside_base64_are_read() {
    let secret = "sk-Live/7f3a+9C51=e2b84d06";
    let scrubber = Scrubber::new([secret].into_iter());
    let long =
        format!("some text before it, then {secret} and some after it: enough for three lines of text");
    let coded = STANDARD.encode(&long);
    let lines = |text: &str, columns: usize, end: &str| -> String {
        let lines = text.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into_owned());
        lines.collect::<Vec<_>>().join(end)
    };
    let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    for text in [
        lines(&coded, 76, "\n"),
        lines(&coded, 64, "\r\n"),
        lines(&coded, 64, "\\n"),
        lines(&coded, 30, "\r\n  "),
        STANDARD.encode(STANDARD.encode(&long)),
        STANDARD.encode(format!("{{\"k\":\"{}\"}}", secret.replace('+', "\\u002B"))),
        URL_SAFE.encode(long.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
        format!("[{}]", numbers.join(",")),
        format!("{{\"data\":[ {} ]}}", numbers.join(", ")),
    ] {
        assert!(scrubber.is_in(text.as_bytes()), "{text}");
        let mut body = text.clone().into_bytes();
        assert!(scrubber.scrub(&mut body) && !scrubber.is_in(&body), "{text}");
        assert!(body.windows(MARK.len()).any(|window| window == MARK), "{text}");
    }
}

#[test]
fn more_than_half_of_a_secret_is_a_part_and_less_is_none() {
    let scrubber = Scrubber::new(["0123456789abcdef"].into_iter());
    assert!(scrubber.has_part_in(b"eu-23456789a-x") && scrubber.has_part_in(b"0123456789abcdef"));
    assert!(!scrubber.has_part_in(b"eu-3456789a-x") && !scrubber.has_part_in(b""));
    assert!(scrubber.has_part_in(b"was [redacted]"), "the place of one that was removed");
}

/// Files have long runs of one byte; zero bytes are also what UTF-16 writes between characters.
#[test]
fn runs_of_one_byte_are_no_secret_and_stay() {
    let scrubber = Scrubber::new([SECRET, "with a space"].into_iter());
    for byte in [0, b'\\', b'%', b'&', b'=', b'+', b'\'', b'"', b'\n', b's', 0xff] {
        let text = vec![byte; 200_000];
        let mut left = text.clone();
        assert!(!scrubber.scrub(&mut left) && left == text, "{byte:#x}");
    }
    for zeros in [1, 3] {
        let wide = |byte: u8| [vec![byte], vec![0; zeros]].concat();
        assert!(scrubber.is_in(&"a with a space z".bytes().flat_map(wide).collect::<Vec<u8>>()));
    }
}

/// A text and a secret that are made to be compared at every position, at length.
#[test]
fn a_search_takes_steps_in_proportion_to_its_text() {
    let secret = format!("{}x", "abababab".repeat(2000));
    let scrubber = Scrubber::new([secret.as_str()].into_iter());
    for piece in ["ab", "\\u0061b", "%61%62", "&#97;&#98;", "YWJhYmFi\n"] {
        let text = piece.repeat(400_000 / piece.len()).into_bytes();
        let mut left = text.clone();
        scrubber.scrub(&mut left);
        assert!(left == text || left.is_empty(), "{piece}: as it was, or withheld");
    }
}

#[test]
fn the_prefilter_finds_nothing_in_a_text_without_a_secret() {
    let starts = Starts::of([SECRET].into_iter());
    let may_be_in = |text: &[u8]| starts.any(text, |_| true);
    assert!(!may_be_in(b"{\"id\":\"003\",\"success\":true}"));
    assert!(!may_be_in(b"sk/"));
    // The start of a form is enough, in any spelling.
    assert!(may_be_in(b"a sk/lab b") && may_be_in(b"a sk%2Flab b") && may_be_in(b"a \\u0073k/lab b"));
}
