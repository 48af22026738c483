//! Associated data: what a ciphertext is bound to, encoded so that two different bindings never have the same bytes.
//!
//! Every item is length-prefixed, and the first one names the purpose. It encodes only; the AEADs
//! compare it.

use super::Binding;
use super::kek::KeyId;

/// Version of the sealed format and of everything below.
pub(super) const FORMAT: u8 = 1;
/// XChaCha20-Poly1305, which wraps keys.
pub(super) const ALGORITHM_WRAP: u8 = 1;
/// AES-256-GCM, which seals fields.
pub(super) const ALGORITHM_FIELD: u8 = 1;
/// HKDF-SHA256, which derives the encryption key and the commitment.
pub(super) const ALGORITHM_DERIVE: u8 = 1;

/// Associated data being built.
#[derive(Clone)]
pub(super) struct Associated(Vec<u8>);

impl Associated {
    /// For a purpose; includes the product's tag, the format and the algorithms.
    pub(super) fn new(purpose: &str) -> Self {
        Self(Vec::with_capacity(256)).item(b"portcullis").item(purpose.as_bytes()).item(&[FORMAT]).item(&[
            ALGORITHM_WRAP,
            ALGORITHM_FIELD,
            ALGORITHM_DERIVE,
        ])
    }

    /// For a part of a sealed credential of `count` fields.
    pub(super) fn of_credential(purpose: &str, key_id: &KeyId, binding: &Binding, count: u16) -> Self {
        Self::new(purpose)
            .item(key_id.as_str().as_bytes())
            .item(binding.org.as_str().as_bytes())
            .item(binding.workspace.as_str().as_bytes())
            .item(binding.connector.as_str().as_bytes())
            .item(binding.credential.as_str().as_bytes())
            .item(&binding.revision.to_be_bytes())
            .item(&count.to_be_bytes())
    }

    /// Adds one item, preceded by its length.
    pub(super) fn item(mut self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
