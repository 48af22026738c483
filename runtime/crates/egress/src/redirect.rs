//! Redirects, where a definition allows them: each hop is a new request that passes every check. Called by
//! the guard.
//!
//! A hop to another origin keeps no credential, no header of the guest (except `Accept`) and no body. What
//! was dropped stays dropped, also when a later redirect leads back. `Refresh` and HTML are never read.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use hyper::body::Bytes;
use portcullis_core::fault::Code;
use portcullis_core::outbound::Method;
use portcullis_core::target::Target;

/// The parts of a request that a redirect may change (RFC 9110 section 15.4).
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) credential: bool,
}

/// Whether the status asks for another request.
pub(crate) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The absolute URL of a Location, as text for the parser that judges it.
///
/// # Errors
/// `redirect_forbidden` for anything but printable ASCII, or a reference that cannot be resolved.
pub(crate) fn location(from: &Target, value: &[u8], bytes_max: u64) -> Result<String, Code> {
    let printable = value.iter().all(|b| (0x21..=0x7e).contains(b) && *b != b'\\');
    if value.is_empty() || value.len() as u64 > bytes_max || !printable {
        return Err(Code::RedirectForbidden);
    }
    let text = std::str::from_utf8(value).map_err(|_| Code::RedirectForbidden)?;
    let has_scheme = text.split(['/', '?', '#']).next().is_some_and(|head| head.contains(':'));
    if has_scheme {
        // Why unparsed: the judge must see the upstream's spelling, not what a parser makes of it.
        return Ok(text.to_owned());
    }
    if text.starts_with("//") {
        return Ok(format!("https:{text}"));
    }
    let base = format!("{}{}", from.origin(), from.origin_form());
    let base = url::Url::parse(&base).map_err(|_| Code::RedirectForbidden)?;
    base.join(text).map(String::from).map_err(|_| Code::RedirectForbidden)
}

/// The request of the next hop.
///
/// # Errors
/// `redirect_forbidden` when a body would go to another origin.
pub(crate) fn hop(status: u16, from: &Target, to: &Target, before: Hop) -> Result<Hop, Code> {
    let same_origin = from.origin() == to.origin();
    let becomes_get = match status {
        303 => before.method != Method::Head,
        301 | 302 => before.method == Method::Post,
        _ => false,
    };
    let mut after = before;
    if becomes_get {
        after.method = Method::Get;
        after.body = Bytes::new();
        after.headers.remove(CONTENT_TYPE);
    } else if !same_origin && !after.body.is_empty() {
        return Err(Code::RedirectForbidden);
    }
    if !same_origin {
        let accept = after.headers.remove(ACCEPT);
        after.headers.clear();
        if let Some(accept) = accept {
            after.headers.insert(ACCEPT, accept);
        }
        after.credential = false;
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text.as_bytes(), 8192).unwrap()
    }

    fn before(method: Method, body: &'static str) -> Hop {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/json".parse().unwrap());
        headers.insert("x-guest", "1".parse().unwrap());
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        Hop { method, headers, body: Bytes::from_static(body.as_bytes()), credential: true }
    }

    #[test]
    fn a_location_is_resolved_as_rfc_3986_says_and_odd_bytes_are_refused() {
        let from = target("https://a.example.com/v1/x?q=1");
        for (text, expected) in [
            ("/y", "https://a.example.com/y"),
            ("y?z=1", "https://a.example.com/v1/y?z=1"),
            ("?z=1", "https://a.example.com/v1/x?z=1"),
            ("//b.example.com/y", "https://b.example.com/y"),
            ("https://b.example.com:8443/y", "https://b.example.com:8443/y"),
            ("http://2130706433/", "http://2130706433/"),
        ] {
            assert_eq!(location(&from, text.as_bytes(), 8192).as_deref(), Ok(expected), "{text}");
        }
        for bad in [&b""[..], b"/a b", b"/a\r\nx: 1", b"/\xff", b"\\\\evil.com", &[b'a'; 8193]] {
            assert_eq!(location(&from, bad, 8192), Err(Code::RedirectForbidden));
        }
    }

    #[test]
    fn another_origin_takes_nothing_along() {
        let (a, b) = (target("https://a.example.com/"), target("https://b.example.com/"));
        let same = hop(307, &a, &a, before(Method::Post, "x")).ok().unwrap();
        assert!(same.credential && same.headers.contains_key("x-guest") && !same.body.is_empty());
        let other = hop(302, &a, &b, before(Method::Get, "")).ok().unwrap();
        assert!(!other.credential);
        assert_eq!(other.headers.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["accept"]);
        assert_eq!(hop(307, &a, &b, before(Method::Post, "x")).err(), Some(Code::RedirectForbidden));
        assert_eq!(hop(308, &a, &b, before(Method::Put, "x")).err(), Some(Code::RedirectForbidden));
    }

    #[test]
    fn a_post_becomes_a_get_where_the_rfc_says_so() {
        let a = target("https://a.example.com/");
        let method = |status, method| hop(status, &a, &a, before(method, "x")).map(|h| h.method).ok();
        assert_eq!(method(303, Method::Put), Some(Method::Get));
        assert_eq!(method(303, Method::Head), Some(Method::Head));
        assert_eq!(method(302, Method::Post), Some(Method::Get));
        assert_eq!(method(301, Method::Put), Some(Method::Put));
        assert_eq!(method(308, Method::Post), Some(Method::Post));
    }

    #[test]
    fn another_port_is_another_origin() {
        let (a, b) = (target("https://a.example.com/"), target("https://a.example.com:8443/"));
        assert!(!hop(302, &a, &b, before(Method::Get, "")).ok().unwrap().credential);
    }
}
