//! HMAC (RFC 2104) over parts of the request, in the order that the definition gives: the scheme of
//! exchanges, payment gateways and webhooks. Sets no header; egress does.
//!
//! The parts are joined without separators; a separator is a literal part. Without one, two different
//! requests can have the same string to sign; the author of the definition must avoid that.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use portcullis_core::definition::{AlgDef, EncodingDef, TimestampFormatDef};
use portcullis_core::hex;
use portcullis_core::signing::{HmacPlan, SignedPart};
use zeroize::Zeroizing;

use crate::digest::{self, Hash};
use crate::{SignError, Signable};

/// The text of the signature.
///
/// # Errors
/// [`SignError`] when the key is empty, or when a header to sign is missing or repeated.
pub fn sign_hmac(
    plan: &HmacPlan,
    request: &Signable<'_>,
    key: &[u8],
    now_ms: u64,
    nonce: &str,
) -> Result<Zeroizing<String>, SignError> {
    if key.is_empty() {
        return Err(SignError::Empty("the key"));
    }
    let time = timestamp(plan.timestamp_format, now_ms);
    let hash = hash(plan.alg)?;
    let parts =
        plan.parts.iter().map(|signed| part(signed, request, &time, nonce)).collect::<Result<Vec<_>, _>>()?;
    let mac = digest::hmac(hash, key, parts.iter().map(AsRef::as_ref))?;
    Ok(Zeroizing::new(match plan.encoding {
        EncodingDef::Hex => hex::encode(mac.as_slice()),
        EncodingDef::Base64 => STANDARD.encode(mac.as_slice()),
    }))
}

/// The time as text. A time after the year 9999 becomes the last moment of that year.
#[must_use]
pub fn timestamp(format: TimestampFormatDef, now_ms: u64) -> String {
    match format {
        TimestampFormatDef::EpochS => (now_ms / 1000).to_string(),
        TimestampFormatDef::EpochMs => now_ms.to_string(),
        TimestampFormatDef::Iso8601 => {
            let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
            let time = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::MAX);
            format!("{time:.3}")
        }
    }
}

const fn hash(alg: AlgDef) -> Result<Hash, SignError> {
    match alg {
        AlgDef::Sha1 => Ok(Hash::Sha1),
        AlgDef::Sha256 => Ok(Hash::Sha256),
        AlgDef::Sha512 => Ok(Hash::Sha512),
        _ => Err(SignError::Algorithm("an HMAC")),
    }
}

fn part<'r>(
    signed: &'r SignedPart,
    request: &Signable<'r>,
    time: &'r str,
    nonce: &'r str,
) -> Result<Cow<'r, [u8]>, SignError> {
    let text = match signed {
        SignedPart::Method => request.method,
        SignedPart::Path => request.path,
        SignedPart::Query => request.query.unwrap_or_default(),
        SignedPart::PathAndQuery => return Ok(Cow::Owned(request.path_and_query().into_bytes())),
        SignedPart::Body => return Ok(Cow::Borrowed(request.body)),
        SignedPart::BodySha256 => return Ok(Cow::Owned(digest::sha256_hex(request.body).into_bytes())),
        SignedPart::Timestamp => time,
        SignedPart::Nonce => nonce,
        SignedPart::Header(name) => return Ok(Cow::Owned(request.header(name)?.to_vec())),
        SignedPart::Literal(text) => text,
    };
    Ok(Cow::Borrowed(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName};

    const NOW_MS: u64 = 1_440_938_160_123;

    fn plan(alg: AlgDef, encoding: EncodingDef, parts: Vec<SignedPart>) -> HmacPlan {
        HmacPlan {
            alg,
            key_field: "key".to_owned(),
            parts,
            encoding,
            header: HeaderName::from_static("x-signature"),
            format: None,
            timestamp_header: None,
            timestamp_format: TimestampFormatDef::EpochMs,
            nonce_header: None,
        }
    }

    fn signed(plan: &HmacPlan, key: &[u8], body: &[u8]) -> Result<String, SignError> {
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
        sign_hmac(plan, &request, key, NOW_MS, "n-1").map(|text| text.to_string())
    }

    #[test]
    fn the_published_vectors_hold() {
        // RFC 4231 section 4.3 (test case 2), and RFC 2202 section 3 (test case 2) for SHA-1.
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        for (alg, hex, base64) in [
            (AlgDef::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", "7/zfauXrL6LSdBbV8YTfnCWafHk="),
            (
                AlgDef::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
            ),
            (
                AlgDef::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
                "Fkt6e/z4GeLjlfvnO1bgo4e9ZCIugx/WECcM1+olBVSXWL91wFqZSm0DT2X48Ob9yuqxo01Ka0tjbgcKOLznNw==",
            ),
        ] {
            let body = |encoding| plan(alg, encoding, vec![SignedPart::Body]);
            assert_eq!(signed(&body(EncodingDef::Hex), key, text).unwrap(), hex);
            assert_eq!(signed(&body(EncodingDef::Base64), key, text).unwrap(), base64);
        }
    }

    #[test]
    fn every_part_is_signed_where_it_is_listed() {
        let literal = |text: &str| SignedPart::Literal(text.to_owned());
        let parts = vec![
            SignedPart::Method,
            literal("\n"),
            SignedPart::Path,
            literal("\n"),
            SignedPart::Query,
            literal("\n"),
            SignedPart::PathAndQuery,
            literal("\n"),
            SignedPart::BodySha256,
            literal("\n"),
            SignedPart::Timestamp,
            SignedPart::Nonce,
            literal(":"),
            SignedPart::Header(HeaderName::from_static("x-key")),
            SignedPart::Body,
        ];
        let digest = digest::sha256_hex(b"{}");
        let written = format!("POST\n/v1/orders\na=1\n/v1/orders?a=1\n{digest}\n1440938160123n-1:k1{{}}");
        let composed = signed(&plan(AlgDef::Sha256, EncodingDef::Hex, parts), b"key", b"{}").unwrap();
        let whole = plan(AlgDef::Sha256, EncodingDef::Hex, vec![literal(&written)]);
        assert_eq!(composed, signed(&whole, b"key", b"").unwrap());
    }

    #[test]
    fn times_are_written_in_three_ways() {
        assert_eq!(timestamp(TimestampFormatDef::EpochS, NOW_MS), "1440938160");
        assert_eq!(timestamp(TimestampFormatDef::EpochMs, NOW_MS), "1440938160123");
        assert_eq!(timestamp(TimestampFormatDef::Iso8601, NOW_MS), "2015-08-30T12:36:00.123Z");
        assert_eq!(timestamp(TimestampFormatDef::Iso8601, 0), "1970-01-01T00:00:00.000Z");
        assert!(timestamp(TimestampFormatDef::Iso8601, u64::MAX).starts_with("9999-12-"));
    }

    #[test]
    fn what_cannot_be_signed_is_named() {
        let name = HeaderName::from_static("x-absent");
        let absent = plan(AlgDef::Sha256, EncodingDef::Hex, vec![SignedPart::Header(name.clone())]);
        assert_eq!(signed(&absent, b"key", b""), Err(SignError::MissingHeader(name)));
        let body = plan(AlgDef::Sha256, EncodingDef::Hex, vec![SignedPart::Body]);
        assert_eq!(signed(&body, b"", b""), Err(SignError::Empty("the key")));
        let jwt = plan(AlgDef::HS256, EncodingDef::Hex, vec![SignedPart::Body]);
        assert_eq!(signed(&jwt, b"key", b""), Err(SignError::Algorithm("an HMAC")));
    }
}
