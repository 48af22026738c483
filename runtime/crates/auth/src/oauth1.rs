//! OAuth 1.0 (RFC 5849): HMAC-SHA1 of section 3.4.2, and HMAC-SHA256, which NetSuite and the common libraries
//! compute in the same way with the other hash.
//!
//! Signs a request with tokens it is given. It does not obtain tokens (section 2), and has no RSA-SHA1 and no
//! PLAINTEXT. Parameters are bytes, so that a query that is not UTF-8 is signed as it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use portcullis_core::definition::OAuth1MethodDef;
use zeroize::Zeroizing;

use crate::digest::{self, Hash};
use crate::{SignError, Signable};

#[cfg(test)]
mod tests;

/// Section 3.6 leaves letters, digits and these four unencoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

// Parameters that the signature sets, in the order of the header.
const CONSUMER_KEY: &str = "oauth_consumer_key";
const NONCE: &str = "oauth_nonce";
const SIGNATURE: &str = "oauth_signature";
const SIGNATURE_METHOD: &str = "oauth_signature_method";
const TIMESTAMP: &str = "oauth_timestamp";
const TOKEN: &str = "oauth_token";
const VERSION: &str = "oauth_version";

/// Names and values, percent-encoded. Zeroized because it holds tokens.
type Pairs = Zeroizing<Vec<(String, String)>>;

/// The credentials and the method. No `Debug`, because it holds secrets.
#[derive(Clone, Copy)]
pub struct OAuth1Spec<'a> {
    pub method: OAuth1MethodDef,
    pub consumer_key: &'a str,
    /// May be empty.
    pub consumer_secret: &'a str,
    /// When empty, `oauth_token` is left out (section 3.1).
    pub token: &'a str,
    /// May be empty.
    pub token_secret: &'a str,
    /// For example NetSuite's account.
    pub realm: Option<&'a str>,
}

/// The value of the `authorization` header, marked sensitive.
///
/// # Errors
/// [`SignError`] when the consumer key or the nonce is empty, when the realm cannot be quoted, or when the request
/// already has a parameter that the signature sets.
pub fn sign_oauth1(
    spec: &OAuth1Spec<'_>,
    request: &Signable<'_>,
    timestamp_s: u64,
    nonce: &str,
) -> Result<HeaderValue, SignError> {
    for (name, text) in [("consumer_key", spec.consumer_key), ("the nonce", nonce)] {
        if text.is_empty() {
            return Err(SignError::Empty(name));
        }
    }
    let protocol = protocol_parameters(spec, timestamp_s, nonce);
    let signature = signature(spec, &base_string("https", request, &protocol)?)?;
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("OAuth ");
    if let Some(realm) = spec.realm {
        if realm.bytes().any(|b| !(0x20..=0x7e).contains(&b) || matches!(b, b'"' | b'\\')) {
            return Err(SignError::Character("realm"));
        }
        push_quoted(&mut text, "realm", realm);
        text.push_str(", ");
    }
    for (name, value) in protocol.iter() {
        push_quoted(&mut text, name, value);
        text.push_str(", ");
    }
    push_quoted(&mut text, SIGNATURE, &encode(signature.as_bytes()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| SignError::Character("the credential"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn push_quoted(text: &mut String, name: &str, value: &str) {
    for piece in [name, "=\"", value, "\""] {
        text.push_str(piece);
    }
}

fn protocol_parameters(spec: &OAuth1Spec<'_>, timestamp_s: u64, nonce: &str) -> Pairs {
    let timestamp = timestamp_s.to_string();
    let parameters = [
        (CONSUMER_KEY, spec.consumer_key),
        (NONCE, nonce),
        (SIGNATURE_METHOD, method_name(spec.method)),
        (TIMESTAMP, &timestamp),
        (TOKEN, spec.token),
        (VERSION, "1.0"),
    ];
    let present = parameters.into_iter().filter(|(name, value)| *name != TOKEN || !value.is_empty());
    Zeroizing::new(present.map(|(name, value)| (name.to_owned(), encode(value.as_bytes()))).collect())
}

/// The value of `oauth_signature_method`.
const fn method_name(method: OAuth1MethodDef) -> &'static str {
    match method {
        OAuth1MethodDef::HmacSha1 => "HMAC-SHA1",
        OAuth1MethodDef::HmacSha256 => "HMAC-SHA256",
    }
}

const fn hash(method: OAuth1MethodDef) -> Hash {
    match method {
        OAuth1MethodDef::HmacSha1 => Hash::Sha1,
        OAuth1MethodDef::HmacSha256 => Hash::Sha256,
    }
}

/// Section 3.4.2.
fn signature(spec: &OAuth1Spec<'_>, base: &str) -> Result<Zeroizing<String>, SignError> {
    let consumer = Zeroizing::new(encode(spec.consumer_secret.as_bytes()));
    let token = Zeroizing::new(encode(spec.token_secret.as_bytes()));
    let key = Zeroizing::new(format!("{}&{}", consumer.as_str(), token.as_str()));
    let mac = digest::hmac(hash(spec.method), key.as_bytes(), [base.as_bytes()])?;
    Ok(Zeroizing::new(STANDARD.encode(mac.as_slice())))
}

/// Section 3.4.1. The scheme is a parameter because the examples of the RFC are of `http`.
fn base_string(
    scheme: &str,
    request: &Signable<'_>,
    protocol: &Pairs,
) -> Result<Zeroizing<String>, SignError> {
    let mut pairs: Pairs = protocol.clone();
    let form = if is_form(request) { request.body } else { b"" };
    for (name, value) in decoded(request.query.unwrap_or_default().as_bytes()).chain(decoded(form)) {
        // Why refused: with two values the upstream may check one and use the other.
        let set = [CONSUMER_KEY, NONCE, SIGNATURE, SIGNATURE_METHOD, TIMESTAMP, TOKEN, VERSION];
        if let Some(taken) = set.into_iter().find(|set| set.as_bytes() == name) {
            return Err(SignError::TakenParameter(taken));
        }
        pairs.push((encode(&name), encode(&value)));
    }
    pairs.sort();
    let room = pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut normalized = Zeroizing::new(String::with_capacity(room));
    for (name, value) in pairs.iter() {
        for piece in [if normalized.is_empty() { "" } else { "&" }, name, "=", value] {
            normalized.push_str(piece);
        }
    }
    let uri = base_uri(scheme, request);
    let method = request.method.to_ascii_uppercase();
    let room = 3 * (method.len() + uri.len() + normalized.len()) + 2;
    let mut base = Zeroizing::new(String::with_capacity(room));
    for (separator, part) in [("", method.as_str()), ("&", uri.as_str()), ("&", normalized.as_str())] {
        base.push_str(separator);
        base.extend(percent_encode(part.as_bytes(), ENCODED));
    }
    Ok(base)
}

/// Section 3.4.1.2: lower case host, no default port, no query.
fn base_uri(scheme: &str, request: &Signable<'_>) -> String {
    let host = request.host.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let path = if request.path.is_empty() { "/" } else { request.path };
    format!("{scheme}://{host}{path}")
}

/// Section 3.4.1.3.1: a body is signed when it is a form; parameters of its media type do not matter.
fn is_form(request: &Signable<'_>) -> bool {
    let value = request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Names and values of a query or a form, with `+` as a space. Keeps bytes that are not UTF-8, unlike the
/// parser of `url`.
fn decoded(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let mut side = || decode(sides.next().unwrap_or_default());
        (side(), side())
    })
}

fn decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

/// Section 3.6.
fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}
