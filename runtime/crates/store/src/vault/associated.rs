//! Associated data: what a ciphertext is bound to, encoded so that two different bindings never have the same bytes.
//!
//! Every item is length-prefixed, and the first one names the purpose. It encodes only; the AEADs
//! compare it.

use std::borrow::Cow;

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

/// What a sealed payload is bound to, as texts: whose it is, where or of what kind, for which connector, and which one.
#[derive(Debug, Clone)]
pub(super) struct Bound<'a> {
    pub(super) texts: [Cow<'a, str>; 4],
    pub(super) revision: u64,
}

impl<'a> From<&'a Binding> for Bound<'a> {
    fn from(binding: &'a Binding) -> Self {
        let Binding { org, workspace, connector, connection, credential, revision } = binding;
        // Why in one text: no connector has a slash in its id, so that a named connection has the bytes of no other, and
        // the default one those that it had before there were names.
        let connector = match connection {
            Some(name) => Cow::Owned(format!("{connector}/{name}")),
            None => Cow::Borrowed(connector.as_str()),
        };
        let texts = [org.as_str().into(), workspace.as_str().into(), connector, credential.as_str().into()];
        Self { texts, revision: *revision }
    }
}

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
    pub(super) fn of_credential(purpose: &str, key_id: &KeyId, bound: &Bound<'_>, count: u16) -> Self {
        let Bound { texts, revision } = bound;
        let named = Self::new(purpose).item(key_id.as_str().as_bytes());
        let placed = texts.iter().fold(named, |so_far, text| so_far.item(text.as_bytes()));
        placed.item(&revision.to_be_bytes()).item(&count.to_be_bytes())
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
