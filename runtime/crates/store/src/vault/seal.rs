//! Sealing and opening one credential under an unwrapped workspace key.
//!
//! Every write has a new data key; HKDF derives an encryption key from it, and a commitment that is
//! compared before anything is opened, because neither AEAD commits to its key. Nothing here reads the
//! store. Called by [`super::Vault`].

use std::sync::Arc;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce};
use portcullis_core::hex;
use portcullis_core::secret::{SecretFields, SecretValue};
use zeroize::{Zeroize, Zeroizing};

use super::associated::{Associated, Bound};
use super::derived::Derived;
use super::format::{
    ALLOWED_HOSTS, FIELDS_MAX, Parts, SEALED_BYTES_MAX, SEALED_TEXT_BYTES_MAX, decode, is_field_name,
};
use super::random::RandomSource;
use super::workspace_key::WorkspaceKey;
use super::{KeyBytes, SecretPayload, VaultError, wrap};
use crate::lower_hex;

const TAG_BYTES: usize = 16;

/// Seals a payload; the result is the binary format.
pub(super) fn seal<'b>(
    key: &WorkspaceKey,
    binding: impl Into<Bound<'b>>,
    payload: &SecretPayload,
    random: &dyn RandomSource,
) -> Result<Vec<u8>, VaultError> {
    let binding = &binding.into();
    let hosts = Zeroizing::new(
        serde_json::to_vec(&payload.allowed_hosts)
            .map_err(|_| VaultError::InvalidField("the allowed hosts are not text"))?,
    );
    check(payload, hosts.len())?;
    let count = u16::try_from(payload.fields.len().saturating_add(1))
        .map_err(|_| VaultError::InvalidField("there are too many"))?;

    let mut data_key = KeyBytes::default();
    random.fill(&mut *data_key)?;
    let bound = Associated::of_credential("data key", &key.id, binding, count);
    let wrapped = wrap::wrap(&key.bytes, bound.as_bytes(), &data_key, random)?;
    let derived = Derived::from(&data_key)?;

    let plaintexts = std::iter::once((ALLOWED_HOSTS, hosts.as_slice()))
        .chain(payload.fields.iter().map(|(name, value)| (name, value.expose().as_bytes())));
    let cipher = derived.cipher();
    let mut sealed = Vec::with_capacity(usize::from(count));
    for ((name, plaintext), index) in plaintexts.zip(0_u16..) {
        let field = Field { name, index, count };
        sealed.push((name, field.seal(&cipher, key, binding, plaintext)?));
    }
    let parts = Parts {
        key_id: raw_key_id(key)?,
        wrapped: &wrapped,
        commitment: derived.commitment,
        fields: sealed.iter().map(|(name, ciphertext)| (*name, ciphertext.as_slice())).collect(),
    };
    Ok(parts.encode())
}

/// Opens the binary format for the binding it was sealed for, if `admits` accepts its host list.
pub(super) fn open<'b>(
    key: &WorkspaceKey,
    binding: impl Into<Bound<'b>>,
    bytes: &[u8],
    admits: impl FnOnce(&[String]) -> bool,
) -> Result<SecretPayload, VaultError> {
    let binding = &binding.into();
    let parts = decode(bytes)?;
    if parts.key_id != raw_key_id(key)? {
        return Err(VaultError::UnknownKey(hex::encode(&parts.key_id)));
    }
    let count = u16::try_from(parts.fields.len())
        .map_err(|_| VaultError::Malformed("its field count is out of range"))?;
    let bound = Associated::of_credential("data key", &key.id, binding, count);
    let kept = key.data_keys.get(bound.as_bytes(), parts.wrapped);
    let derived = match &kept {
        Some(derived) => Arc::clone(derived),
        None => Arc::new(Derived::from(&wrap::unwrap(&key.bytes, bound.as_bytes(), parts.wrapped)?)?),
    };
    if !derived.commits_to(&parts.commitment) {
        return Err(VaultError::Refused);
    }
    if kept.is_none() {
        key.data_keys.keep(bound.as_bytes(), parts.wrapped, &derived);
    }
    let cipher = derived.cipher();
    let mut sealed = parts.fields.into_iter().zip(0_u16..);
    let ((name, ciphertext), index) = sealed.next().ok_or(VaultError::Refused)?;
    let hosts = Field { name, index, count }.open(&cipher, key, binding, ciphertext)?;
    let allowed_hosts: Vec<String> = serde_json::from_slice(&hosts).map_err(|_| VaultError::Refused)?;
    if !admits(&allowed_hosts) {
        return Err(VaultError::NotAdmitted);
    }
    let mut fields = Vec::with_capacity(usize::from(count));
    for ((name, ciphertext), index) in sealed {
        let mut plaintext = Field { name, index, count }.open(&cipher, key, binding, ciphertext)?;
        // Moved, not copied: the buffer itself becomes the secret.
        let value = String::from_utf8(std::mem::take(&mut *plaintext)).map_err(|error| {
            error.into_bytes().zeroize();
            VaultError::Refused
        })?;
        fields.push((name.to_owned(), SecretValue::new(value)));
    }
    Ok(SecretPayload { fields: SecretFields::new(fields), allowed_hosts })
}

