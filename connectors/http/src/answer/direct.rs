//! The document of a success whose output is the answer's body unchanged: text assembled from text.

use portcullis_action::json::push_string;
use portcullis_action::response::{header_text, join_headers};

/// Length of the document without body and headers, with some room for numbers.
const FRAME_BYTES: usize = 96;

/// The document that [`super::Document`] would be written as.
pub(super) fn document(status: u16, headers: &[(String, Vec<u8>)], body: &str) -> String {
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    let mut out = String::with_capacity(2 * body.len() + fields + FRAME_BYTES);
    out.push_str("{\"output\":");
    out.push_str(body);
    out.push_str(",\"upstream\":{\"status\":");
    push_number(status, &mut out);
    out.push_str(",\"headers\":");
    push_headers(headers, &mut out);
    out.push_str(",\"body\":");
    out.push_str(body);
    out.push_str("}}");
    out
}

fn push_number(number: u16, out: &mut String) {
    let digit = |place: u16| char::from(b'0' + (number / place % 10) as u8);
    for place in [10_000, 1_000, 100, 10, 1] {
        if number >= place || place == 1 {
            out.push(digit(place));
        }
    }
}

fn push_headers(headers: &[(String, Vec<u8>)], out: &mut String) {
    let repeats = |(index, (name, _)): (usize, &(String, Vec<u8>))| {
        headers.iter().take(index).any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    if headers.iter().enumerate().any(repeats) {
        out.push_str(&serde_json::to_string(&join_headers(headers)).unwrap_or_default());
        return;
    }
    for (index, (name, value)) in headers.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        let start = out.len();
        push_string(name, out);
        if let Some(name) = out.get_mut(start..) {
            name.make_ascii_lowercase();
        }
        out.push(':');
        push_string(&header_text(value), out);
    }
    out.push_str(if headers.is_empty() { "{}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::super::{Document, Upstream, text};
    use super::*;
    use portcullis_action::json::compact;
    use portcullis_action::response::map_response;

    #[test]
    fn the_document_is_the_one_that_serde_writes() {
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let json = field("Content-Type", b"application/json; charset=utf-8");
        for (status, headers) in [
            (200, vec![json.clone()]),
            (201, vec![json.clone(), field("X-Quote", b"a\"b\\c"), field("x-odd", b"\xff\x01 long enough")]),
            (65535, vec![field("A", b"1"), json.clone(), field("a", b"2")]),
            (7, Vec::new()),
            (100, vec![field("", b"")]),
        ] {
            for body in [" { \"a\" : [1, \"x\\/y\"], \"b\": {} } ", "[]", "null", "\"\u{e9}\"", "-1.5"] {
                let mapped = map_response(status, &headers, body.as_bytes());
                let upstream = Upstream { body: Some(&mapped.body), ..Upstream::of(&mapped) };
                let whole =
                    Document { output: &mapped.body, upstream, pages: None, truncated: None, ask: None };
                let direct = document(status, &headers, &compact(body.as_bytes()).unwrap());
                assert_eq!(direct, text(&whole).unwrap());
            }
        }
    }
}
