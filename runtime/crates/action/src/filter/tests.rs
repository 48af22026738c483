//! Each filter against values computed by other tools, and each way to write one incorrectly.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tables() -> Tables {
    let table = json!({ "status": { "open": "1", "closed": 2, "5": true, "a": "abc", "b": "bbb" } });
    serde_json::from_value(table).unwrap()
}

fn run(chain: &str, value: Value) -> Option<Value> {
    let budget = Budget::rendering(1 << 20);
    apply_filters(Some(Cow::Owned(value)), &parse_filters(chain).unwrap(), &tables(), &budget)
        .unwrap()
        .map(Cow::into_owned)
}

#[test]
fn text_filters_by_table() {
    for (chain, given, expected) in [
        ("lower", "ÄbC", "äbc"),
        ("upper", "straße", "STRASSE"),
        ("trim", " \ta b\n", "a b"),
        ("string", "x", "x"),
        ("json", "a\"b", "\"a\\\"b\""),
        ("base64", "any:pass", "YW55OnBhc3M="),
        ("base64", "", ""),
        ("base64url", "\u{3ff}\u{3ff}>", "z7_Pvz4"),
        ("hex", "é!", "c3a921"),
        ("urlencode", "a b/é", "a%20b%2F%C3%A9"),
        ("md5", "", "d41d8cd98f00b204e9800998ecf8427e"),
        ("md5", "abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("lower | md5", "Urist.McVankab@freddiesjokes.com", "62eeb292278cc15f5817cb78f7790b08"),
        ("after_last:'-'", "0123-abc-us6", "us6"),
        ("after_last:'/'", "https://x.example/a/b", "b"),
        ("before_first:'.'", "acme.myshopify.com", "acme"),
        ("before_first:'.'", "acme", "acme"),
        ("replace:'a','bb'", "banana", "bbbnbbnbb"),
        ("replace:'-',''", "1-2-3", "123"),
        ("replace:',','|'", "a,b", "a|b"),
        ("replace:'''','\"'", "it's", "it\"s"),
        ("date:'%d.%m.%Y %H:%M'", "2026-11-22T10:30:00+02:00", "22.11.2026 08:30"),
        ("date:'%Y%m%d'", "2026-11-22", "20261122"),
        ("iso8601", "2026-11-22T10:30:00+02:00", "2026-11-22T08:30:00Z"),
        ("iso8601", "2026-11-22", "2026-11-22T00:00:00Z"),
    ] {
        assert_eq!(run(chain, json!(given)), Some(json!(expected)), "{chain} of {given:?}");
    }
}

#[test]
fn other_types_by_table() {
    for (chain, given, expected) in [
        ("md5", json!(5), json!("e4da3b7fbbce2345d7772b0674a318d5")),
        ("string", json!(true), json!("true")),
        ("string", json!([1, "a"]), json!("[1,\"a\"]")),
        ("json", json!({ "b": 1, "a": [null] }), json!("{\"b\":1,\"a\":[null]}")),
        ("number", json!(" -12 "), json!(-12)),
        ("number", json!("1.50"), "1.50".parse().unwrap()),
        ("number", json!("18446744073709551615"), json!(u64::MAX)),
        ("number", json!(7), json!(7)),
        ("join:', '", json!(["a", 1, true]), json!("a, 1, true")),
        ("join:','", json!([]), json!("")),
        ("join:','", json!(["a", null, 2]), json!("a,2")),
        ("number", json!("36893488147419103232"), "36893488147419103232".parse().unwrap()),
        ("number", json!("-0"), "-0".parse().unwrap()),
        ("boolean", json!(" True"), json!(true)),
        ("boolean", json!("no"), json!(false)),
        ("boolean", json!(0), json!(false)),
        ("boolean", json!(true), json!(true)),
        ("unix_seconds", json!(1_773_099_000), json!("2026-03-09T23:30:00Z")),
        ("unix_seconds", json!("1773099000.5"), json!("2026-03-09T23:30:00.5Z")),
        ("unix_ms", json!(1_773_099_000_000_i64), json!("2026-03-09T23:30:00Z")),
        ("unix_seconds | date:'%F'", json!(1_773_099_000), json!("2026-03-09")),
        ("datetime:'Europe/Berlin'", json!("2026-03-10T14:30:00"), json!("2026-03-10T13:30:00Z")),
        ("datetime:'Europe/Berlin'", json!("2026-07-10 14:30"), json!("2026-07-10T12:30:00Z")),
        ("datetime:'America/New_York'", json!("2026-03-10"), json!("2026-03-10T04:00:00Z")),
        ("datetime:'Europe/Berlin'", json!("2026-03-10T14:30:00Z"), json!("2026-03-10T14:30:00Z")),
        ("datetime:'UTC' | epoch", json!("2026-03-10T14:30:00"), json!(1_773_153_000)),
        ("join:','", json!("x"), json!("x")),
        ("lower", json!([1]), json!([1])),
        ("date:'%F'", json!(0), json!("1970-01-01")),
        ("iso8601", json!(1_500), json!("1970-01-01T00:00:01.5Z")),
        ("epoch", json!(1_999), json!(1)),
        ("epoch", json!("2026-11-22T00:00:00Z"), json!(1_795_305_600)),
        ("lookup:'status'", json!("open"), json!("1")),
        ("lookup:'status'", json!("closed"), json!(2)),
        ("lookup:'status'", json!(5), json!(true)),
        ("trim | lower | lookup:'status'", json!(" Open "), json!("1")),
    ] {
        assert_eq!(run(chain, given.clone()), Some(expected), "{chain} of {given}");
    }
}

#[test]
fn c6_what_a_filter_cannot_read_is_an_error_that_names_filter_and_type() {
    let json_number = "text that is no number as JSON writes it, such as -1234.5";
    let rfc3339 = "text that is no time as RFC 3339 writes it, such as 2026-11-22T13:54:00Z";
    for (chain, given, found) in [
        ("number", json!("12a"), json_number),
        ("number", json!("1.234,50"), json_number),
        ("number", json!(""), json_number),
        ("number", json!("007"), json_number),
        ("number", json!("NaN"), json_number),
        ("number", json!(true), "a boolean"),
        ("number", json!([1]), "an array"),
        ("boolean", json!("maybe"), "text other than true, false, yes, no, y, n, on, off, 1 and 0"),
        ("boolean", json!(2), "a number other than true, false, yes, no, y, n, on, off, 1 and 0"),
        ("boolean", json!({}), "an object"),
        ("join:','", json!([{ "a": 1 }]), "an array with arrays or objects in it"),
        ("date:'%F'", json!("yesterday"), rfc3339),
        ("date:'%F'", json!("2026-02-30"), rfc3339),
        (
            "iso8601",
            json!("2026-11-22T10:00:00"),
            "text with a time that has no zone; datetime:'<zone>' reads those",
        ),
        (
            "iso8601",
            json!(1_773_099_000),
            "a number of seconds, it seems; unix_seconds reads those, unix_ms milliseconds",
        ),
        ("iso8601", json!(i64::MAX), "a number outside the calendar"),
        ("iso8601", json!(1.5), "a number that counts no milliseconds"),
        ("epoch", json!(true), "a boolean"),
        ("unix_seconds", json!("soon"), "text that counts nothing since 1970"),
        ("unix_ms", json!([]), "an array"),
        ("datetime:'UTC'", json!(5), "a number; unix_seconds and unix_ms read those"),
        ("datetime:'UTC'", json!("10:30"), "text that is no date and time, such as 2026-11-22T13:54:00"),
        ("lookup:'status'", json!("Open"), "text that its table does not have"),
        ("lookup:'status'", json!(6), "a number that its table does not have"),
        ("lookup:'status'", json!(true), "a boolean"),
        ("lookup:'status'", json!(["open"]), "an array"),
        ("lookup:'other'", json!("open"), "text that its table does not have"),
    ] {
        let filters = parse_filters(chain).unwrap();
        let budget = Budget::rendering(1 << 20);
        let error = apply_filters(Some(Cow::Borrowed(&given)), &filters, &tables(), &budget).unwrap_err();
        let name = chain.split(':').next().unwrap();
        assert_eq!(
            error.to_string(),
            format!("cannot be read by the filter {name}: it is {found}"),
            "{given}"
        );
        assert_eq!(run(&format!("{chain} | default:'d'"), given), Some(json!("d")), "{chain}");
    }
    let seconds = json!(1_773_099_000);
    assert_eq!(run("iso8601 | lower | default:'d'", seconds), Some(json!("d")), "the default may come later");
}

#[test]
fn what_is_absent_stays_absent_a_null_stays_null_and_both_may_have_a_default() {
    for (chain, given, kept) in [
        ("after_last:'-'", json!("nohyphen"), None),
        ("lower", json!(null), Some(json!(null))),
        ("iso8601", json!(null), Some(json!(null))),
    ] {
        assert_eq!(run(chain, given.clone()), kept, "{chain} of {given}");
        assert_eq!(run(&format!("{chain} | default:'d'"), given), Some(json!("d")), "{chain}");
    }
}

#[test]
fn a_value_that_was_to_be_hashed_never_stays_in_the_clear() {
    let hashed = run("sha256", json!(["a@b.c"])).unwrap();
    assert_eq!(hashed, run("json | sha256", json!(["a@b.c"])).unwrap());
    assert!(!hashed.to_string().contains("a@b.c"));
}

#[test]
fn what_is_not_in_the_list_is_refused() {
    for bad in [
        "",
        "|",
        "lower|",
        "eval",
        "lower:'a'",
        "default",
        "default:",
        "default:a",
        "default:'a','b'",
        "default:'a'b'",
        "default:'a",
        "replace:'a'",
        "replace:'','b'",
        "replace:'a','b','c'",
        "after_last:''",
        "md5()",
        "Lower",
        "lookup",
        "lookup:''",
        "lookup:'a','b'",
    ] {
        assert!(matches!(parse_filters(bad), Err(FilterError::Unknown(_))), "{bad}");
    }
    for bad in ["datetime:'Mars/Base'", "datetime:''", "datetime:'../etc'"] {
        assert!(matches!(parse_filters(bad), Err(FilterError::Zone(_))), "{bad}");
    }
    for bad in ["date:'%'", "date:'%!'", "date:'%Y-%J'"] {
        assert!(matches!(parse_filters(bad), Err(FilterError::DateFormat(_))), "{bad}");
    }
}

#[test]
fn every_name_of_the_list_parses() {
    let list = FILTER_LIST.replace("datetime:'…'", "datetime:'UTC'").replace("'…'", "'x'");
    for filter in list.split(", ") {
        assert!(parse_filters(filter.trim()).is_ok(), "{filter}");
    }
    assert_eq!(list.split(", ").count(), 26);
}

/// One filter with random arguments.
fn any_filter() -> impl Strategy<Value = String> {
    let plain = FILTER_LIST.split(", ").map(str::trim).filter(|name| !name.contains('…'));
    let plain = prop::sample::select(plain.map(ToOwned::to_owned).collect::<Vec<_>>());
    let replace = ("[ab%]", "[ab%é]{0,9}").prop_map(|(from, to)| format!("replace:'{from}','{to}'"));
    let text = prop::sample::select(vec![
        "default:'abc'",
        "join:', '",
        "after_last:'a'",
        "before_first:'b'",
        "lookup:'status'",
    ]);
    let date = prop::sample::select(vec!["date:'%Y-%m-%d'", "date:'%250d%250d%250d'", "date:'%A %s %c'"]);
    prop_oneof![plain, replace, text.prop_map(str::to_owned), date.prop_map(str::to_owned)]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ab%\"\u{1}éß İ]{0,400}".prop_map(Value::from),
        prop::collection::vec("[a\"\u{1}]{0,20}", 0..40).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!({ "a": [null, true, "b"], "c": { "d": 1.5 } })),
        Just(json!("2026-11-22T10:30:00+02:00")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn s1_a_chain_makes_no_more_than_its_budget_and_the_same_with_more(
        chain in prop::collection::vec(any_filter(), 1..12),
        given in any_value(),
        bytes in 0_u64..20_000,
    ) {
        let filters = parse_filters(&chain.join("|")).unwrap();
        let budget = Budget::rendering(bytes);
        let made = apply_filters(Some(Cow::Borrowed(&given)), &filters, &tables(), &budget);
        prop_assert!(budget.made() <= bytes);
        let Ok(made) = made else { return Ok(()) };
        if let Some(Cow::Owned(Value::String(text))) = &made {
            prop_assert!(text.len() as u64 <= bytes, "{} bytes", text.len());
        }
        let again = apply_filters(Some(Cow::Owned(given.clone())), &filters, &tables(), &Budget::unlimited());
        prop_assert_eq!(Ok(made), again);
    }
}
