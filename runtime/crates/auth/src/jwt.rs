//! JSON Web Tokens (RFC 7519) in compact form (RFC 7515 section 3.1), signed with the algorithms of
//! RFC 7518 and RFC 8037.
//!
//! Times (`iat`, `exp`) are claims like any other and are the caller's to set; nothing is added but
//! `alg`, `typ` and `kid`. The signer of `jsonwebtoken` is asked for by name rather than through its
//! process-wide default, so that no other crate's feature can change or unset it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::SignError;

mod key;

#[cfg(test)]
mod tests;

/// A signature algorithm, as JOSE names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alg {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RS256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RS384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RS512,
    /// RSA PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Alg {
    /// The value of the `alg` header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::HS256 => Algorithm::HS256,
            Self::HS384 => Algorithm::HS384,
            Self::HS512 => Algorithm::HS512,
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtSpec {
    /// The algorithm.
    pub alg: Alg,
    /// The `kid` header.
    pub kid: Option<String>,
    /// Further headers, kept in order; `typ` replaces the usual `JWT`.
    pub header: Map<String, Value>,
    /// The claims, kept in order.
    pub claims: Map<String, Value>,
}

/// The signed token.
///
/// The key is the secret's text for HS*, and otherwise a private key in PEM: PKCS#8 for all, PKCS#1
/// for RSA and SEC1 for EC as well. A PEM whose line ends were written as `\n` in two characters, as
/// the JSON of a service account has them, is understood.
///
/// # Errors
/// [`SignError`] when the key does not fit the algorithm, or when a header is not the caller's to set.
pub fn sign_jwt(spec: &JwtSpec, key: &str) -> Result<Zeroizing<String>, SignError> {
    let refused = |_| SignError::Key(spec.alg.name());
    let header = encoded(Value::Object(header(spec)?));
    let claims = encoded(Value::Object(spec.claims.clone()));
    let message = format!("{header}.{claims}");
    let key = key::load(spec.alg, key)?;
    let signer = (DEFAULT_PROVIDER.signer_factory)(&spec.alg.algorithm(), &key).map_err(refused)?;
    let signature = signer.try_sign(message.as_bytes()).map_err(|_| SignError::Key(spec.alg.name()))?;
    let signature = Zeroizing::new(URL_SAFE_NO_PAD.encode(signature));
    Ok(Zeroizing::new(format!("{message}.{}", signature.as_str())))
}

fn header(spec: &JwtSpec) -> Result<Map<String, Value>, SignError> {
    let mut header = Map::new();
    header.insert("alg".to_owned(), spec.alg.name().into());
    header.insert("typ".to_owned(), "JWT".into());
    if let Some(kid) = &spec.kid {
        header.insert("kid".to_owned(), kid.as_str().into());
    }
    for (name, value) in &spec.header {
        // Why `b64` and `crit`: they change what is signed (RFC 7797), which this signer would not do.
        let reserved = matches!(name.as_str(), "alg" | "b64" | "crit");
        if reserved || (name == "kid" && spec.kid.is_some()) {
            return Err(SignError::JwtHeader(name.clone()));
        }
        header.insert(name.clone(), value.clone());
    }
    Ok(header)
}

fn encoded(value: Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
