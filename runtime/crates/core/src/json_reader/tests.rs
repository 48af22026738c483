//! What the reader refuses, each beside a similar text that it reads; the rest is `serde_json`'s.

use proptest::prelude::*;
use serde_json::json;

use super::*;

mod compare;

fn of(text: &str) -> Result<Value, JsonError> {
    let value = read(text.as_bytes(), &Limits::default());
    assert_eq!(compare::agree(text.as_bytes()), value.is_ok());
    value
}

/// Pointers to the duplicate members.
fn duplicates(text: &str) -> Vec<String> {
    match of(text) {
        Err(JsonError::Duplicates(violations)) => {
            assert!(violations.iter().all(|v| v.code == "duplicate_member"));
            violations.into_iter().map(|v| v.pointer).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_keep_their_order_and_numbers_their_kind() {
    let value = of(r#" {"b":1,"a":-1,"c":[1.5,18446744073709551615,true,null,"\u00e9\n"],"":{}} "#).unwrap();
    assert_eq!(value.to_string(), r#"{"b":1,"a":-1,"c":[1.5,18446744073709551615,true,null,"é\n"],"":{}}"#);
}

#[test]
fn every_member_that_stands_twice_is_reported_with_its_pointer() {
    assert_eq!(duplicates(r#"{"a":1,"a":1}"#), ["/a"]);
    assert_eq!(
        duplicates(r#"{"a":1,"b":[{},{"c/d":{"~":0,"~":1}}],"a":{"x":1,"x":2}}"#),
        ["/b/1/c~1d/~0", "/a", "/a/x"]
    );
    assert_eq!(duplicates(r#"{"a":1,"\u0061":2}"#), ["/a"], "an escape does not hide a name");
    assert_eq!(duplicates(r#"{"a":1,"a":2,"a":3}"#), ["/a"], "reported once");
    assert!(of(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}],"A":0}"#).is_ok(), "one name in different objects");
}

#[test]
fn a_message_names_the_member_and_quotes_no_value() {
    let Err(JsonError::Duplicates(violations)) = of(r#"{"key":"canary","key":"canary"}"#) else { panic!() };
    assert_eq!(violations[0].message, "the member \"key\" is a duplicate; which one counts would be a guess");
}

#[test]
fn a_flood_of_duplicates_is_cut_short() {
    let many: Vec<String> = (0..300).map(|i| format!(r#""k{i}":0,"k{i}":0"#)).collect();
    assert_eq!(duplicates(&format!("{{{}}}", many.join(","))).len(), REPORTED_MAX);
    let long = "n".repeat(REPORTED_BYTES_MAX);
    let reported = duplicates(&format!(r#"{{"{long}":{{"a":0,"a":0,"b":0,"b":0}}}}"#));
    assert_eq!(reported, [format!("/{long}/a")]);
}

#[test]
fn nesting_ends_at_the_limit_with_the_pointer_of_what_lies_below() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let levels_max = Limits::default().json_levels;
    let most = usize::try_from(levels_max).unwrap();
    assert!(of(&nested(most)).is_ok());
    let pointer = "/0".repeat(most);
    assert_eq!(of(&nested(most + 1)), Err(JsonError::TooDeep { pointer, levels_max }));
    let deep = "[".repeat(100_000);
    assert!(matches!(of(&deep), Err(JsonError::TooDeep { .. })), "broken below the limit, not looked at");
    let members = format!(r#"{{"a":{}}}"#, r#"{"b":"#.repeat(most));
    assert!(matches!(of(&members), Err(JsonError::TooDeep { pointer, .. }) if pointer.starts_with("/a/b/b")));
    assert!(of(&format!("[{}]", vec!["[[]]"; 200].join(","))).is_ok(), "levels are given back");
}

#[test]
fn every_limit_that_configuration_may_set_is_below_the_librarys() {
    let mut limits = Limits::default();
    limits.set("json_levels", 120).unwrap();
    let text = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert!(read_text(&text, &limits).is_ok());
    let text = format!("[{text}]");
    assert!(matches!(read_text(&text, &limits), Err(JsonError::TooDeep { levels_max: 120, .. })));
}

#[test]
fn a_broken_text_is_one_error_with_its_place_only() {
    for (text, line, column) in [
        ("{\"connector_id\": \"sales-canary\",\n  oops }", 2, 3),
        ("", 1, 0),
        ("{\"a\": 1", 1, 7),
        ("{\"a\":1,\"a\":2,}", 1, 14),
        ("{} {}", 1, 4),
        ("1e", 1, 2),
        ("\"\\ud800\"", 1, 8),
    ] {
        assert_eq!(of(text), Err(JsonError::Syntax { line, column }), "{text}");
    }
    let error = read(b"{\"canary\": \"\xff\"}", &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "not JSON: line 1, column 13");
}

#[test]
fn a_member_with_a_private_name_of_the_library_is_a_member() {
    for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        let text = format!(r#"[{{"{name}":"[1]"}}]"#);
        assert_eq!(of(&text).unwrap().to_string(), text);
    }
    for value in ["5", "null", "true", "[1]", "{\"a\":{}}", "\"\\u0031\""] {
        let text = format!(r#"{{"$serde_json::private::Number":{value},"b":-0,"c":[1e999]}}"#);
        let read = read_text(&text, &Limits::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(read["b"].to_string(), "-0");
        assert_eq!(read.as_object().unwrap().len(), 3, "{text}");
    }
}

#[test]
fn c2_numbers_keep_their_digits() {
    let text = r#"[36893488147419103232,-0,1.50,0.1000]"#;
    assert_eq!(of(text).unwrap().to_string(), text);
}

#[test]
fn each_error_is_violations_of_its_own_code() {
    let codes = |text: &str| -> Vec<&str> {
        of(text).unwrap_err().into_violations().into_iter().map(|v| v.code).collect()
    };
    assert_eq!(codes("{"), ["bad_json"]);
    assert_eq!(codes(r#"{"a":0,"a":0,"b":0,"b":0}"#), ["duplicate_member", "duplicate_member"]);
    assert_eq!(codes(&"[".repeat(500)), ["too_deep"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_text_without_duplicates_is_read_as_serde_json_reads_it(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        let read = of(&text).unwrap();
        prop_assert_eq!(read.to_string(), serde_json::from_str::<Value>(&text).unwrap().to_string());
    }

    #[test]
    fn what_serde_json_refuses_is_refused_at_the_same_place(text in r#"[\[\]{}:,"\\a0-9eE.+ \n-]{0,40}"#) {
        compare::agree(text.as_bytes());
    }

    #[test]
    fn bytes_are_read_as_serde_json_reads_them(value in any_json(), at: prop::sample::Index, byte: u8) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        compare::agree(&bytes);
        bytes.truncate(at);
        compare::agree(&bytes);
    }

    #[test]
    fn a_member_that_is_written_again_is_found_wherever_it_is(value in any_json(), name in "[a-z/~]{1,6}") {
        let inner = format!("{{{0}:1,{0}:{value}}}", json!(name));
        let text = format!(r#"{{"x":[0,{inner}]}}"#);
        let found = duplicates(&text);
        prop_assert_eq!(&found[0], &format!("/x/1/{}", step(&name)));
        prop_assert_eq!(found.len(), 1);
    }
}
