//! Master keys in this process: their text form, and the ring of them.
//!
//! It reads no file and no environment variable: the binary passes the text in.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::task::BoxFuture;

use super::kek::{KekProvider, KeyId};
use super::random::{OsRandom, RandomSource};
use super::{KeyBytes, VaultError, wrap};

const TEXT_PREFIX: &str = "pcmk1_";

/// Keys of one ring: a rotation needs two, and one that was interrupted by another three.
const KEYS_MAX: usize = 16;

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
        KeyId::derive("portcullis master key id v1", &*self.0)
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

/// Master keys in this process.
#[derive(Clone)]
pub struct MasterKeys {
    // Invariant: at least one, and none twice.
    keys: Vec<MasterKey>,
    random: Arc<dyn RandomSource>,
}

impl MasterKeys {
    /// This key only.
    #[must_use]
    pub fn new(first: MasterKey) -> Self {
        Self { keys: vec![first], random: Arc::new(OsRandom) }
    }

    /// Adds a key behind the others; one that is there already changes nothing.
    #[must_use]
    pub fn with(mut self, key: MasterKey) -> Self {
        if self.keys.iter().all(|own| own.id() != key.id()) {
            self.keys.push(key);
        }
        self
    }

    /// Reads the file format: a key on each line. Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`VaultError::InvalidKeyRing`], which names the line and shows nothing of it.
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        let mut ring: Option<Self> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |reason| VaultError::InvalidKeyRing { line: number.saturating_add(1), reason };
            let key = MasterKey::from_text(line)
                .map_err(|_| invalid("it is not `pcmk1_` and 43 characters of base64url"))?;
            let Some(before) = ring.take() else {
                ring = Some(Self::new(key));
                continue;
            };
            if before.keys.iter().any(|own| own.id() == key.id()) {
                return Err(invalid("the key is there twice"));
            }
            if before.keys.len() >= KEYS_MAX {
                return Err(invalid(
                    "there are more than 16 keys; take out those that wrap nothing any more",
                ));
            }
            ring = Some(before.with(key));
        }
        ring.ok_or(VaultError::InvalidKeyText)
    }

    fn find(&self, id: &KeyId) -> Result<&MasterKey, VaultError> {
        let found = self.keys.iter().find(|key| key.id() == *id);
        found.ok_or_else(|| VaultError::MasterKeyMissing { key_id: id.to_string() })
    }

    #[cfg(test)]
    pub(super) fn with_random(mut self, random: Arc<dyn RandomSource>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKeys").field(&self.key_ids()).finish()
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(key: MasterKey) -> Self {
        Self::new(key)
    }
}

impl KekProvider for MasterKeys {
    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(MasterKey::id).collect()
    }

    fn wrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move { wrap::wrap(&self.find(id)?.0, associated, key, &*self.random) })
    }

    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        Box::pin(async move { wrap::unwrap(&self.find(id)?.0, associated, wrapped) })
    }

    fn derive(&self, id: &KeyId, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        self.find(id).ok()?.derive(purpose).ok()
    }
}
