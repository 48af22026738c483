//! Hash and keyed hash of byte sequences that need not lie side by side (SHA-2 of FIPS 180-4, SHA-1 for
//! the protocols that still ask for it, HMAC of RFC 2104). Called by the signatures of this crate.

use hmac::{Hmac, KeyInit, Mac};
use portcullis_core::hex;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::SignError;

/// Which hash an HMAC is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// HMAC of the parts as if they were one text.
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
    // HMAC takes keys of every length; the trait also serves MACs that do not.
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
