//! Reading private keys: PEM (RFC 7468) with PKCS#8 (RFC 5208), PKCS#1 (RFC 8017) or SEC1 (RFC 5915). Called
//! by the JWT signer; does not check the key itself.
//!
//! The signer takes PKCS#1 for RSA and PKCS#8 for the others, so keys are converted. The PEM support of
//! `jsonwebtoken` is not used: it refuses SEC1, its recursion is as deep as the input says, and it leaves
//! copies of the key in memory.

use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm};
use jsonwebtoken::EncodingKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::SignError;

/// `rsaEncoding`, 1.2.840.113549.1.1.1.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1.
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `id-Ed25519`, 1.3.101.112.
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The content of a PEM block, zeroized when dropped.
type PemKey = Zeroizing<PrivateKeyDer<'static>>;

/// The type of key that an algorithm takes.
pub(super) enum Family {
    /// The text of a secret.
    Secret,
    /// An RSA key in PEM.
    Rsa,
    /// A key on this curve in PEM.
    Ec(&'static EcdsaSigningAlgorithm),
    /// An Ed25519 key in PEM.
    Ed25519,
}

/// The key in the form that the signer takes; `alg` is the algorithm's name in JOSE.
pub(super) fn load(alg: &'static str, family: &Family, key: &str) -> Result<EncodingKey, SignError> {
    match family {
        Family::Secret if key.is_empty() => Err(SignError::Empty("the key")),
        Family::Secret => Ok(EncodingKey::from_secret(key.as_bytes())),
        Family::Rsa => rsa(alg, &parse(key)?),
        Family::Ec(curve) => ec(alg, curve, &parse(key)?),
        Family::Ed25519 => ed25519(alg, &parse(key)?),
    }
}

fn parse(key: &str) -> Result<PemKey, SignError> {
    let unescaped;
    let text = if key.contains('\n') {
        key
    } else {
        unescaped = Zeroizing::new(key.replace("\\r", "").replace("\\n", "\n"));
        unescaped.as_str()
    };
    // An encrypted key is recognised by the label of PKCS#8 or the Proc-Type of older files.
    if text.lines().any(|line| line.starts_with("-----BEGIN ENCRYPTED") || line.ends_with(",ENCRYPTED")) {
        return Err(SignError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map(Zeroizing::new).map_err(|_| SignError::NotPem)
}

fn rsa(alg: &'static str, der: &PemKey) -> Result<EncodingKey, SignError> {
    match &**der {
        PrivateKeyDer::Pkcs1(key) => Ok(EncodingKey::from_rsa_der(key.secret_pkcs1_der())),
        PrivateKeyDer::Pkcs8(key) => match private_key_info(key.secret_pkcs8_der()) {
            Some((OID_RSA, inner)) => Ok(EncodingKey::from_rsa_der(inner)),
            Some(_) => Err(SignError::KeyType { alg, wanted: "an RSA" }),
            None => Err(SignError::Key(alg)),
        },
        _ => Err(SignError::KeyType { alg, wanted: "an RSA" }),
    }
}

fn ec(
    alg: &'static str,
    curve: &'static EcdsaSigningAlgorithm,
    der: &PemKey,
) -> Result<EncodingKey, SignError> {
    match &**der {
        PrivateKeyDer::Sec1(key) => {
            let refused = |_| SignError::Key(alg);
            let pair = EcdsaKeyPair::from_private_key_der(curve, key.secret_sec1_der()).map_err(refused)?;
            let document = pair.to_pkcs8v1().map_err(|_| SignError::Key(alg))?;
            Ok(EncodingKey::from_ec_der(document.as_ref()))
        }
        PrivateKeyDer::Pkcs8(key) => match private_key_info(key.secret_pkcs8_der()) {
            Some((OID_EC, _)) => Ok(EncodingKey::from_ec_der(key.secret_pkcs8_der())),
            Some(_) => Err(SignError::KeyType { alg, wanted: "an EC" }),
            None => Err(SignError::Key(alg)),
        },
        _ => Err(SignError::KeyType { alg, wanted: "an EC" }),
    }
}

fn ed25519(alg: &'static str, der: &PemKey) -> Result<EncodingKey, SignError> {
    match &**der {
        PrivateKeyDer::Pkcs8(key) => match private_key_info(key.secret_pkcs8_der()) {
            Some((OID_ED25519, _)) => Ok(EncodingKey::from_ed_der(key.secret_pkcs8_der())),
            Some(_) => Err(SignError::KeyType { alg, wanted: "an Ed25519" }),
            None => Err(SignError::Key(alg)),
        },
        _ => Err(SignError::KeyType { alg, wanted: "an Ed25519" }),
    }
}

/// The algorithm and the private key of `PrivateKeyInfo` (RFC 5208 section 5). The library that signs checks
/// the key.
fn private_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = element(der, 0x30)?;
    let (_version, rest) = element(info, 0x02)?;
    let (algorithm, rest) = element(rest, 0x30)?;
    let (oid, _parameters) = element(algorithm, 0x06)?;
    let (key, _attributes) = element(rest, 0x04)?;
    Some((oid, key))
}

/// The content of the first DER element, which must have this tag, and the bytes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // No key is longer than 64 KiB.
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}
