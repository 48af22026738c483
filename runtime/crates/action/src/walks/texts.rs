//! Bytes keep their meaning: a text in any encoding is that text, what is none comes back byte for byte, and nothing is
//! replaced.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::Encoding;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{End, document, follow, get, labelled};
use crate::ActionPlan;
use crate::response::{header_text, join_headers};

/// Every encoding that a charset can name and that can be written, by its name and other labels.
const LABELS: &[&str] = &[
    "utf-8",
    "utf8",
    "unicode-1-1-utf-8",
    "us-ascii",
    "ascii",
    "latin1",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-8-i",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "ibm866",
    "cp866",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "x-mac-cyrillic",
    "windows-874",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "cp1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "gbk",
    "gb2312",
    "gb18030",
    "big5",
    "big5-hkscs",
    "euc-jp",
    "iso-2022-jp",
    "shift_jis",
    "sjis",
    "ms_kanji",
    "euc-kr",
    "ks_c_5601-1987",
];
/// Those of two bytes, which the library reads and does not write.
const WIDE: &[(&str, bool)] =
    &[("utf-16", false), ("utf-16", true), ("utf-16le", false), ("utf-16be", true), ("unicode", false)];

/// Letters of every script that the encodings above were made for, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,30}",
        "[ -~\u{a0}-\u{ff}\u{20ac}\u{152}]{0,30}",
        "[ -~\u{100}-\u{17f}]{0,30}",
        "[ -~\u{370}-\u{3ff}]{0,30}",
        "[ -~\u{400}-\u{45f}]{0,30}",
        "[ -~\u{5d0}-\u{5ea}\u{621}-\u{64a}]{0,30}",
        "[ -~\u{e01}-\u{e3a}]{0,30}",
        "[ -~\u{3041}-\u{30ff}\u{4e00}-\u{9fa5}]{0,30}",
        "[\u{4e00}-\u{9fa5}\u{ac00}-\u{d7a3}]{0,30}",
        "[ -~\u{1f300}-\u{1f64f}\u{20000}-\u{2a6d6}]{0,30}",
        any::<String>(),
    ]
    // Why: the first is a mark and not text at the beginning; the second would hide what is looked for.
    .prop_map(|text| text.replace(['\u{feff}', '\u{fffd}'], "?"))
}

/// A text in an encoding and the charset's label, in lower or upper case; a letter that the encoding does not have is
/// written as `?`.
fn encoded(text: &str, label: &str) -> (String, Vec<u8>) {
    let encoding = Encoding::for_label(label.as_bytes()).unwrap();
    // Why letter by letter: some encodings read another letter than they wrote, such as a wide one.
    let reads_back = |ch: char| {
        let one = ch.to_string();
        let (bytes, _, missing) = encoding.encode(&one);
        !missing && encoding.decode_without_bom_handling(&bytes).0 == one
    };
    let text: String = text.chars().map(|ch| if reads_back(ch) { ch } else { '?' }).collect();
    let bytes = encoding.encode(&text).0.into_owned();
    (text, bytes)
}

fn wide(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let mark = mark.then_some(0xfeff_u16);
    mark.into_iter()
        .chain(text.encode_utf16())
        .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
        .collect()
}

/// A content type with a charset, in the ways that servers write it.
fn with_charset(essence: &str, label: &str, style: usize) -> String {
    match style {
        0 => format!("{essence}; charset={label}"),
        1 => format!("{essence};charset=\"{}\"", label.to_ascii_uppercase()),
        2 => format!("{essence}; version=1; Charset = '{label}'"),
        3 => format!("{}; CHARSET={} ; q=1", essence.to_ascii_uppercase(), label.to_ascii_uppercase()),
        _ => format!("{essence}; profile=\"a;b\"; charset={label}"),
    }
}

fn plan(of: Value) -> ActionPlan {
    serde_json::from_value(json!({ "response": of })).unwrap()
}

fn output(plan: &ActionPlan, content_type: &str, body: &[u8]) -> Value {
    match follow(plan, get("https://h/l"), |_| (200, labelled(content_type), body.to_vec())).0 {
        End::Output(output) => output,
        other => panic!("{other:?}"),
    }
}

/// What a body of that type is read as, all ways that read text.
fn same_text(content_type: &dyn Fn(&str) -> String, text: &str, body: &[u8]) -> Result<(), TestCaseError> {
    let typed = plan(json!({ "type": "text" }));
    prop_assert_eq!(output(&typed, &content_type("text/plain"), body), json!(text));
    let auto = output(&plan(json!({})), &content_type("text/csv"), body);
    let is_control =
        |ch: char| ch.is_control() && !matches!(ch, '\t' | '\n' | '\r' | '\x0c' | '\x1b' | '\u{85}');
    match text {
        "" => prop_assert!(auto.is_null() || auto == ""),
        // What no text has comes as bytes.
        _ if text.contains(is_control) => prop_assert_eq!(&auto["base64"], &json!(STANDARD.encode(body))),
        _ => prop_assert_eq!(auto, json!(text)),
    }
    Ok(())
}

