//! Where a request wants to go: the one parser of outbound URLs.
//!
//! The raw bytes are checked before `url` sees them, because `url` silently drops tabs and line
//! breaks, reads `\` as `/` and turns `127.1` into an address. Afterwards the host must be spelled
//! exactly as it was written. A [`Target`] is syntax only: whether it may be reached is the
//! grant's decision.

use std::borrow::Cow;
use std::sync::Arc;

use url::{Host, Position, Url};

use crate::fault::Code;
use crate::host_pattern::is_host_name;

/// The port that needs no permission.
pub const DEFAULT_PORT: u16 = 443;

/// The only scheme, with the separator after it.
const SCHEME: &str = "https://";

/// A parsed outbound URL. Invariant: https, a DNS host in lower case, no user information, no
/// fragment, no dot segments. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    // Invariant: `https://`, the host to `host_end`, a port or none to `path_start`, the path to
    // `path_end`, then nothing or `?` and the query.
    text: Arc<str>,
    host_end: usize,
    path_start: usize,
    path_end: usize,
    port: u16,
}

impl Target {
    /// Parses the text a guest sent.
    ///
    /// # Errors
    /// The [`Code`] of the first rule it breaks: `url_invalid`, `scheme_not_https`,
    /// `userinfo_present`, `ip_literal` or `port_not_allowed`.
    pub fn parse(raw: &[u8], url_bytes_max: u64) -> Result<Self, Code> {
        if raw.len() as u64 > url_bytes_max {
            return Err(Code::UrlInvalid);
        }
        // Why: everything that a later parser might fold, drop or reinterpret is refused here.
        if !raw.iter().fold(true, |all, b| all & ((0x21..=0x7e).contains(b) && *b != b'\\')) {
            return Err(Code::UrlInvalid);
        }
        let text = std::str::from_utf8(raw).map_err(|_| Code::UrlInvalid)?;
        let rest = strip_https(text)?;
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(authority_end);
        let host = check_authority(authority)?;
        check_path(tail)?;
        let url = Url::parse(text).map_err(|_| Code::UrlInvalid)?;
        let agrees = match url.host() {
            Some(Host::Domain(domain)) => domain == host,
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(Code::IpLiteral),
            None => return Err(Code::UrlInvalid),
        };
        // Why all of it: before the host stands the scheme, and user information if there is any.
        if !agrees || url[..Position::BeforeHost] != *SCHEME {
            return Err(Code::UrlInvalid);
        }
        Ok(Self {
            text: Arc::from(&url[..Position::AfterQuery]),
            host_end: url[..Position::AfterHost].len(),
            path_start: url[..Position::BeforePath].len(),
            path_end: url[..Position::AfterPath].len(),
            port: url.port().unwrap_or(DEFAULT_PORT),
        })
    }

    fn part(&self, from: usize, to: usize) -> &str {
        // Why never empty in practice: the indices come from the parser.
        self.text.get(from..to).unwrap_or_default()
    }

    #[must_use]
    pub fn host(&self) -> &str {
        self.part(SCHEME.len(), self.host_end)
    }

    /// Port; 443 unless the URL names another.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path as it will be sent, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.part(self.path_start, self.path_end)
    }

    /// Query as it will be sent, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.part(self.path_end, self.text.len()).strip_prefix('?')
    }

    /// `https://host` or `https://host:port` (RFC 6454).
    #[must_use]
    pub fn origin(&self) -> &str {
        self.part(0, self.path_start)
    }

    /// The value of the Host header (RFC 9112 section 3.2).
    #[must_use]
    pub fn authority(&self) -> &str {
        self.part(SCHEME.len(), self.path_start)
    }

    /// The origin-form request target (RFC 9112 section 3.2.1).
    #[must_use]
    pub fn origin_form(&self) -> &str {
        self.part(self.path_start, self.text.len())
    }
}

/// The text after `https://`, or the reason of the refusal.
fn strip_https(text: &str) -> Result<&str, Code> {
    let scheme_end = text.find(':').ok_or(Code::UrlInvalid)?;
    let (scheme, rest) = text.split_at(scheme_end);
    let well_formed = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !well_formed {
        return Err(Code::UrlInvalid);
    }
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(Code::SchemeNotHttps);
    }
    let rest = rest.strip_prefix("://").ok_or(Code::UrlInvalid)?;
    if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
        return Err(Code::UrlInvalid);
    }
    Ok(rest)
}

/// Checks `host[:port]` as written and returns the host in lower case.
fn check_authority(authority: &str) -> Result<Cow<'_, str>, Code> {
    if authority.contains('@') {
        return Err(Code::UserinfoPresent);
    }
    if let Some(inner) = authority.strip_prefix('[') {
        let address = inner.split(']').next().unwrap_or_default();
        let address = address.split('%').next().unwrap_or_default();
        let literal = address.parse::<std::net::Ipv6Addr>().is_ok();
        return Err(if literal { Code::IpLiteral } else { Code::UrlInvalid });
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        Some((host, port)) => (host, Some(port)),
    };
    if let Some(port) = port {
        let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { port.parse::<u16>().ok() } else { None };
        if number.is_none_or(|n| n == 0) {
            return Err(Code::UrlInvalid);
        }
    }
    let folded = match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    };
    if is_host_name(&folded) {
        return Ok(folded);
    }
    Err(if reads_as_address(&folded) { Code::IpLiteral } else { Code::UrlInvalid })
}

