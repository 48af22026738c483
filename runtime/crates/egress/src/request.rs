//! From a guest's request to the message that is sent: header rules, size limits, and the headers that the
//! host sets. Sends nothing; called by the guard, the injection and the dry run.
//!
//! The request target is rebuilt in origin-form from the parsed URL, so guest text never reaches the
//! connection unparsed. The host sets the only Host and the only Content-Length header.

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_core::fault::Code;
use portcullis_core::header_rules::check_request_header;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{LimitKind, Method, OutboundRequest};
use portcullis_core::percent_encode;
use portcullis_core::target::Target;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::SendError;
use crate::redirect::Hop;

/// `User-Agent`.
const AGENT: &str = concat!("Portcullis/", env!("CARGO_PKG_VERSION"));
/// The codings that the decoder knows. The host sets the header because the scrubber must read the response.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

const FORM: &str = "application/x-www-form-urlencoded";

/// Checks a guest's headers and body against the rules and limits.
///
/// # Errors
/// `header_forbidden`, or the limit that was exceeded.
pub(crate) fn check(
    request: &OutboundRequest,
    injected: &[&str],
    limits: &Limits,
) -> Result<HeaderMap, SendError> {
    let body_bytes = request.body.as_ref().map_or(0, Vec::len) as u64;
    if body_bytes > limits.request_bytes {
        return Err(SendError::limit(Code::RequestTooLarge, LimitKind::RequestBytes, limits.request_bytes));
    }
    if request.headers.len() as u64 > limits.request_header_count {
        return Err(SendError::limit(
            Code::RequestTooLarge,
            LimitKind::HeaderCount,
            limits.request_header_count,
        ));
    }
    let bytes: usize = request.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    if bytes as u64 > limits.request_header_bytes {
        return Err(SendError::limit(
            Code::RequestTooLarge,
            LimitKind::HeaderBytes,
            limits.request_header_bytes,
        ));
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 6);
    for (name, value) in &request.headers {
        let forbidden = |_| SendError::from(Code::HeaderForbidden);
        check_request_header(name, value, injected).map_err(|_| SendError::from(Code::HeaderForbidden))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(forbidden)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| SendError::from(Code::HeaderForbidden))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The `User-Agent` of a definition that adds to it.
pub(crate) fn agent(suffix: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::try_from([AGENT.as_bytes(), b" ", suffix.as_bytes()].concat()).ok()
}

/// A request with the host's headers and without the credential.
pub(crate) struct Draft {
    pub(crate) method: Method,
    /// Origin-form.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn draft(target: &Target, hop: &Hop) -> Result<Draft, SendError> {
    let mut headers = hop.headers.clone();
    let host = HeaderValue::from_str(target.authority()).map_err(|_| SendError::from(Code::UrlInvalid))?;
    headers.insert(HOST, host);
    // Why only then: a definition's suffix was added when the guest's headers were checked, which never have one.
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT_ENCODING, CODINGS);
    Ok(Draft { method: hop.method, uri: target.origin_form().to_owned(), headers, body: hop.body.clone() })
}

impl Draft {
    /// Whether there is a body that can take a member. An empty form can; a GET that a redirect made has no
    /// body.
    pub(crate) fn has_body(&self) -> bool {
        self.method != Method::Get || !self.body.is_empty()
    }

