//! A next URL from the upstream: same scheme, host and port as the first request, or refused.
//!
//! Attacks use URLs that two parsers read differently, so whatever another
//! parser might repair (a backslash, a tab, a missing slash) is refused here and not repaired.

use super::PageError;

/// Host and port of an `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// Lower case.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute URL; `None` for another scheme, user information or an invalid port.
    pub(super) fn of(url: &str) -> Option<Self> {
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
pub(super) fn resolve(origin: Option<&Origin>, last: &str, next: &str) -> Result<String, PageError> {
    if !next.bytes().all(|b| b.is_ascii_graphic()) || next.contains('\\') {
        return Err(PageError::NotAUrl);
    }
    let next = next.split_once('#').map_or(next, |(before, _)| before);
    if next.starts_with("//") {
        return Err(PageError::Foreign);
    }
    if next.starts_with('?') {
        let base = last.split_once('?').map_or(last, |(base, _)| base);
        return Ok(format!("{base}{next}"));
    }
    if next.starts_with('/') {
        let (authority, _) = split(last).ok_or(PageError::NotAUrl)?;
        return Ok(format!("https://{authority}{next}"));
    }
    if !next.contains("://") {
        return Err(PageError::NotAUrl);
    }
    match Origin::of(next) {
        Some(found) if Some(&found) == origin => Ok(next.to_owned()),
        _ => Err(PageError::Foreign),
    }
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
            "http://api.example.com/v1/list?page=2",
            "ftp://api.example.com/",
            "//evil.com/v1",
            "//api.example.com/v1",
        ] {
            assert_eq!(run(next), Err(PageError::Foreign), "{next}");
        }
        for next in [
            "",
            "list?page=2",
            "https:/evil.com",
            "https:evil.com",
            "javascript:alert(1)",
            "/\\evil.com",
            "\\\\evil.com",
            "https:\\\\evil.com",
            "https://api.example.com\\@evil.com/",
            "/\t/evil.com",
            "ht\ntps://evil.com",
            " /v1",
            "/v1/ä",
            "/v1\r\nx: y",
        ] {
            assert_eq!(run(next), Err(PageError::NotAUrl), "{next:?}");
        }
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
