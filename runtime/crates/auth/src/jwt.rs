//! JSON Web Tokens (RFC 7519) in compact form (RFC 7515 section 3.1), signed with the algorithms of
//! RFC 7518 and RFC 8037.
//!
//! The caller sets all claims, also the times (`iat`, `exp`); only `alg`, `typ` and `kid` are added. The
//! signer of `jsonwebtoken` is named here instead of taken from its process-wide default, so that a feature
//! of another crate cannot change it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use portcullis_core::definition::AlgDef;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use self::key::Family;
use crate::SignError;

mod key;

#[cfg(test)]
mod tests;

/// The content of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtSpec {
    pub alg: AlgDef,
    /// The `kid` header.
    pub kid: Option<String>,
    /// More headers, in order; `typ` replaces `JWT`.
    pub header: Map<String, Value>,
    /// In order.
    pub claims: Map<String, Value>,
}

/// The signed token.
///
/// The key is the text of the secret for HS*, and a private key in PEM for the others: PKCS#8 for all, PKCS#1
/// for RSA and SEC1 for EC as well. Line ends may be the two characters `\n`, as in the JSON of a service
/// account.
///
/// # Errors
/// [`SignError`] when the key does not fit the algorithm, or when the caller may not set a header.
pub fn sign_jwt(spec: &JwtSpec, key: &str) -> Result<Zeroizing<String>, SignError> {
    let Jose { name, algorithm, family } = jose(spec.alg)?;
    let refused = |_| SignError::Key(name);
    let header = encoded(Value::Object(header(spec, name)?));
    let claims = encoded(Value::Object(spec.claims.clone()));
    let message = format!("{header}.{claims}");
    let key = key::load(name, &family, key)?;
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).map_err(refused)?;
    let signature = signer.try_sign(message.as_bytes()).map_err(|_| SignError::Key(name))?;
    let signature = Zeroizing::new(URL_SAFE_NO_PAD.encode(signature));
    Ok(Zeroizing::new(format!("{message}.{}", signature.as_str())))
}

/// An algorithm: its name in JOSE, its name in `jsonwebtoken`, and the type of its key.
struct Jose {
    name: &'static str,
    algorithm: Algorithm,
    family: Family,
}

fn jose(alg: AlgDef) -> Result<Jose, SignError> {
    let (name, algorithm, family) = match alg {
        AlgDef::HS256 => ("HS256", Algorithm::HS256, Family::Secret),
        AlgDef::HS384 => ("HS384", Algorithm::HS384, Family::Secret),
        AlgDef::HS512 => ("HS512", Algorithm::HS512, Family::Secret),
        AlgDef::RS256 => ("RS256", Algorithm::RS256, Family::Rsa),
        AlgDef::RS384 => ("RS384", Algorithm::RS384, Family::Rsa),
        AlgDef::RS512 => ("RS512", Algorithm::RS512, Family::Rsa),
        AlgDef::PS256 => ("PS256", Algorithm::PS256, Family::Rsa),
        AlgDef::ES256 => ("ES256", Algorithm::ES256, Family::Ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        AlgDef::ES384 => ("ES384", Algorithm::ES384, Family::Ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        AlgDef::EdDSA => ("EdDSA", Algorithm::EdDSA, Family::Ed25519),
        AlgDef::Sha1 | AlgDef::Sha256 | AlgDef::Sha512 => return Err(SignError::Algorithm("a JWT")),
    };
    Ok(Jose { name, algorithm, family })
}

fn header(spec: &JwtSpec, alg: &str) -> Result<Map<String, Value>, SignError> {
    let mut header = Map::new();
    header.insert("alg".to_owned(), alg.into());
    header.insert("typ".to_owned(), "JWT".into());
    if let Some(kid) = &spec.kid {
        header.insert("kid".to_owned(), kid.as_str().into());
    }
    for (name, value) in &spec.header {
        // Why `b64` and `crit`: they change what is signed (RFC 7797), and this signer ignores them.
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
