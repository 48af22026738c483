//! A dry run compared with the real call: with the saved values for `<credential NAME>`, the shown request is
//! the sent one, header by header and byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::harness::{Case, HOST, headers, target};
use crate::support::Answer;
use crate::support::upstream::Received;

/// The marks of a dry run for values that only a real call has.
const MARKS: &[&str] = &["<signature>", "<timestamp>", "<nonce>", "<signed jwt>"];

/// Asserts that the shown request is the sent one.
#[track_caller]
pub(super) fn assert_is(dry: &Answer, sent: &Received, case: &Case) {
    let shown = &dry.json["request"];
    let method = shown["method"].as_str().unwrap();
    assert_eq!(method, sent.line().split(' ').next().unwrap());
    let url = shown["url"].as_str().unwrap();
    let (path, query) = target(sent);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(filled(url, case, &percent), format!("https://{HOST}{path}{query}"), "{url}");
    assert_headers(shown["headers"].as_object().unwrap(), sent, case);
    assert_body(&shown["body"], sent, case);
    let curl = dry.json["curl"].as_str().unwrap();
    assert!(curl.starts_with(&format!("curl -X {method} '{url}'")), "{curl}");
    for (name, value) in shown["headers"].as_object().unwrap() {
        let by_curl = matches!(name.as_str(), "host" | "content-length" | "accept-encoding");
        let line = format!("-H '{name}: {}'", value.as_str().unwrap());
        assert_eq!(curl.contains(&line), !by_curl, "{line} in {curl}");
    }
    assert_eq!(curl.contains("--data-binary '"), !sent.body.is_empty(), "{curl}");
}

#[track_caller]
fn assert_headers(shown: &serde_json::Map<String, Value>, sent: &Received, case: &Case) {
    let mut names: Vec<&str> = shown.keys().map(String::as_str).collect();
    let received = headers(sent);
    let mut sent_names: Vec<&str> =
        received.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "content-length").collect();
    names.sort_unstable();
    sent_names.sort_unstable();
    assert_eq!(names, sent_names, "headers shown, and sent, of {}", case.auth_type);
    for (name, value) in shown {
        let value = basic(&filled(value.as_str().unwrap(), case, &str::to_owned));
        let (_, sent) = received.iter().find(|(other, _)| other == name).unwrap();
        assert!(agrees(&value, sent), "{name}: shown {value:?}, sent {sent:?}");
    }
}

#[track_caller]
fn assert_body(shown: &Value, sent: &Received, case: &Case) {
    if sent.body.is_empty() {
        assert_eq!(*shown, Value::Null);
    } else if let Ok(document) = serde_json::from_slice::<Value>(&sent.body) {
        let text = filled(&shown.to_string(), case, &|value| {
            let quoted = Value::String(value.to_owned()).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    } else {
        assert_eq!(filled(shown.as_str().unwrap(), case, &percent), sent.text());
    }
}

/// The saved values in place of their names; empty for a field that was left empty.
fn filled(text: &str, case: &Case, code: &dyn Fn(&str) -> String) -> String {
    let mut text = text.to_owned();
    for field in case.fields.as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        let value = case.saved[name].as_str().unwrap_or_default();
        text = text.replace(&format!("<credential {name}>"), &code(value));
    }
    text
}

/// `Basic base64(…)` as it is sent.
fn basic(text: &str) -> String {
    match text.strip_prefix("Basic base64(").and_then(|rest| rest.strip_suffix(')')) {
        Some(pair) => format!("Basic {}", BASE64.encode(pair)),
        None => text.to_owned(),
    }
}

/// Whether a text is the shown one with a non-empty text for each mark.
fn agrees(shown: &str, sent: &str) -> bool {
    let mark = MARKS.iter().filter_map(|mark| Some((shown.find(mark)?, mark.len()))).min();
    let Some((at, length)) = mark else { return shown == sent };
    let (before, after) = (&shown[..at], &shown[at + length..]);
    let Some(rest) = sent.strip_prefix(before) else { return false };
    let ends = rest.char_indices().skip(1).map(|(end, _)| end).chain([rest.len()]);
    !rest.is_empty() && ends.into_iter().any(|end| agrees(after, &rest[end..]))
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
pub(super) fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[test]
fn a_mark_stands_for_something_and_everything_else_must_agree() {
    assert!(agrees("t=<timestamp>,v1=<signature>", "t=1,v1=ab"));
    assert!(agrees("<signature>", "x"));
    for (shown, sent) in [("<signature>", ""), ("a <nonce>", "b 1"), ("<nonce>;", "1"), ("a", "b")] {
        assert!(!agrees(shown, sent), "{shown} {sent}");
    }
}
