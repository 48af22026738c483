//! AWS Signature Version 4 in headers ("Signing AWS API requests", IAM user guide; for S3, "Signature
//! Calculations for the Authorization Header").
//!
//! `aws-sigv4` computes the signature; this module decides what it covers: `host`, `content-type` and
//! `x-amz-*`, which proxies do not change. It makes no presigned URLs, chunked payloads or SigV4A.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{SignError, Signable, digest};

#[cfg(test)]
mod tests;

/// Last millisecond of the year 9999; the date format has four digits for the year.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// What S3 encodes in a path. `%` is left out: a path as sent has it only in escapes.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'%');

/// Headers that the signature sets; a request's own value of these is not signed.
const SET: [&str; 3] = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// The credentials and their scope. No `Debug`, because it holds secrets.
#[derive(Clone, Copy)]
pub struct SigV4Spec<'a> {
    /// Service name of the credential scope, such as `s3` or `execute-api`.
    pub service: &'a str,
    /// Region of the credential scope.
    pub region: &'a str,
    pub access_key: &'a str,
    pub secret_key: &'a str,
    /// Of temporary credentials.
    pub session_token: Option<&'a str>,
    /// Leaves the body out of the signature, which S3 accepts over TLS.
    pub unsigned_payload: bool,
    /// Normalizes the path and encodes it a second time, as every service except S3 expects.
    pub double_encode_path: bool,
}

/// What else is signed. Product code always uses one setting; the published test vectors need others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Covered {
    /// Sets and signs `x-amz-content-sha256`.
    pub(crate) payload_header: bool,
    /// Signs every header of the request.
    pub(crate) every_header: bool,
}

/// The headers to set: `authorization`, `x-amz-date`, `x-amz-content-sha256` and, for temporary
/// credentials, `x-amz-security-token`; values are marked sensitive. They replace the request's.
///
/// # Errors
/// [`SignError`] when a field is empty or has a character that breaks the scope, or when the path, the
/// query or a header to sign is not well formed.
pub fn sign_sigv4(
    spec: &SigV4Spec<'_>,
    request: &Signable<'_>,
    now_ms: u64,
) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
    sign_covering(spec, request, now_ms, Covered { payload_header: true, every_header: false })
}

pub(crate) fn sign_covering(
    spec: &SigV4Spec<'_>,
    request: &Signable<'_>,
    now_ms: u64,
    covered: Covered,
) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
    check(spec)?;
    if now_ms > TIME_MS_MAX {
        return Err(SignError::Time);
    }
    let token = spec.session_token.map(str::to_owned);
    let identity = Credentials::new(spec.access_key, spec.secret_key, token, None, "portcullis").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(spec.region)
        .name(spec.service)
        .time(UNIX_EPOCH + Duration::from_millis(now_ms))
        .settings(settings(spec, covered))
        .build()
        .map_err(|_| SignError::Request("signature"))?
        .into();
    // Why hashed here: the library can print a body that it is given, when an environment variable says so.
    let body = if spec.unsigned_payload {
        SignableBody::UnsignedPayload
    } else {
        SignableBody::Precomputed(digest::sha256_hex(request.body))
    };
    let headers = headers(request, covered)?;
    let target = target(spec, request)?;
    let signable = SignableRequest::new(request.method, target, headers.into_iter(), body)
        .map_err(|_| SignError::Request("path"))?;
    let (instructions, _) =
        sign(signable, &parameters).map_err(|_| SignError::Request("headers"))?.into_parts();
    instructions.headers().map(|(name, text)| set(name, text)).collect()
}

fn set(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), SignError> {
    let refused = |_| SignError::Request("signature");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(refused)?;
    let mut value = HeaderValue::from_str(text).map_err(|_| SignError::Character("the credential"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Checks the fields: each is put into a header or into the scope, whose parts are joined by `/`.
fn check(spec: &SigV4Spec<'_>) -> Result<(), SignError> {
    let fields = [
        ("service", spec.service, true),
        ("region", spec.region, true),
        ("access_key", spec.access_key, true),
        ("secret_key", spec.secret_key, false),
        ("session_token", spec.session_token.unwrap_or("-"), false),
    ];
    for (name, text, in_scope) in fields {
        if text.is_empty() {
            return Err(SignError::Empty(name));
        }
        let breaks = |b: u8| !b.is_ascii_graphic() || (in_scope && matches!(b, b'/' | b','));
        if text.bytes().any(breaks) {
            return Err(SignError::Character(name));
        }
    }
    Ok(())
}

fn settings(spec: &SigV4Spec<'_>, covered: Covered) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if covered.payload_header {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    // Why no normalization for S3: object keys such as `a//b` and `a/../b` are valid and different.
    if spec.double_encode_path {
        settings.percent_encoding_mode = PercentEncodingMode::Double;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
    } else {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}

/// The signed headers, without those that the signature sets.
fn headers<'r>(request: &Signable<'r>, covered: Covered) -> Result<Vec<(&'r str, &'r str)>, SignError> {
    let mut headers = vec![("host", request.host)];
    for (name, value) in request.headers {
        let signed =
            covered.every_header || name == http::header::CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        if !signed || name == http::header::HOST || SET.contains(&name.as_str()) {
            continue;
        }
        let text = value.to_str().map_err(|_| SignError::HeaderText(name.clone()))?;
        headers.push((name.as_str(), text));
    }
    Ok(headers)
}

/// Path and query in the form that is signed; the form that is sent does not change.
fn target(spec: &SigV4Spec<'_>, request: &Signable<'_>) -> Result<String, SignError> {
    // Why encoded: S3 decodes the path and encodes it again, so a bare `$` is signed as `%24`.
    let path = if spec.double_encode_path {
        request.path.to_owned()
    } else {
        utf8_percent_encode(request.path, PATH).to_string()
    };
    let Some(query) = request.query else { return Ok(path) };
    // Why refused: the library decodes the query as UTF-8 and would sign replacement characters.
    percent_decode_str(query).decode_utf8().map_err(|_| SignError::Request("query"))?;
    Ok(format!("{path}?{query}"))
}
