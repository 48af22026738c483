//! Headers: those that every request has, and those that can have one value only.

use portcullis_core::header_rules::check_request_header;
use serde_json::{Map, Value, json};

use crate::limits::VALUE_CHARS_MAX;
use crate::schema::Flat;

/// Headers that the host sets, or the body: a call has them whatever its inputs are.
const SENT_ANYWAY: &[&str] =
    &["accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"];

/// Whether every request has that header.
pub(crate) fn is_sent_anyway(name: &str) -> bool {
    SENT_ANYWAY.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// The value of a header that has no other: its only value, or for `Accept`, which is no input, its default.
pub(crate) fn constant(flat: &Flat<'_>, name: &str) -> Option<String> {
    let value = match flat.values.as_deref() {
        Some([only]) => Some(*only),
        _ if name.eq_ignore_ascii_case("accept") => flat.facet("default"),
        _ => None,
    };
    let text = match value? {
        Value::String(text) => text.clone(),
        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
        _ => return None,
    };
    let is_sound = !text.is_empty()
        && text.len() <= VALUE_CHARS_MAX
        && text.bytes().all(|b| matches!(b, 0x20..=0x7e))
        && !text.contains("{{");
    is_sound.then_some(text)
}

/// Adds a header with a fixed value, once whatever its spelling.
pub(crate) fn fix(name: &str, value: &str, fixed: &mut Map<String, Value>) {
    let is_there = |fixed: &Map<String, Value>| {
        fixed.keys().any(|other| check_request_header(name, b"", &[&other.to_ascii_lowercase()]).is_err())
    };
    if !is_there(fixed) {
        fixed.insert(name.to_owned(), json!(value));
    }
}
