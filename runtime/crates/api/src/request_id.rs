//! The id of a request, and the trace that it belongs to: the caller's, where they can be told as they are.

use std::sync::Arc;

use http::HeaderMap;
use portcullis_engine::clock;

/// Name of the header that carries the request id, in requests and answers.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// The header of a trace (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// Longest id of a caller that is kept, characters.
const CHARS_MAX: usize = 128;
/// Characters of a `traceparent` of version 00.
const TRACEPARENT_CHARS: usize = 55;

/// A new request id.
pub(crate) fn fresh() -> String {
    clock::fresh_text("req")
}

/// The caller's id if there is one of 1 to 128 printable ASCII characters, else a new one.
pub(crate) fn of(headers: &HeaderMap) -> String {
    let mut values = headers.get_all(REQUEST_ID).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => kept(value.as_bytes()).map_or_else(fresh, str::to_owned),
        _ => fresh(),
    }
}

/// An id that is kept as it is.
pub(crate) fn kept(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    // Why not with spaces at its ends: a header's value has none, and an answer with them would show another id.
    let is_whole = text.trim_ascii().len() == text.len();
    ((1..=CHARS_MAX).contains(&text.len()) && is_printable && is_whole).then_some(text)
}

/// The trace that the caller says, 32 hexadecimal digits; none is made where it says none.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    trace_id(value.to_str().ok()?).map(Arc::from)
}

/// The trace id in a `traceparent`. Later versions may add to what the first one has.
fn trace_id(text: &str) -> Option<&str> {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_known = match version {
        "ff" => false,
        "00" => text.len() == TRACEPARENT_CHARS,
        _ => true,
    };
    let is_whole = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let is_set = trace.bytes().any(|byte| byte != b'0') && parent.bytes().any(|byte| byte != b'0');
    (is_known && is_whole && is_set).then_some(trace)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_id_of_printable_characters_is_kept_and_any_other_replaced() {
        let longest = "x".repeat(128);
        for id in ["a", "0192-abc/def+g=h:i", "\"quoted\" {and} spaced", longest.as_str()] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            assert_eq!(of(&headers), id);
            headers.append(REQUEST_ID, HeaderValue::from_static("second"));
            assert!(of(&headers).starts_with("req_"), "two of them");
        }
        let too_long = "x".repeat(129);
        for id in ["", "tab\there", "é", too_long.as_str()] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            assert!(of(&headers).starts_with("req_"), "{id}");
        }
        assert!(of(&HeaderMap::new()).starts_with("req_"));
    }

    #[test]
    fn a_trace_is_taken_where_it_is_valid() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for text in [
            format!("00-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-00"),
            format!("01-{trace}-00f067aa0ba902b7-01-more"),
        ] {
            assert_eq!(trace_id(&text), Some(trace), "{text}");
        }
        for text in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", &trace[1..]),
        ] {
            assert_eq!(trace_id(&text), None, "{text}");
        }
    }
}
