//! From an upstream's answer to an action's output: headers joined, the body read by its type, and
//! the output's members taken from where the plan says. What the answer means is decided in
//! [`crate::judge()`].

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::budget::{Budget, Exceeded};
use crate::charset::MediaType;
use crate::path::Path;
// Kept at this path for callers; the class belongs to the plan.
pub use crate::plan::ErrorClass;
use crate::plan::{ResponsePlan, ResponseType};

/// The answer as the caller of a run sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappedResponse {
    pub status: u16,
    /// Header names in lower case; repeated headers joined with `, ` (RFC 9110 section 5.3).
    pub headers: Map<String, Value>,
    /// As the plan reads it: by default JSON if the content type says so and it parses, else text, else
    /// `{"media_type", "base64", "bytes"}`, and null if there is none.
    pub body: Value,
}

/// Longest beginning of an unreadable body that is shown, characters.
const FOUND_CHARS_MAX: usize = 80;

/// Whether the status is a success by default (RFC 9110 section 15.3).
#[must_use]
pub const fn is_success(status: u16) -> bool {
    status >= 200 && status < 300
}

/// Maps an answer: headers joined, body decoded by content type.
#[must_use]
pub fn map_response(status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) -> MappedResponse {
    let headers = join_headers(headers);
    let body = read_auto(content_type(&headers), body);
    MappedResponse { status, headers, body }
}

/// Names in lower case; repeated headers joined with `, ` (RFC 9110 section 5.3).
pub fn join_headers(headers: &[(String, Vec<u8>)]) -> Map<String, Value> {
    let mut joined = Map::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let text = header_text(value);
        let text = match joined.get(&name) {
            Some(Value::String(before)) => format!("{before}, {text}"),
            _ => text.into_owned(),
        };
        joined.insert(name, Value::String(text));
    }
    joined
}

/// UTF-8 if it is that; else ISO 8859-1, which field values were before (RFC 9110 section 5.5).
#[must_use]
pub fn header_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().copied().map(char::from).collect()),
    }
}

/// The content type of joined headers; empty when there is none.
pub(crate) fn content_type(headers: &Map<String, Value>) -> &str {
    headers.get("content-type").and_then(Value::as_str).unwrap_or_default()
}

/// The body is not what the action reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer should be {wanted} and is {found}")]
pub struct Unreadable {
    wanted: &'static str,
    /// Its media type and how it begins.
    found: String,
}

impl Unreadable {
    fn new(wanted: &'static str, media: &MediaType, body: &[u8]) -> Self {
        let named = if media.essence.is_empty() { "without a media type" } else { media.essence.as_str() };
        let found = match media.plain_text(body) {
            _ if body.is_empty() => "empty".to_owned(),
            Some(text) => {
                let begin: String = text.trim_start().chars().take(FOUND_CHARS_MAX).collect();
                format!("{named}, beginning {begin:?}")
            }
            None => format!("{named}, {} bytes that are no text", body.len()),
        };
        Self { wanted, found }
    }
}

/// The body of a success as its plan reads it. `needs_json` says that the output is made of its members.
pub(crate) fn read(
    kind: ResponseType,
    content_type: &str,
    body: &[u8],
    needs_json: bool,
) -> Result<Value, Unreadable> {
    let media = MediaType::parse(content_type);
    let wanted = match kind {
        ResponseType::Auto if !needs_json => return Ok(read_by_type(&media, body)),
        ResponseType::Binary => return Ok(bytes_of(&media, body)),
        ResponseType::None => return Ok(Value::Null),
        ResponseType::Auto | ResponseType::Json => "JSON",
        ResponseType::Ndjson => "lines of JSON",
        ResponseType::Text | ResponseType::Xml => "text",
    };
    let read = match kind {
        ResponseType::Ndjson => read_lines(&media, body),
        ResponseType::Text | ResponseType::Xml => {
            media.text(body).map(|text| Value::String(text.into_owned()))
        }
        _ => read_json(&media, body),
    };
    read.ok_or_else(|| Unreadable::new(wanted, &media, body))
}

/// The text of a body by its mark, its charset or as UTF-8; `None` if it is none.
#[must_use]
pub fn body_text<'b>(content_type: &str, body: &'b [u8]) -> Option<Cow<'b, str>> {
    MediaType::parse(content_type).text(body)
}