/// One field with its position.
struct Field<'a> {
    name: &'a str,
    index: u16,
    count: u16,
}

impl Field<'_> {
    fn seal(
        &self,
        cipher: &Aes256Gcm,
        key: &WorkspaceKey,
        binding: &Bound<'_>,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        // Allocated with room for the tag: growing would leave a copy of the plaintext behind.
        let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(TAG_BYTES));
        buffer.extend_from_slice(plaintext);
        let bound = self.associated(key, binding);
        let sealed = cipher.encrypt_in_place(&self.nonce(), bound.as_bytes(), &mut buffer);
        match sealed {
            Ok(()) => Ok(buffer),
            Err(_) => {
                buffer.zeroize();
                Err(VaultError::Refused)
            }
        }
    }

    fn open(
        &self,
        cipher: &Aes256Gcm,
        key: &WorkspaceKey,
        binding: &Bound<'_>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let bound = self.associated(key, binding);
        cipher
            .decrypt_in_place(&self.nonce(), bound.as_bytes(), &mut *buffer)
            .map_err(|_| VaultError::Refused)?;
        Ok(buffer)
    }

    fn associated(&self, key: &WorkspaceKey, binding: &Bound<'_>) -> Associated {
        Associated::of_credential("field", &key.id, binding, self.count)
            .item(self.name.as_bytes())
            .item(&self.index.to_be_bytes())
    }

    /// The field's number. The key is used for this one write only, so numbers never repeat.
    fn nonce(&self) -> Nonce<aes_gcm::aead::consts::U12> {
        let [high, low] = self.index.to_be_bytes();
        Nonce::from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])
    }
}

fn raw_key_id(key: &WorkspaceKey) -> Result<[u8; 8], VaultError> {
    lower_hex::decode(key.id.as_str()).ok_or(VaultError::Malformed("a key id is not 16 hex digits"))
}

/// Checks the names and the size after sealing, before any key is made.
fn check(payload: &SecretPayload, hosts_bytes: usize) -> Result<(), VaultError> {
    if payload.fields.len() >= FIELDS_MAX {
        return Err(VaultError::InvalidField("there are too many"));
    }
    let per_field = 1 + 4 + TAG_BYTES;
    let fixed = 4 + 8 + wrap::WRAPPED_BYTES + 32 + 2 + per_field + ALLOWED_HOSTS.len();
    let mut bytes = fixed.saturating_add(hosts_bytes);
    let mut names = std::collections::HashSet::new();
    for (name, value) in payload.fields.iter() {
        if !is_field_name(name) {
            return Err(VaultError::InvalidField("a name is not acceptable"));
        }
        if !names.insert(name) {
            return Err(VaultError::InvalidField("a name occurs twice"));
        }
        bytes = bytes.saturating_add(per_field).saturating_add(name.len()).saturating_add(value.len());
    }
    if bytes > SEALED_BYTES_MAX {
        return Err(VaultError::TooLarge {
            bytes: bytes.div_ceil(3).saturating_mul(4),
            limit: SEALED_TEXT_BYTES_MAX,
        });
    }
    Ok(())
}