/// The same for a document: by type, by label and in lines.
fn same_json(content_type: &dyn Fn(&str) -> String, value: &Value, body: &[u8]) -> Result<(), TestCaseError> {
    for (of, essence) in [
        (json!({ "type": "json" }), "text/html"),
        (json!({}), "application/json"),
        (json!({}), "application/vnd.api+json"),
        (json!({ "map": [["v", ""]] }), "application/json"),
    ] {
        let mapped = of.get("map").is_some();
        let found = output(&plan(of), &content_type(essence), body);
        prop_assert_eq!(&found, &if mapped { json!({ "v": value }) } else { value.clone() });
    }
    let lines = output(&plan(json!({ "type": "ndjson" })), &content_type("application/x-ndjson"), body);
    prop_assert_eq!(lines, json!([value]));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_text_in_any_encoding_is_that_text(
        text in text(), label in prop::sample::select(LABELS), style in 0_usize..5,
    ) {
        let (text, body) = encoded(&text, label);
        let content_type = |essence: &str| with_charset(essence, label, style);
        same_text(&content_type, &text, &body)?;
        let (text, body) = encoded(&json!({ "name": text, "n": [1, null] }).to_string(), label);
        same_json(&content_type, &serde_json::from_str(&text).unwrap(), &body)?;
    }

    #[test]
    fn a_text_of_two_bytes_a_letter_is_that_text(
        text in text(), (label, big) in prop::sample::select(WIDE), mark: bool, style in 0_usize..5, unlabelled: bool,
    ) {
        // Why only with a mark: nothing else says the order of a text's bytes.
        let mark = mark || unlabelled || (label == "utf-16" && big);
        let content_type =
            |essence: &str| if unlabelled { essence.to_owned() } else { with_charset(essence, label, style) };
        same_text(&content_type, &text, &wide(&text, big, mark))?;
        let value = json!({ "name": text, "n": [1, null] });
        same_json(&content_type, &value, &wide(&value.to_string(), big, mark))?;
        // JSON says it by its first character.
        same_json(&content_type, &value, &wide(&value.to_string(), big, mark || unlabelled))?;
    }

    #[test]
    fn a_document_names_its_own_charset(text in text(), label in prop::sample::select(LABELS), html: bool) {
        let (text, body) = if html {
            encoded(&format!("<html><meta charset=\"{label}\"><p>{text}"), label)
        } else {
            encoded(&format!("<?xml version=\"1.0\" encoding='{label}'?><a>{text}</a>"), label)
        };
        let is_utf8 = std::str::from_utf8(&body).is_ok();
        let read = output(&plan(json!({ "type": "text" })), if html { "text/html" } else { "application/xml" }, &body);
        // Why not then: bytes that are UTF-8 are taken as that, and most encodings have some of those by chance.
        if !is_utf8 || text.is_ascii() && label != "iso-2022-jp" {
            prop_assert_eq!(read, json!(text));
        }
    }

    #[test]
    fn bytes_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..60), label in super::label(), charset in prop::sample::select(LABELS), named: bool) {
        let content_type = if named { with_charset(label, charset, 0) } else { label.to_owned() };
        let essence = label.split([';', ',']).next().unwrap().trim().to_ascii_lowercase();
        let whole = json!({ "media_type": essence, "base64": STANDARD.encode(&bytes), "bytes": bytes.len() });
        prop_assert_eq!(output(&plan(json!({ "type": "binary" })), &content_type, &bytes), whole.clone());
        let auto = output(&plan(json!({})), &content_type, &bytes);
        let said = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains('\u{fffd}'));
        let replaced = auto.to_string().contains('\u{fffd}') && !said;
        prop_assert!(!replaced, "bytes were replaced");
        match auto {
            Value::String(text) => prop_assert!(!text.chars().any(|ch| ch == '\0')),
            Value::Object(members) if members.contains_key("base64") => prop_assert_eq!(Value::Object(members), whole),
            Value::Null => prop_assert!(bytes.is_empty() || bytes == b"null"),
            _ => {}
        }
    }

    #[test]
    fn header_values_are_utf_8_or_latin_1(text in "[\u{20}-\u{7e}\u{a0}-\u{ff}]{0,30}", other in any::<String>()) {
        let latin: Vec<u8> = text.chars().map(|ch| u8::try_from(ch).unwrap()).collect();
        let joined = join_headers(&[("X-A".to_owned(), latin.clone()), ("x-b".to_owned(), other.clone().into_bytes())]);
        if std::str::from_utf8(&latin).is_err() || text.is_ascii() {
            prop_assert_eq!(header_text(&latin), text.as_str());
            prop_assert_eq!(&joined["x-a"], &json!(text));
        }
        prop_assert_eq!(&joined["x-b"], &json!(other));
    }

    #[test]
    fn a_document_keeps_its_texts_in_every_encoding(value in document(), label in prop::sample::select(LABELS)) {
        let (text, body) = encoded(&json!([value]).to_string(), label);
        let Ok(value) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        same_json(&|essence: &str| with_charset(essence, label, 0), &value, &body)?;
    }
}

#[test]
fn b3_the_first_letter_of_a_text_does_not_turn_its_bytes_round() {
    // `一` is the bytes 00 4E: read the other way round it is `N`.
    let read =
        |content_type: &str, text: &str| output(&plan(json!({})), content_type, &wide(text, false, false));
    for label in ["utf-16le", "utf-16"] {
        assert_eq!(read(&format!("text/plain; charset={label}"), "一二"), json!("一二"), "{label}");
    }
    assert_eq!(read("application/json; charset=utf-16le", "{\"a\":\"一\"}"), json!({ "a": "一" }));
}
