//! The result is what `serde_json` makes of the text, or `None`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

mod compare;

/// The text as a [`Value`] writes it; `None` if it is not JSON.
fn slow(text: &str) -> Option<String> {
    serde_json::from_str::<Value>(text).ok().map(|value| value.to_string())
}

#[test]
fn usual_texts_come_out_compact() {
    for text in [
        r#"{"id":"003","ok":true,"errors":[],"n":null,"o":{},"x":[1,-2,0,123456789012345]}"#,
        " { \"a\" : [ 1 , { \"b\" : false } ] , \"c\" : \"d e\" } \r\n\t",
        r#""line\n\ttab \"quoted\" back\\slash \b\f\r""#,
        r#"{"url":"https:\/\/a.b\/c","x":"\/"}"#,
        r#"[1.5,0.25,-0.5,10.0,0.001,0.0,-0.0,1234567890.12345,-1]"#,
        "\"\u{e9}\u{1f600}\u{7f}\"",
        "[]",
        "7",
        "[ ]",
        r#"{"a":{"b":1},"c":{"b":2}}"#,
    ] {
        assert_eq!(compact(text.as_bytes()).map(Cow::into_owned), slow(text), "{text}");
        assert!(compare::agree(text.as_bytes()), "{text}");
        assert!(slow(text).is_some(), "{text}");
    }
    assert!(matches!(compact(b"{\"a\":1}"), Some(Cow::Borrowed(_))), "nothing is copied");
}

#[test]
fn what_may_be_written_differently_is_left_to_the_parser() {
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    for text in [
        r#"{"a":1,"a":2}"#,
        r#""\u00e9""#,
        r#"{"\n\u0041":1}"#,
        r#"{"a\/b":1}"#,
        "-0",
        "1e5",
        "1.0e5",
        "1.50",
        "0.00001",
        "1234567890123456",
        "0.1234567890123456",
        &deep,
    ] {
        assert_eq!(compact(text.as_bytes()), None, "{text}");
        assert!(slow(text).is_some(), "{text}");
    }
}

#[test]
fn a_private_name_of_the_library_is_left_to_the_parser() {
    let of = |name: &str| {
        let text = format!(r#"{{"a":[{{"{name}":"[1]"}}]}}"#);
        compare::agree(text.as_bytes());
        compact(text.as_bytes()).is_some()
    };
    assert!(of("$serde_json::private::RawValu") && of("serde_json::private::RawValue") && of("$"));
    assert!(!of("$serde_json::private::RawValue"));
}

#[test]
fn an_object_of_many_members_is_left_to_the_parser_and_a_list_of_many_objects_is_not() {
    let object = |members: usize| -> String {
        let members: Vec<String> = (0..members).map(|n| format!("\"a_long_name_{n}\":{n}")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(compact(object(64).as_bytes()).is_some());
    assert_eq!(compact(object(65).as_bytes()), None);
    assert!(Members::read(&object(64)).is_some());
    assert_eq!(Members::read(&object(65)), None);
    let many = format!("[{}]", vec![object(64); 100].join(","));
    assert_eq!(compact(many.as_bytes()).map(Cow::into_owned), Some(many.clone()));
}

#[test]
fn what_is_not_json_is_not_passed_on() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "tru",
        "nul",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"a\nb\"",
        "\"\t\"",
        "1 2",
        "{} {}",
        "[1 2]",
        "{\"a\" 1}",
        "\u{feff}1",
        "'a'",
        "NaN",
        "[1]]",
        "{\"a\":1}}",
        "--1",
        "1-",
        "1a",
    ] {
        assert_eq!(compact(text.as_bytes()), None, "{text}");
        assert_eq!(slow(text), None, "{text}");
    }
    assert_eq!(compact(b"\"\xff\""), None);
}

#[test]
fn an_object_has_the_same_members_both_ways() {
    let text = r#"{"a":"x","b":{"c":[1, 2]},"d":"q\"q","e":null}"#;
    let map: Map<String, Value> = serde_json::from_str(text).unwrap();
    let members = Members::read(text).unwrap();
    let (by_map, by_text) = (Object::from(&map), Object::from(&members));
    for name in ["a", "b", "d", "e", "f"] {
        assert_eq!(by_map.get(name), by_text.get(name), "{name}");
    }
    assert_eq!(by_text.to_map().as_ref(), &map);
    assert_eq!(members.get("b"), Some(r#"{"c":[1,2]}"#));
    for text in ["[]", "{} x", r#"{"a":1,"a":2}"#, r#"{"a\n":1}"#, ""] {
        assert_eq!(Members::read(text), None, "{text}");
    }
    assert_eq!(Members::read(" { } "), Some(Members::default()));
}

#[test]
fn a_text_is_pushed_as_serde_writes_it() {
    for text in ["", "plain text of more than eight", "q\"", "12345678\\", "\u{1}", "\u{e9}\u{7f}", "a\nb"] {
        let mut out = String::new();
        push_string(text, &mut out);
        assert_eq!(out, json!(text).to_string());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1_000_000_i32..1_000_000, 0_i32..6).prop_map(|(n, p)| json!(f64::from(n) / 10_f64.powi(p))),
        "[ -~\u{e9}]{0,24}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-c]{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_comes_out_is_what_serde_writes(value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        compare::agree(text.as_bytes());
    }

    #[test]
    fn near_json_is_read_as_serde_reads_it(text in r#"[\[\]{}",:0-9.eE \\/nultr-]{0,14}"#) {
        compare::agree(text.as_bytes());
    }

    #[test]
    fn bytes_are_read_as_serde_reads_them(value in value(), at: prop::sample::Index, byte: u8) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        compare::agree(&bytes);
    }

    #[test]
    fn decimals_are_written_as_they_were(text in r"-?[0-9]{1,9}\.[0-9]{1,9}") {
        compare::agree(text.as_bytes());
    }
}
