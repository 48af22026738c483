//! HMAC (RFC 2104) over parts of the request, in the order that the upstream's documentation gives:
//! the scheme of exchanges, payment gateways and webhooks.
//!
//! The parts are joined as they are. A separator is a literal; without one, two requests can have the
//! same string to sign, which is for the author of the definition to avoid and not ours to guess.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::digest::{self, Hash};
use crate::{SignError, Signable};

/// The hash of the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacAlg {
    /// HMAC-SHA1; for upstreams that still ask for it.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// How the signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, lower case.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
}

/// How the time is written, in the string to sign and in its header alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Whole seconds since 1970.
    EpochS,
    /// Milliseconds since 1970.
    EpochMs,
    /// `2015-08-30T12:36:00.000Z`, always with milliseconds.
    Iso8601,
}

/// One part of the string to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// Method, as sent.
    Method,
    /// Path, as sent.
    Path,
    /// Query without `?`, as sent; empty when there is none.
    Query,
    /// Path, and `?` with the query when there is one.
    PathAndQuery,
    /// The body's bytes.
    Body,
    /// SHA-256 of the body, hexadecimal in lower case; also of an empty body.
    BodySha256,
    /// The time, in the format of the specification.
    Timestamp,
    /// The nonce.
    Nonce,
    /// The one value of a header.
    Header(HeaderName),
    /// Fixed text, such as a separator.
    Literal(String),
}

/// What to sign, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacSpec {
    /// The hash.
    pub alg: HmacAlg,
    /// The parts, in order.
    pub string_to_sign: Vec<Component>,
    /// How the signature is written.
    pub encoding: Encoding,
    /// How the time is written.
    pub timestamp_format: TimestampFormat,
}

/// The signature's text, to be put where the definition says.
///
/// # Errors
/// [`SignError`] when the key is empty, or when a header to sign is missing or repeated.
pub fn sign_hmac(
    spec: &HmacSpec,
    request: &Signable<'_>,
    key: &[u8],
    now_ms: u64,
    nonce: &str,
) -> Result<Zeroizing<String>, SignError> {
    if key.is_empty() {
        return Err(SignError::Empty("the key"));
    }
    let time = timestamp(spec.timestamp_format, now_ms);
    let parts = spec
        .string_to_sign
        .iter()
        .map(|component| part(component, request, &time, nonce))
        .collect::<Result<Vec<_>, _>>()?;
    let hash = match spec.alg {
        HmacAlg::Sha1 => Hash::Sha1,
        HmacAlg::Sha256 => Hash::Sha256,
        HmacAlg::Sha512 => Hash::Sha512,
    };
    let mac = digest::hmac(hash, key, parts.iter().map(AsRef::as_ref))?;
    Ok(Zeroizing::new(match spec.encoding {
        Encoding::Hex => hex::encode(mac.as_slice()),
        Encoding::Base64 => STANDARD.encode(mac.as_slice()),
    }))
}

/// The time as text. A time beyond the year 9999 is written as its end.
#[must_use]
pub fn timestamp(format: TimestampFormat, now_ms: u64) -> String {
    match format {
        TimestampFormat::EpochS => (now_ms / 1000).to_string(),
        TimestampFormat::EpochMs => now_ms.to_string(),
        TimestampFormat::Iso8601 => {
            let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
            let time = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::MAX);
            format!("{time:.3}")
        }
    }
}

