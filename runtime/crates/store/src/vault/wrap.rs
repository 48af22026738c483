//! Wrapping one key under another: XChaCha20-Poly1305 with a random 192-bit nonce.
//!
//! The nonce is long enough to be random always, so a long-lived key needs no counter.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::random::{RandomSource, array};
use super::{KeyBytes, VaultError};

const NONCE_BYTES: usize = 24;

/// Nonce, 32 encrypted bytes, 16 bytes of tag.
pub(super) const WRAPPED_BYTES: usize = NONCE_BYTES + 32 + 16;

/// Encrypts a key.
pub(super) fn wrap(
    under: &[u8; 32],
    associated: &[u8],
    key: &[u8; 32],
    random: &dyn RandomSource,
) -> Result<Vec<u8>, VaultError> {
    let nonce = array::<NONCE_BYTES>(random)?;
    let cipher = XChaCha20Poly1305::new(under.into());
    let mut body = Vec::with_capacity(WRAPPED_BYTES);
    body.extend_from_slice(key);
    cipher.encrypt_in_place(&XNonce::from(nonce), associated, &mut body).map_err(|_| VaultError::Refused)?;
    let mut wrapped = nonce.to_vec();
    wrapped.append(&mut body);
    Ok(wrapped)
}

/// Decrypts a key, or refuses.
pub(super) fn unwrap(under: &[u8; 32], associated: &[u8], wrapped: &[u8]) -> Result<KeyBytes, VaultError> {
    let (nonce, body) = wrapped
        .split_first_chunk::<NONCE_BYTES>()
        .filter(|_| wrapped.len() == WRAPPED_BYTES)
        .ok_or(VaultError::Malformed("a wrapped key has the wrong length"))?;
    let cipher = XChaCha20Poly1305::new(under.into());
    let mut body = Zeroizing::new(body.to_vec());
    cipher
        .decrypt_in_place(&XNonce::from(*nonce), associated, &mut *body)
        .map_err(|_| VaultError::Refused)?;
    let mut key = KeyBytes::default();
    let opened = body.first_chunk::<32>().ok_or(VaultError::Refused)?;
    key.copy_from_slice(opened);
    Ok(key)
}
