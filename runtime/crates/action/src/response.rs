//! From an upstream's answer to an action's output, and the class of an answer that is no success.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer as the caller of a run sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappedResponse {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case; repeated headers joined with `, ` (RFC 9110 section 5.3).
    pub headers: Map<String, Value>,
    /// JSON where the content type says so and it parses, else text, else null.
    pub body: Value,
}

/// What kind of failure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The credential was not accepted.
    Auth,
    /// The credential may not do this.
    Permission,
    /// The request's content was not accepted.
    Validation,
    /// The thing does not exist.
    NotFound,
    /// The thing is in another state.
    Conflict,
    /// Too many requests.
    RateLimit,
    /// May pass by itself.
    Transient,
    /// Will not pass by itself.
    Permanent,
}

impl ErrorClass {
    /// The class by status alone (RFC 9110 section 15, RFC 6585 section 4).
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Auth,
            403 => Self::Permission,
            400 | 422 => Self::Validation,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            429 => Self::RateLimit,
            408 | 425 | 500..=599 => Self::Transient,
            _ => Self::Permanent,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::Validation => "validation",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::RateLimit => "rate_limit",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// Whether the status is a success by default (RFC 9110 section 15.3).
#[must_use]
pub const fn is_success(status: u16) -> bool {
    status >= 200 && status < 300
}

/// Maps an answer: headers joined, body decoded by content type.
#[must_use]
pub fn map_response(status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) -> MappedResponse {
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
    let content_type = joined.get("content-type").and_then(Value::as_str).unwrap_or_default();
    let body = map_body(content_type, body);
    MappedResponse { status, headers: joined, body }
}

fn map_body(content_type: &str, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media == "application/json" || media.ends_with("+json") || media.is_empty();
    if is_json && let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    Value::String(String::from_utf8_lossy(body).into_owned())
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
}