fn part<'r>(
    component: &'r Component,
    request: &Signable<'r>,
    time: &'r str,
    nonce: &'r str,
) -> Result<Cow<'r, [u8]>, SignError> {
    let text = match component {
        Component::Method => request.method,
        Component::Path => request.path,
        Component::Query => request.query.unwrap_or_default(),
        Component::PathAndQuery => return Ok(Cow::Owned(request.path_and_query().into_bytes())),
        Component::Body => return Ok(Cow::Borrowed(request.body)),
        Component::BodySha256 => return Ok(Cow::Owned(digest::sha256_hex(request.body).into_bytes())),
        Component::Timestamp => time,
        Component::Nonce => nonce,
        Component::Header(name) => return Ok(Cow::Owned(request.header(name)?.to_vec())),
        Component::Literal(text) => text,
    };
    Ok(Cow::Borrowed(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    const NOW_MS: u64 = 1_440_938_160_123;

    fn spec(alg: HmacAlg, encoding: Encoding, string_to_sign: Vec<Component>) -> HmacSpec {
        HmacSpec { alg, string_to_sign, encoding, timestamp_format: TimestampFormat::EpochMs }
    }

    fn signed(spec: &HmacSpec, key: &[u8], body: &[u8]) -> Result<String, SignError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", "k1".parse().unwrap());
        let request = Signable {
            method: "POST",
            host: "api.example.com",
            path: "/v1/orders",
            query: Some("a=1"),
            headers: &headers,
            body,
        };
        sign_hmac(spec, &request, key, NOW_MS, "n-1").map(|text| text.to_string())
    }

    #[test]
    fn the_published_vectors_hold() {
        // RFC 4231 section 4.3 (test case 2), and RFC 2202 section 3 (test case 2) for SHA-1.
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        for (alg, hex, base64) in [
            (HmacAlg::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", "7/zfauXrL6LSdBbV8YTfnCWafHk="),
            (
                HmacAlg::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
            ),
            (
                HmacAlg::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
                "Fkt6e/z4GeLjlfvnO1bgo4e9ZCIugx/WECcM1+olBVSXWL91wFqZSm0DT2X48Ob9yuqxo01Ka0tjbgcKOLznNw==",
            ),
        ] {
            let body = |encoding| spec(alg, encoding, vec![Component::Body]);
            assert_eq!(signed(&body(Encoding::Hex), key, text).unwrap(), hex);
            assert_eq!(signed(&body(Encoding::Base64), key, text).unwrap(), base64);
        }
    }

    #[test]
    fn every_component_stands_where_it_is_put() {
        let literal = |text: &str| Component::Literal(text.to_owned());
        let parts = vec![
            Component::Method,
            literal("\n"),
            Component::Path,
            literal("\n"),
            Component::Query,
            literal("\n"),
            Component::PathAndQuery,
            literal("\n"),
            Component::BodySha256,
            literal("\n"),
            Component::Timestamp,
            Component::Nonce,
            literal(":"),
            Component::Header(HeaderName::from_static("x-key")),
            Component::Body,
        ];
        let digest = digest::sha256_hex(b"{}");
        let written = format!("POST\n/v1/orders\na=1\n/v1/orders?a=1\n{digest}\n1440938160123n-1:k1{{}}");
        let composed = signed(&spec(HmacAlg::Sha256, Encoding::Hex, parts), b"key", b"{}").unwrap();
        let whole = spec(HmacAlg::Sha256, Encoding::Hex, vec![literal(&written)]);
        assert_eq!(composed, signed(&whole, b"key", b"").unwrap());
    }

    #[test]
    fn times_are_written_in_three_ways() {
        assert_eq!(timestamp(TimestampFormat::EpochS, NOW_MS), "1440938160");
        assert_eq!(timestamp(TimestampFormat::EpochMs, NOW_MS), "1440938160123");
        assert_eq!(timestamp(TimestampFormat::Iso8601, NOW_MS), "2015-08-30T12:36:00.123Z");
        assert_eq!(timestamp(TimestampFormat::Iso8601, 0), "1970-01-01T00:00:00.000Z");
        assert!(timestamp(TimestampFormat::Iso8601, u64::MAX).starts_with("9999-12-"));
    }

    #[test]
    fn what_cannot_be_signed_is_named() {
        let name = HeaderName::from_static("x-absent");
        let absent = spec(HmacAlg::Sha256, Encoding::Hex, vec![Component::Header(name.clone())]);
        assert_eq!(signed(&absent, b"key", b""), Err(SignError::MissingHeader(name)));
        let body = spec(HmacAlg::Sha256, Encoding::Hex, vec![Component::Body]);
        assert_eq!(signed(&body, b"", b""), Err(SignError::Empty("the key")));
    }
}
