//! A predicate and a document, as JSON texts: it either is no predicate, or holds or not, and the laws of logic hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_action::budget::Budget;
use portcullis_action::predicate::Predicate;
use serde_json::{Value, json};

fn holds(predicate: &Value, document: &Value) -> Option<bool> {
    // Enough for anything that fits into an input.
    let budget = Budget::matching(u64::MAX);
    Predicate::parse(predicate).ok().and_then(|predicate| predicate.holds(document, &budget).ok())
}

fuzz_target!(|input: (&str, &str)| {
    let (Ok(written), Ok(document)) = (serde_json::from_str::<Value>(input.0), serde_json::from_str::<Value>(input.1))
    else {
        return;
    };
    let Some(plain) = holds(&written, &document) else { return };
    // Nested once more it may be too deep, and is then no predicate.
    for (other, expected) in [
        (json!({ "not": written }), !plain),
        (json!({ "all": [written, written] }), plain),
        (json!({ "any": [written] }), plain),
        (json!([written]), plain),
        (json!({ "any": [{ "not": written }, written] }), true),
        (json!({ "all": [{ "not": written }, written] }), false),
    ] {
        assert!(holds(&other, &document).is_none_or(|found| found == expected), "{other}");
    }
    // A small budget may be too small, but never gives another answer.
    let small = Predicate::parse(&written).map(|predicate| predicate.holds(&document, &Budget::matching(100)));
    assert!(!matches!(small, Ok(Ok(found)) if found != plain), "{written}");
});
