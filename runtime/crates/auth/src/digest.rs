//! Hashes and HMAC over byte sequences in several parts (SHA-2 of FIPS 180-4, SHA-1 for protocols that still
//! need it, HMAC of RFC 2104). Called by the signatures of this crate.

use hmac::{Hmac, KeyInit, Mac};
use portcullis_core::hex;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::SignError;

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// HMAC of the parts, joined.
pub(crate) fn hmac<'p>(
    hash: Hash,
    key: &[u8],
    parts: impl IntoIterator<Item = &'p [u8]>,
) -> Result<Zeroizing<Vec<u8>>, SignError> {
    match hash {
        Hash::Sha1 => mac::<Hmac<Sha1>>(key, parts),
        Hash::Sha256 => mac::<Hmac<Sha256>>(key, parts),
        Hash::Sha512 => mac::<Hmac<Sha512>>(key, parts),
    }
}

fn mac<'p, M: Mac + KeyInit>(
    key: &[u8],
    parts: impl IntoIterator<Item = &'p [u8]>,
) -> Result<Zeroizing<Vec<u8>>, SignError> {
    // HMAC takes keys of every length; the error is for other MACs of the same trait.
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| SignError::Key("HMAC"))?;
    for part in parts {
        mac.update(part);
    }
    Ok(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

/// SHA-256 in lower case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}