    fn media(&self) -> Option<String> {
        let media = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    pub(crate) fn is_form(&self) -> bool {
        self.media().is_some_and(|media| media == FORM)
    }

    /// Puts members into the JSON or form body. `None` when it is neither, or when it has one of them
    /// already: of two members an upstream may read the first.
    pub(crate) fn fill_body(&mut self, members: &[(Vec<String>, Zeroizing<String>)]) -> Option<()> {
        if !self.is_form() {
            return self.fill_body_coded(members);
        }
        let coded = |(path, text): &(Vec<String>, Zeroizing<String>)| {
            let mut coded = Zeroizing::new(String::with_capacity(text.len() * 3));
            percent_encode(text, &mut coded);
            (path.clone(), coded)
        };
        self.fill_body_coded(&members.iter().map(coded).collect::<Vec<_>>())
    }

    /// The same; where the body is a form, the values are percent-encoded already.
    pub(crate) fn fill_body_coded(&mut self, members: &[(Vec<String>, Zeroizing<String>)]) -> Option<()> {
        let media = self.media()?;
        let body = if media == FORM {
            fill_form(&self.body, members)?
        } else if media == "application/json" || media.ends_with("+json") {
            fill_json(&self.body, members)?
        } else {
            return None;
        };
        self.body = Bytes::from(body);
        Some(())
    }

    pub(crate) fn finish(mut self) -> Result<Request<Full<Bytes>>, SendError> {
        if self.body.is_empty() && self.method.has_body() {
            // A length is sent where the method expects a body (RFC 9110 section 8.6).
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = http::Method::from_bytes(self.method.as_str().as_bytes())
            .map_err(|_| SendError::from(Code::MethodForbidden))?;
        *request.uri_mut() = Uri::try_from(self.uri).map_err(|_| SendError::from(Code::UrlInvalid))?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

fn fill_json(body: &[u8], members: &[(Vec<String>, Zeroizing<String>)]) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    for (path, text) in members {
        let (last, parents) = path.split_last()?;
        let mut place = &mut document;
        for step in parents {
            place = place.as_object_mut()?.entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
        let taken = place.as_object_mut()?.insert(last.clone(), Value::String(text.to_string()));
        if taken.is_some() {
            return None;
        }
    }
    serde_json::to_vec(&document).ok()
}

fn fill_form(body: &[u8], members: &[(Vec<String>, Zeroizing<String>)]) -> Option<Vec<u8>> {
    let mut text = String::from_utf8(body.to_vec()).ok()?;
    for (path, value) in members {
        let (first, rest) = path.split_first()?;
        let name = rest.iter().fold(first.clone(), |name, step| format!("{name}[{step}]"));
        if url::form_urlencoded::parse(body).any(|(given, _)| given == name) {
            return None;
        }
        if !text.is_empty() {
            text.push('&');
        }
        percent_encode(&name, &mut text);
        text.push('=');
        text.push_str(value);
    }
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::outbound::OutboundOptions;

    fn request(headers: &[(&str, &str)], body: usize) -> OutboundRequest {
        OutboundRequest {
            method: Method::Post,
            url: String::new(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
            body: Some(vec![b'x'; body]),
            credential: None,
            options: OutboundOptions::default(),
        }
    }

    #[test]
    fn the_hosts_headers_are_set_once_by_the_host() {
        let limits = Limits::default();
        let headers = check(&request(&[("x-a", "1"), ("X-A", "2")], 1), &[], &limits).unwrap();
        let target = Target::parse(b"https://api.example.com:8443/p?q=1", 8192).unwrap();
        let hop = Hop { method: Method::Post, headers, body: Bytes::from_static(b"x"), credential: false };
        let built = draft(&target, &hop).unwrap().finish().unwrap();
        assert_eq!(built.uri(), "/p?q=1");
        assert_eq!(built.headers().get_all(HOST).iter().collect::<Vec<_>>(), ["api.example.com:8443"]);
        assert_eq!(built.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(built.headers()[ACCEPT_ENCODING], "gzip, deflate, br, zstd");
    }

    #[test]
    fn limits_hold_at_their_border() {
        let limits = Limits {
            request_bytes: 10,
            request_header_count: 2,
            request_header_bytes: 20,
            ..Limits::default()
        };
        let code = |r: &OutboundRequest| check(r, &[], &limits).map(|_| ()).map_err(|e| e.code);
        assert_eq!(code(&request(&[], 10)), Ok(()));
        assert_eq!(code(&request(&[], 11)), Err(Code::RequestTooLarge));
        assert_eq!(code(&request(&[("a", "1"), ("b", "1")], 0)), Ok(()));
        assert_eq!(code(&request(&[("a", "1"), ("b", "1"), ("c", "1")], 0)), Err(Code::RequestTooLarge));
        assert_eq!(code(&request(&[("a", &"x".repeat(19))], 0)), Ok(()));
        assert_eq!(code(&request(&[("a", &"x".repeat(20))], 0)), Err(Code::RequestTooLarge));
        assert_eq!(code(&request(&[("Host", "x")], 0)), Err(Code::HeaderForbidden));
    }

    fn filled(content_type: &'static str, body: &'static str, path: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let body = Bytes::from_static(body.as_bytes());
        let mut draft = Draft { method: Method::Post, uri: "/".to_owned(), headers, body };
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        draft.fill_body(&[(path, Zeroizing::new("k&\"1".to_owned()))])?;
        String::from_utf8(draft.body.to_vec()).ok()
    }

    #[test]
    fn a_key_becomes_a_member_of_the_body_and_never_the_second_of_its_name() {
        let json = "application/json; charset=utf-8";
        assert_eq!(filled(json, r#"{"a":1}"#, &["key"]).as_deref(), Some(r#"{"a":1,"key":"k&\"1"}"#));
        let nested = filled("application/vnd.x+json", r#"{"auth":{"v":1}}"#, &["auth", "key"]);
        assert_eq!(nested.as_deref(), Some(r#"{"auth":{"v":1,"key":"k&\"1"}}"#));
        let form = "application/x-www-form-urlencoded";
        assert_eq!(filled(form, "a=1", &["auth", "key"]).as_deref(), Some("a=1&auth%5Bkey%5D=k%26%221"));
        for (content_type, body, path) in [
            (json, r#"{"key":"guest's"}"#, &["key"][..]),
            (json, "[1]", &["key"]),
            (json, r#"{"auth":"x"}"#, &["auth", "key"]),
            (json, "nonsense", &["key"]),
            (form, "%6bey=1", &["key"]),
            ("text/plain", "a", &["key"]),
        ] {
            assert_eq!(filled(content_type, body, path), None, "{content_type} {body}");
        }
    }
}