/// Whether some parser would read the host as an IPv4 address: every label a number, in any base,
/// with or without a trailing dot.
fn reads_as_address(host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    !bare.is_empty()
        && bare.split('.').all(|label| {
            let hex = label.strip_prefix("0x").is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            hex || (!label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
        })
}

/// Refuses path segments that a proxy or server might resolve: `.`, `..`, their encoded forms, the
/// `..;` form that servlet containers resolve, and any of them behind an encoded slash or backslash.
fn check_path(tail: &str) -> Result<(), Code> {
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    let resolved = if path.contains('%') {
        let mut plain = path.to_ascii_lowercase();
        for (encoded, decoded) in [("%2e", "."), ("%2f", "/"), ("%5c", "/")] {
            plain = plain.replace(encoded, decoded);
        }
        has_dot_segment(&plain)
    } else {
        has_dot_segment(path)
    };
    if resolved { Err(Code::UrlInvalid) } else { Ok(()) }
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        Target::parse(text.as_bytes(), 8192).map_or_else(Code::as_str, |_| "ok")
    }

    #[test]
    fn what_is_kept_is_what_will_be_sent() {
        let target =
            Target::parse(b"https://API.Example-SaaS.com:8443/v1/a%2Fb?q=1&r=%20#frag", 8192).unwrap();
        assert_eq!(target.host(), "api.example-saas.com");
        assert_eq!(target.port(), 8443);
        assert_eq!(target.origin(), "https://api.example-saas.com:8443");
        assert_eq!(target.authority(), "api.example-saas.com:8443");
        assert_eq!(target.origin_form(), "/v1/a%2Fb?q=1&r=%20");
        assert_eq!((target.path(), target.query()), ("/v1/a%2Fb", Some("q=1&r=%20")));
        let target = Target::parse(b"https://api.example-saas.com", 8192).unwrap();
        assert_eq!((target.origin_form(), target.port()), ("/", 443));
        assert_eq!((target.path(), target.query()), ("/", None));
        assert_eq!((target.origin(), target.authority()), (target.text.trim_end_matches('/'), target.host()));
        let target = Target::parse(b"https://a.example.com:443?#f", 8192).unwrap();
        assert_eq!((target.origin(), target.origin_form()), ("https://a.example.com", "/?"));
        assert_eq!((target.path(), target.query()), ("/", Some("")));
    }

    #[test]
    fn the_raw_text_decides_before_any_parser_folds_it() {
        for (text, expected) in [
            ("https://api.example.com/", "ok"),
            ("HTTPS://api.example.com/", "ok"),
            ("https://api.example.com:443/", "ok"),
            ("http://api.example.com/", "scheme_not_https"),
            ("ftp://api.example.com/", "scheme_not_https"),
            ("https:/api.example.com", "url_invalid"),
            ("https:api.example.com", "url_invalid"),
            ("https:///api.example.com", "url_invalid"),
            ("//api.example.com", "url_invalid"),
            ("api.example.com", "url_invalid"),
            ("", "url_invalid"),
            ("https://u@api.example.com/", "userinfo_present"),
            ("https://@api.example.com/", "userinfo_present"),
            ("https://a:b@api.example.com/", "userinfo_present"),
            ("https://[::1]/", "ip_literal"),
            ("https://[fe80::1%25eth0]/", "ip_literal"),
            ("https://[api.example.com]/", "url_invalid"),
            ("https://127.0.0.1/", "ip_literal"),
            ("https://0x7f.1/", "ip_literal"),
            ("https://2130706433/", "ip_literal"),
            ("https://127.0.0.1./", "ip_literal"),
            ("https://api.example.com./", "url_invalid"),
            ("https://api.example.com:/", "url_invalid"),
            ("https://api.example.com:0/", "url_invalid"),
            ("https://api.example.com:99999/", "url_invalid"),
            ("https://api.example.com:+443/", "url_invalid"),
            ("https://evil.com\\@api.example.com/", "url_invalid"),
            ("https://api.exa\tmple.com/", "url_invalid"),
            (" https://api.example.com/", "url_invalid"),
            ("https://api.example.com/a b", "url_invalid"),
            ("https://ａpi.example.com/", "url_invalid"),
            ("https://api%2eexample.com/", "url_invalid"),
            ("https://a_b.example.com/", "url_invalid"),
            ("https://*.example.com/", "url_invalid"),
            ("https://xn--api-.example.com/", "url_invalid"),
            ("https://api.example.com/%2e%2E/x", "url_invalid"),
            ("https://api.example.com/..;/x", "url_invalid"),
            ("https://api.example.com/a/../x", "url_invalid"),
            ("https://api.example.com/v1/..%2Fadmin", "url_invalid"),
            ("https://api.example.com/v1/7%2f..%5cadmin", "url_invalid"),
            ("https://api.example.com/v1/group%2Fproject", "ok"),
            ("https://api.example.com/..x/.hidden", "ok"),
            ("https://api.example.com/x?next=../..", "ok"),
        ] {
            assert_eq!(code(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_length_limit_holds_at_its_border() {
        let base = "https://api.example.com/";
        let fits = format!("{base}{}", "a".repeat(8192 - base.len()));
        assert_eq!(code(&fits), "ok");
        assert_eq!(code(&format!("{fits}a")), "url_invalid");
    }
}
