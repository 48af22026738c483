//! The bearer token of a request (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longest text that is hashed as a token; real tokens have a few more than 60 characters.
const TOKEN_BYTES_MAX: usize = 256;

/// The single token that a request carries.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    bearer_of(value.to_str().ok()?)
}

/// The token in the value of an `Authorization` field.
pub(crate) fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && text.len() <= TOKEN_BYTES_MAX).then(|| text.trim())
}
