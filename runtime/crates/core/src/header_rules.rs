//! Which request headers a guest may set, and which response headers it may see.
//!
//! A refused header fails the request instead of being dropped, so that a mistake is visible. The
//! host owns framing (RFC 9112), connection management, content coding and routing.

/// Names that the host owns or that would change who the request is for. Lower case.
const FORBIDDEN: &[&str] = &[
    // Always set or left out by the host.
    "host",
    "content-length",
    "accept-encoding",
    "user-agent",
    "connection",
    // Framing and hop-by-hop: RFC 9110 section 7.6.1, RFC 9112.
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "http2-settings",
    "expect",
    "max-forwards",
    "via",
    // They would defeat the scrubber by splitting an answer.
    "range",
    "if-range",
    // Routing and identity that an upstream may believe.
    "forwarded",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "true-client-ip",
    "x-client-ip",
    "x-host",
    // Keys to cloud metadata services.
    "metadata",
    "metadata-flavor",
    "x-aws-ec2-metadata-token",
    "x-aws-ec2-metadata-token-ttl-seconds",
    // Cookies are set by injection only.
    "cookie",
    "cookie2",
    "origin",
    "referer",
];

/// Prefixes of names that are refused whole.
const FORBIDDEN_PREFIXES: &[&str] = &["proxy-", "sec-", "x-forwarded-", "cf-", "x-envoy-", "x-amz-security-"];

/// Response headers that a guest never sees: hop-by-hop, and credentials of the host's session.
const HIDDEN: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
    "www-authenticate",
    "authentication-info",
    "proxy-authentication-info",
];

/// Why a guest's header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderRefusal {
    /// Not a token (RFC 9110 section 5.1).
    Name,
    /// CR, LF, NUL or another control character in the value.
    Value,
    /// The host owns it.
    Owned,
    /// The credential is injected there.
    Injected,
}

/// Judges one header of a guest. `injected` are the lower-case names that the credential will set;
/// a spelling that differs only by `_` for `-` counts as the same, because gateways fold them.
///
/// # Errors
/// [`HeaderRefusal`] with the reason.
pub fn check_request_header(name: &str, value: &[u8], injected: &[&str]) -> Result<(), HeaderRefusal> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HeaderRefusal::Name);
    }
    let visible = |b: &u8| matches!(b, b'\t' | 0x20..=0x7e | 0x80..=0xff);
    if !value.iter().all(visible) {
        return Err(HeaderRefusal::Value);
    }
    if injected.iter().any(|own| is_spelling_of(name.as_bytes(), own)) {
        return Err(HeaderRefusal::Injected);
    }
    let begins = |prefix: &&str| {
        name.as_bytes().get(..prefix.len()).is_some_and(|start| is_spelling_of(start, prefix))
    };
    let owned = FORBIDDEN.iter().any(|own| is_spelling_of(name.as_bytes(), own))
        || FORBIDDEN_PREFIXES.iter().any(begins);
    if owned { Err(HeaderRefusal::Owned) } else { Ok(()) }
}

/// Whether two names differ by case, and by `_` for `-`, alone.
fn is_spelling_of(name: &[u8], other: &str) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == other.len() && name.iter().map(folded).eq(other.as_bytes().iter().map(folded))
}

/// Whether a guest may see a response header. `name` in lower case.
#[must_use]
pub fn is_visible_to_guest(name: &str) -> bool {
    !HIDDEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<(), HeaderRefusal> {
        check_request_header(name, value.as_bytes(), &["x-api-key"])
    }

    #[test]
    fn ordinary_headers_pass() {
        for name in [
            "accept",
            "Content-Type",
            "X-GitHub-Api-Version",
            "Idempotency-Key",
            "If-Match",
            "Stripe-Account",
            "authorization",
        ] {
            assert_eq!(check(name, "v"), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_hosts_headers_are_refused_in_every_spelling() {
        for name in FORBIDDEN {
            assert_eq!(check(name, "v"), Err(HeaderRefusal::Owned), "{name}");
            assert_eq!(check(&name.to_uppercase(), "v"), Err(HeaderRefusal::Owned), "{name}");
            assert_eq!(check(&name.replace('-', "_"), "v"), Err(HeaderRefusal::Owned), "{name}");
        }
        for name in ["Proxy-Authorization", "X-Forwarded-For", "CF-Connecting-IP", "Sec-Fetch-Site"] {
            assert_eq!(check(name, "v"), Err(HeaderRefusal::Owned), "{name}");
        }
    }

    #[test]
    fn the_injected_header_is_refused_in_every_spelling() {
        for name in ["x-api-key", "X-API-KEY", "x_api_key", "X_Api-Key"] {
            assert_eq!(check(name, "v"), Err(HeaderRefusal::Injected), "{name}");
        }
        assert_eq!(check("x-api-keys", "v"), Ok(()));
    }

    #[test]
    fn names_are_tokens_and_values_have_no_controls() {
        for name in ["", " a", "a b", "a:", ":authority", "a\r\nb", "é"] {
            assert_eq!(check(name, "v"), Err(HeaderRefusal::Name), "{name:?}");
        }
        for value in ["a\rb", "a\nb", "a\0b", "\u{7f}"] {
            assert_eq!(check("x-a", value), Err(HeaderRefusal::Value), "{value:?}");
        }
        assert_eq!(check("x-a", "tab\tand é"), Ok(()));
    }
}
