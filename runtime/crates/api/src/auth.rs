//! The bearer token of a request (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_engine::api_token::Presented;

/// Longest text that is hashed as a token; real tokens have a few more than 60 characters.
const TOKEN_BYTES_MAX: usize = 256;

/// What a request presents: the single token that it carries.
pub(crate) fn presented(headers: &HeaderMap) -> Presented<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(bearer_of);
            token.map_or(Presented::Malformed, Presented::Token)
        }
        (Some(_), Some(_)) => Presented::Malformed,
    }
}

/// The single token that a request carries.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    match presented(headers) {
        Presented::Token(text) => Some(text),
        Presented::Nothing | Presented::Malformed => None,
    }
}

/// The token in the value of an `Authorization` field.
pub(crate) fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && text.len() <= TOKEN_BYTES_MAX).then(|| text.trim())
}
