//! Master keys: their text form, their ids, and the provider that wraps workspace keys with them.
//!
//! It reads no file and no environment variable: the binary passes the key text in. The trait also allows
//! a KMS, whose key never enters this process.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::hex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::task::BoxFuture;

use super::random::{OsRandom, RandomSource};
use super::{KeyBytes, VaultError, wrap};

const TEXT_PREFIX: &str = "pcmk1_";

/// The public name of a key: 16 lower-case hex digits, derived from it and revealing nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId(
    // Invariant: 16 lower-case hex digits.
    String,
);

impl KeyId {
    /// Parses a text.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] unless it is 16 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 16 && hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(VaultError::Malformed("a key id is not 16 hex digits"))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The start of a SHA-256 over a label and the key. Keys are random, so this reveals nothing.
    pub(super) fn derive(label: &str, key: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(label);
        hash.update(key);
        let digest: [u8; 32] = hash.finalize().into();
        Self(hex::encode(digest.first_chunk::<8>().unwrap_or(&[0; 8])))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The holder of the master key: this process, or a service.
pub trait KekProvider: Send + Sync + 'static {
    /// The key that new workspace keys are wrapped with.
    fn current(&self) -> KeyId;

    /// Wraps 32 bytes with the current key, bound to `associated`.
    ///
    /// Errors: [`VaultError::Random`], [`VaultError::Provider`].
    fn wrap_key<'a>(
        &'a self,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>>;

    /// Opens what was wrapped with the key `id`, bound to the same `associated`.
    ///
    /// Errors: [`VaultError::UnknownKey`], [`VaultError::Refused`], [`VaultError::Provider`].
    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>>;
}

/// One master key. Debug output is fixed; memory is zeroed on drop.
#[derive(Clone)]
pub struct MasterKey(KeyBytes);

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = KeyBytes::default();
        OsRandom.fill(&mut *key)?;
        Ok(Self(key))
    }

    /// Reads the file format: one line, `pcmk1_` and the base64url of 32 bytes without padding.
    ///
    /// # Errors
    /// [`VaultError::InvalidKeyText`], which shows nothing of the text.
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let encoded = line.strip_prefix(TEXT_PREFIX).ok_or(VaultError::InvalidKeyText)?;
        // Allocated in full at once: growing would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
        URL_SAFE_NO_PAD.decode_vec(encoded, &mut bytes).map_err(|_| VaultError::InvalidKeyText)?;
        let exact =
            bytes.first_chunk::<32>().filter(|_| bytes.len() == 32).ok_or(VaultError::InvalidKeyText)?;
        Ok(Self(Zeroizing::new(*exact)))
    }

    /// The file format, without a line end.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(TEXT_PREFIX);
        URL_SAFE_NO_PAD.encode_string(*self.0, &mut text);
        text
    }

    /// The key's public name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::derive("portcullis master key id v1", &self.0)
    }

    /// A key for another purpose, which reveals nothing of this one (HKDF-SHA256, RFC 5869).
    ///
    /// # Errors
    /// [`VaultError::Malformed`]; 32 bytes can always be derived.
    pub fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA256, b"portcullis master key v1").extract(&*self.0);
        extracted
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|expanded| expanded.fill(&mut *key))
            .map_err(|_| VaultError::Malformed("a key of 32 bytes cannot be derived"))?;
        Ok(key)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

/// Master keys in this process: one that wraps, and any number that only unwrap.
#[derive(Clone)]
pub struct MasterKeys {
    current: MasterKey,
    decrypt_only: Vec<MasterKey>,
    random: Arc<dyn RandomSource>,
}

impl MasterKeys {
    /// This key only.
    #[must_use]
    pub fn new(current: MasterKey) -> Self {
        Self { current, decrypt_only: Vec::new(), random: Arc::new(OsRandom) }
    }

    /// Adds a key that opens what it wrapped and wraps nothing new.
    #[must_use]
    pub fn with_decrypt_only(mut self, key: MasterKey) -> Self {
        self.decrypt_only.push(key);
        self
    }

    #[cfg(test)]
    pub(super) fn with_random(mut self, random: Arc<dyn RandomSource>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({})", self.current.id())
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(key: MasterKey) -> Self {
        Self::new(key)
    }
}

impl KekProvider for MasterKeys {
    fn current(&self) -> KeyId {
        self.current.id()
    }

    fn wrap_key<'a>(
        &'a self,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move { wrap::wrap(&self.current.0, associated, key, &*self.random) })
    }

    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        Box::pin(async move {
            let key = std::iter::once(&self.current)
                .chain(&self.decrypt_only)
                .find(|key| key.id() == *id)
                .ok_or_else(|| VaultError::UnknownKey(id.to_string()))?;
            wrap::unwrap(&key.0, associated, wrapped)
        })
    }
}
