//! From an upstream's answer to an action's output: headers joined, the body read by its type, and
//! the output's members taken from where the plan says. What the answer means is decided in
//! [`crate::judge()`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::budget::{Budget, Exceeded};
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
    /// As the plan reads it: by default JSON if the content type says so and it parses, else text,
    /// else null.
    pub body: Value,
}

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
        let text = String::from_utf8_lossy(value);
        let text = match joined.get(&name) {
            Some(Value::String(before)) => format!("{before}, {text}"),
            _ => text.into_owned(),
        };
        joined.insert(name, Value::String(text));
    }
    joined
}

/// The content type of joined headers; empty when there is none.
pub(crate) fn content_type(headers: &Map<String, Value>) -> &str {
    headers.get("content-type").and_then(Value::as_str).unwrap_or_default()
}

/// The body of a success as its plan reads it; `None` if it should be JSON and is not.
pub(crate) fn read(kind: ResponseType, content_type: &str, body: &[u8]) -> Option<Value> {
    match kind {
        ResponseType::Auto => Some(read_auto(content_type, body)),
        ResponseType::Json => read_json(body),
        ResponseType::Text | ResponseType::Xml => Some(read_text(body)),
        ResponseType::Binary => Some(json!({ "content_type": content_type, "data": STANDARD.encode(body) })),
        ResponseType::None => Some(Value::Null),
    }
}

/// The body by its content type.
pub(crate) fn read_auto(content_type: &str, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let value = if is_json(content_type) { read_json(body) } else { None };
    value.unwrap_or_else(|| read_text(body))
}

/// Whether a body of that type is JSON, or may be.
pub(crate) fn is_json(content_type: &str) -> bool {
    if matches!(content_type, "application/json" | "application/json; charset=utf-8") {
        return true;
    }
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media.as_str(), "" | "application/json" | "text/json")
        || media.ends_with("+json")
        || media.starts_with("application/x-amz-json-")
}

/// The body as JSON, whatever its content type is.
pub(crate) fn read_json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(without_mark(body)).ok()
}

/// Why: a parser may ignore a byte order mark (RFC 8259 section 8.1), and some servers send one.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

fn read_text(body: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(body).into_owned())
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
        for (kind, body, expected) in [
            (ResponseType::Json, "{\"id\":1}", Some(json!({ "id": 1 }))),
            (ResponseType::Json, "<html>", None),
            (ResponseType::Json, "", None),
            (ResponseType::Text, "{\"id\":1}", Some(json!("{\"id\":1}"))),
            (ResponseType::Text, "", Some(json!(""))),
            (ResponseType::Xml, "<a/>", Some(json!("<a/>"))),
            (ResponseType::Binary, "hi", Some(json!({ "content_type": "image/png", "data": "aGk=" }))),
            (ResponseType::None, "{}", Some(json!(null))),
        ] {
            assert_eq!(read(kind, "image/png", body.as_bytes()), expected, "{kind:?} {body}");
        }
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
