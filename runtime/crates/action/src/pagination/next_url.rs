//! A next URL from the upstream: same host and port as the first request, over `https`, or refused.
//!
//! Attacks use URLs that two parsers read differently, so what another parser might repair in more than one way (a
//! backslash, a tab, a missing slash) is refused here. A blank or a letter outside ASCII has one meaning, and is
//! percent-encoded (RFC 3987 section 3.1); a reference is resolved as RFC 3986 section 5.2 says.

use super::PageError;
use crate::escape;

/// Host and port of an `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Lower case.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute URL; `None` for another scheme, user information or an invalid port.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let (authority, _) = split(url)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().ok()?)
            }
            Some(_) => return None,
            None => (authority, 443),
        };
        let plain =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        plain.then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

/// The authority of an `https` URL, and the rest.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_at_checked("https://".len())?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return None;
    }
    rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// The absolute URL of the next page.
pub(crate) fn resolve(origin: Option<&Origin>, last: &str, next: &str) -> Result<String, PageError> {
    let refused = |why| PageError::NotAUrl { link: super::beginning(next), why };
    let plain = next.trim_matches(' ');
    if plain.is_empty() {
        return Err(refused("is empty"));
    }
    if plain.chars().any(|ch| ch.is_control() || ch == '\\') {
        return Err(refused("has a control character or a backslash"));
    }
    let plain = plain.split_once('#').map_or(plain, |(before, _)| before);
    let next = encoded(plain);
    if let Some(rest) = next.strip_prefix("//") {
        return same_origin(origin, format!("https://{rest}"));
    }
    if next.starts_with('?') || next.is_empty() {
        let base = last.split_once('?').map_or(last, |(base, _)| base);
        return Ok(format!("{base}{next}"));
    }
    let (authority, path) = split(last).ok_or_else(|| refused("follows a request without a host"))?;
    if next.starts_with('/') {
        return Ok(format!("https://{authority}{next}"));
    }
    let head = next.split(['/', '?']).next().unwrap_or_default();
    if !head.contains(':') {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        return Ok(format!("https://{authority}{folder}/{next}"));
    }
    if let Some(rest) = without_scheme(&next, "http://") {
        return same_origin(origin, secure(rest));
    }
    if !next.contains("://") {
        return Err(refused("has another scheme than https"));
    }
    same_origin(origin, next)
}

fn same_origin(origin: Option<&Origin>, url: String) -> Result<String, PageError> {
    match Origin::of(&url) {
        Some(found) if Some(&found) == origin => Ok(url),
        _ => Err(PageError::Foreign),
    }
}

fn without_scheme<'u>(url: &'u str, scheme: &str) -> Option<&'u str> {
    let (own, rest) = url.split_at_checked(scheme.len())?;
    own.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The `https` URL of what was written with `http`: several vendors build links behind a proxy that ends TLS. The usual
/// port of one becomes that of the other.
fn secure(rest: &str) -> String {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.strip_suffix(":80").filter(|host| !host.contains(':')).unwrap_or(authority);
    format!("https://{host}{tail}")
}

/// Blanks and what is outside ASCII, percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        if ch.is_ascii() && ch != ' ' {
            out.push(ch);
        } else {
            escape::percent_encode(ch.encode_utf8(&mut [0; 4]), &mut out);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = "https://api.example.com/v1/list?page=1";

    fn run(next: &str) -> Result<String, PageError> {
        resolve(Origin::of(LAST).as_ref(), LAST, next)
    }

    #[test]
    fn the_same_origin_is_followed() {
        for (next, expected) in [
            ("https://api.example.com/v1/list?page=2", "https://api.example.com/v1/list?page=2"),
            ("HTTPS://API.example.COM:443/v2", "HTTPS://API.example.COM:443/v2"),
            ("https://api.example.com?page=2", "https://api.example.com?page=2"),
            ("/v2/list?page=2", "https://api.example.com/v2/list?page=2"),
            ("?page=2", "https://api.example.com/v1/list?page=2"),
            ("/v1/list?next=https://evil.com//x", "https://api.example.com/v1/list?next=https://evil.com//x"),
            ("/v1/a#top", "https://api.example.com/v1/a"),
            ("http://api.example.com/v1/list?page=2", "https://api.example.com/v1/list?page=2"),
            ("HTTP://api.example.com:80/v1", "https://api.example.com/v1"),
            ("//api.example.com/v1", "https://api.example.com/v1"),
            ("list?page=2", "https://api.example.com/v1/list?page=2"),
            ("./other/2", "https://api.example.com/v1/./other/2"),
            (" /v1/list?page=2 ", "https://api.example.com/v1/list?page=2"),
            ("/v1/list?q=a b&c=é", "https://api.example.com/v1/list?q=a%20b&c=%C3%A9"),
            ("#top", "https://api.example.com/v1/list"),
        ] {
            assert_eq!(run(next).as_deref(), Ok(expected), "{next}");
        }
    }

    #[test]
    fn every_other_origin_is_refused_in_every_spelling() {
        for next in [
            "https://evil.com/v1/list?page=2",
            "https://api.example.com.evil.com/",
            "https://api.example.com@evil.com/",
            "https://api.example.com:443@evil.com/",
            "https://user@api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com:/",
            "https://api.example.com:99999/",
            "https://api.example.com./",
            "https://xapi.example.com/",
            "https://example.com/",
            "https://api%2eexample.com/",
            "https://[::1]/",
            "https:///evil.com/",
            "http://evil.com/v1/list?page=2",
            "http://api.example.com:8080/v1/list",
            "http://api.example.com:80@evil.com/",
            "http:///evil.com",
            "http://api.example.com:443:80/",
            "ftp://api.example.com/",
            "//evil.com/v1",
            " //evil.com/v1",
            "///evil.com/v1",
            "//api.example.com:8443/v1",
            "https://api.exämple.com/",
        ] {
            assert_eq!(run(next), Err(PageError::Foreign), "{next}");
        }
        for next in [
            "",
            "  ",
            "https:/evil.com",
            "https:evil.com",
            "http:evil.com",
            "javascript:alert(1)",
            "x:y",
            "/\\evil.com",
            "\\\\evil.com",
            "https:\\\\evil.com",
            "https://api.example.com\\@evil.com/",
            "/\t/evil.com",
            "ht\ntps://evil.com",
            "/v1\r\nx: y",
            "/v1/\u{85}",
        ] {
            assert!(matches!(run(next), Err(PageError::NotAUrl { .. })), "{next:?}");
        }
        let error = run("javascript:alert(1)").unwrap_err().to_string();
        assert!(error.contains("\"javascript:alert(1)\" has another scheme than https"), "{error}");
    }

    #[test]
    fn another_port_is_its_own_origin() {
        let last = "https://api.example.com:8443/a";
        let origin = Origin::of(last);
        let next = |url| resolve(origin.as_ref(), last, url);
        assert_eq!(next("/b").as_deref(), Ok("https://api.example.com:8443/b"));
        assert!(next("https://api.example.com:8443/b").is_ok());
        assert_eq!(next("https://api.example.com/b"), Err(PageError::Foreign));
        assert_eq!(resolve(None, last, "https://api.example.com:8443/b"), Err(PageError::Foreign));
    }
}