/// `type/subtype` of a content type in lower case; empty if there is none.
#[must_use]
pub fn media_type(content_type: &str) -> String {
    MediaType::parse(content_type).essence
}

/// The body by its content type: JSON, text, or bytes.
pub(crate) fn read_auto(content_type: &str, body: &[u8]) -> Value {
    read_by_type(&MediaType::parse(content_type), body)
}

fn read_by_type(media: &MediaType, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let json = if media.is_json() { read_json(media, body) } else { None };
    json.or_else(|| media.plain_text(body).map(|text| Value::String(text.into_owned())))
        .unwrap_or_else(|| bytes_of(media, body))
}

/// Whether a body of that type is JSON in UTF-8, or may be.
pub(crate) fn is_json(content_type: &str) -> bool {
    if matches!(content_type, "application/json" | "application/json; charset=utf-8") {
        return true;
    }
    let media = MediaType::parse(content_type);
    media.is_json() && media.is_utf8()
}

/// The body as JSON, whatever its media type is.
pub(crate) fn read_json(media: &MediaType, body: &[u8]) -> Option<Value> {
    serde_json::from_str(&media.text(body)?).ok()
}

/// One JSON value on each line; empty lines are skipped.
fn read_lines(media: &MediaType, body: &[u8]) -> Option<Value> {
    let text = media.text(body)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// Bytes that are no text.
fn bytes_of(media: &MediaType, body: &[u8]) -> Value {
    json!({ "media_type": media.essence, "base64": STANDARD.encode(body), "bytes": body.len() })
}

/// Why: a parser may ignore a byte order mark (RFC 8259 section 8.1), and some servers send one.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// The output of a success: the body below `root`, or the members that `map` names. Absent
/// values are null.
pub(crate) fn output(
    plan: &ResponsePlan,
    answer: &MappedResponse,
    budget: &Budget,
) -> Result<Value, Exceeded> {
    let at = |value, pointer: &str| match Path::parse(pointer) {
        Some(path) => path.find(value, budget),
        None => Ok(None),
    };
    let copy = |value: Option<&Value>| match value {
        Some(value) => budget.copy(value).map(|()| value.clone()),
        None => Ok(Value::Null),
    };
    let root = match &plan.root {
        Some(pointer) => at(&answer.body, pointer)?.unwrap_or(&Value::Null),
        None => &answer.body,
    };
    if plan.map.is_empty() {
        return copy(Some(root));
    }
    let member = |place: &str| match (place, place.strip_prefix("header:")) {
        ("status", _) => Ok(Value::from(answer.status)),
        (_, Some(name)) => copy(answer.headers.get(&name.to_ascii_lowercase())),
        (pointer, None) => copy(at(root, pointer)?),
    };
    let members = plan.map.iter().map(|(name, place)| Ok((name.clone(), member(place)?)));
    members.collect::<Result<_, _>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect()
    }

    #[test]
    fn json_is_parsed_and_anything_else_is_text() {
        let json_type = headers(&[("Content-Type", "application/json; charset=utf-8")]);
        assert_eq!(map_response(200, &json_type, br#"{"id":1}"#).body, json!({ "id": 1 }));
        assert_eq!(map_response(200, &json_type, b"{broken").body, json!("{broken"));
        let text = headers(&[("Content-Type", "text/plain")]);
        assert_eq!(map_response(200, &text, b"{\"id\":1}").body, json!("{\"id\":1}"));
        assert_eq!(map_response(204, &[], b"").body, json!(null));
        let problem = headers(&[("content-type", "application/problem+json")]);
        assert_eq!(map_response(400, &problem, b"\xEF\xBB\xBF{\"id\":1}").body, json!({ "id": 1 }));
    }

    #[test]
    fn repeated_headers_are_joined() {
        let mapped = map_response(200, &headers(&[("X-A", "1"), ("x-a", "2")]), b"");
        assert_eq!(mapped.headers.get("x-a"), Some(&json!("1, 2")));
    }

    #[test]
    fn classes_follow_the_status() {
        for (status, class) in [
            (401, "auth"),
            (403, "permission"),
            (422, "validation"),
            (404, "not_found"),
            (409, "conflict"),
            (429, "rate_limit"),
            (503, "transient"),
            (418, "permanent"),
        ] {
            assert_eq!(ErrorClass::of_status(status).as_str(), class, "{status}");
        }
        assert!(is_success(200) && is_success(299) && !is_success(300) && !is_success(199));
    }

    #[test]
    fn each_type_reads_the_body_its_way() {
        let image = json!({ "media_type": "image/png", "base64": "aGk=", "bytes": 2 });
        for (kind, body, needs_json, expected) in [
            (ResponseType::Json, "{\"id\":1}", false, Some(json!({ "id": 1 }))),
            (ResponseType::Json, "<html>", false, None),
            (ResponseType::Json, "", false, None),
            (ResponseType::Auto, "hi", false, Some(image.clone())),
            (ResponseType::Auto, "hi", true, None),
            (ResponseType::Auto, "", false, Some(json!(null))),
            (ResponseType::Auto, "", true, None),
            (ResponseType::Auto, "[1]", true, Some(json!([1]))),
            (ResponseType::Text, "{\"id\":1}", false, Some(json!("{\"id\":1}"))),
            (ResponseType::Text, "", false, Some(json!(""))),
            (ResponseType::Xml, "<a/>", false, Some(json!("<a/>"))),
            (ResponseType::Ndjson, "{\"a\":1}\r\n\n[2]\n", false, Some(json!([{ "a": 1 }, [2]]))),
            (ResponseType::Ndjson, "", false, Some(json!([]))),
            (ResponseType::Ndjson, "{\"a\":1}\n{\"a\"", false, None),
            (ResponseType::Binary, "hi", false, Some(image)),
            (ResponseType::None, "{}", false, Some(json!(null))),
        ] {
            let read = read(kind, "image/png", body.as_bytes(), needs_json).ok();
            assert_eq!(read, expected, "{kind:?} {body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let found = |content_type: &str, body: &[u8]| {
            read(ResponseType::Json, content_type, body, false).unwrap_err().to_string()
        };
        assert_eq!(
            found("text/html; charset=utf-8", b" <html>maintenance</html>"),
            "the answer should be JSON and is text/html, beginning \"<html>maintenance</html>\""
        );
        assert_eq!(found("", b""), "the answer should be JSON and is empty");
        assert_eq!(found("", b"{"), "the answer should be JSON and is without a media type, beginning \"{\"");
        assert!(found("image/png", b"\x89\xff").ends_with("is image/png, 2 bytes that are no text"));
        assert!(found("text/plain", "x".repeat(999).as_bytes()).len() < 200);
    }

    #[test]
    fn b4_a_header_that_is_not_utf_8_is_iso_8859_1() {
        let headers = [("x-city".to_owned(), b"Caf\xe9".to_vec()), ("x-utf".to_owned(), "é".into())];
        assert_eq!(Value::Object(join_headers(&headers)), json!({ "x-city": "Café", "x-utf": "é" }));
    }

    #[test]
    fn the_output_is_the_root_or_the_members_of_the_map() {
        let answer = MappedResponse {
            status: 202,
            headers: json!({ "x-message-id": "m1" }).as_object().cloned().unwrap(),
            body: json!({ "data": { "id": 7, "tags": ["a"] } }),
        };
        let plan = |root: Option<&str>, map: &[(&str, &str)]| ResponsePlan {
            root: root.map(str::to_owned),
            map: map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            ..ResponsePlan::default()
        };
        let made = |plan: &ResponsePlan| output(plan, &answer, &Budget::unlimited()).unwrap();
        assert_eq!(made(&plan(None, &[])), answer.body);
        assert_eq!(made(&plan(Some("/data/id"), &[])), json!(7));
        assert_eq!(made(&plan(Some("/nothing"), &[])), json!(null));
        let map =
            [("id", "/id"), ("m", "header:X-Message-Id"), ("s", "status"), ("no", "/x"), ("h", "header:h")];
        let expected = json!({ "id": 7, "m": "m1", "s": 202, "no": null, "h": null });
        assert_eq!(made(&plan(Some("/data"), &map)), expected);
    }
}
