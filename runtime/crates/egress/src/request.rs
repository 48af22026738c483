//! From a guest's request to the bytes that leave: header policy, caps, and the host's own headers.
//!
//! The request target is always rebuilt in origin-form from the parsed target; guest text never
//! reaches the connection as it was. One Host header, one Content-Length, both the host's.

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_core::fault::Code;
use portcullis_core::header_rules::check_request_header;
use portcullis_core::injection::Injected;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{LimitKind, Method, OutboundRequest};
use portcullis_core::target::Target;

use crate::error::SendError;

/// How the product names itself to upstreams.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Portcullis/", env!("CARGO_PKG_VERSION")));
/// What the decoder reads; the host owns the header because the scrubber must read what comes back.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

/// Checks a guest's headers and body against the rules and caps.
///
/// # Errors
/// `header_forbidden`, or the limit that was passed.
pub(crate) fn check(
    request: &OutboundRequest,
    injected: &[String],
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

/// Puts the final request together.
pub(crate) fn assemble(
    target: &Target,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
    injected: Option<&Injected>,
) -> Result<Request<Full<Bytes>>, SendError> {
    let mut uri = target.origin_form();
    if let Some(pair) = injected.and_then(|i| i.query.as_ref()) {
        uri.push(if target.query().is_some() { '&' } else { '?' });
        uri.push_str(pair);
    }
    let host = HeaderValue::from_str(&target.authority()).map_err(|_| SendError::from(Code::UrlInvalid))?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT_ENCODING, CODINGS);
    for (name, value) in injected.iter().flat_map(|i| i.headers.iter()) {
        headers.insert(name.clone(), value.clone());
    }
    if body.is_empty() && method.has_body() {
        // A length of nothing is said where a body is expected (RFC 9110 section 8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = http::Method::from_bytes(method.as_str().as_bytes())
        .map_err(|_| SendError::from(Code::MethodForbidden))?;
    *request.uri_mut() = uri.parse().map_err(|_| SendError::from(Code::UrlInvalid))?;
    *request.headers_mut() = headers;
    Ok(request)
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
        let built = assemble(&target, Method::Post, headers, Bytes::from_static(b"x"), None).unwrap();
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
}
