//! Sealing bytes that are no credential, such as the input of an accepted run: under the workspace's key, and bound to
//! what they are for.
//!
//! As for a credential, every write has a new data key, from which an encryption key and a commitment are derived.
//! Layout: the head of the sealed format, key id 8, wrapped data key 72, commitment 32, ciphertext with tag.

use aes_gcm::Nonce;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use portcullis_core::hex;
use portcullis_core::id::{OrgId, WorkspaceId};
use zeroize::{Zeroize, Zeroizing};

use super::associated::{ALGORITHM_DERIVE, ALGORITHM_FIELD, ALGORITHM_WRAP, Associated, FORMAT};
use super::derived::Derived;
use super::random::RandomSource;
use super::workspace_key::WorkspaceKey;
use super::wrap::WRAPPED_BYTES;
use super::{KeyBytes, Vault, VaultError, wrap};
use crate::lower_hex;

const HEAD: [u8; 4] = [FORMAT, ALGORITHM_WRAP, ALGORITHM_FIELD, ALGORITHM_DERIVE];
const TAG_BYTES: usize = 16;

/// Bytes that sealing adds.
pub const SEALED_CONTENT_BYTES: usize = HEAD.len() + 8 + WRAPPED_BYTES + 32 + TAG_BYTES;

/// What sealed bytes are bound to. They open under exactly this and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentBinding<'a> {
    pub org: &'a OrgId,
    pub workspace: &'a WorkspaceId,
    /// What kind of thing they are, such as `run input`.
    pub purpose: &'static str,
    /// Which of its kind.
    pub name: &'a str,
}

impl ContentBinding<'_> {
    fn associated(&self, what: &str, key: &WorkspaceKey) -> Associated {
        Associated::new(what)
            .item(key.id.as_str().as_bytes())
            .item(self.org.as_str().as_bytes())
            .item(self.workspace.as_str().as_bytes())
            .item(self.purpose.as_bytes())
            .item(self.name.as_bytes())
    }
}

impl Vault {
    /// Seals bytes under a new data key. Not stored: the caller writes them where it wants.
    ///
    /// # Errors
    /// [`VaultError::NoWorkspaceKey`], [`VaultError::Random`], and store errors.
    pub async fn seal_content(
        &self,
        binding: &ContentBinding<'_>,
        content: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let key = self.workspace_key(binding.org, binding.workspace).await?;
        seal(&key, binding, content, &*self.random)
    }

    /// Opens what [`Vault::seal_content`] made for the same binding.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if the bytes are not in the format, [`VaultError::Refused`] if they were sealed for
    /// another binding or changed since, [`VaultError::UnknownKey`] when their workspace key is gone,
    /// [`VaultError::NoWorkspaceKey`], and store errors.
    pub async fn open_content(
        &self,
        binding: &ContentBinding<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let key = self.workspace_key(binding.org, binding.workspace).await?;
        open(&key, binding, sealed)
    }
}

fn raw_key_id(key: &WorkspaceKey) -> Result<[u8; 8], VaultError> {
    lower_hex::decode(key.id.as_str()).ok_or(VaultError::Malformed("a key id is not 16 hex digits"))
}

/// The key is used for one write only, so its nonce never repeats.
fn nonce() -> Nonce<U12> {
    Nonce::from([0; 12])
}

fn seal(
    key: &WorkspaceKey,
    binding: &ContentBinding<'_>,
    content: &[u8],
    random: &dyn RandomSource,
) -> Result<Vec<u8>, VaultError> {
    let mut data_key = KeyBytes::default();
    random.fill(&mut *data_key)?;
    let bound = binding.associated("content data key", key);
    let wrapped = wrap::wrap(&key.bytes, bound.as_bytes(), &data_key, random)?;
    let derived = Derived::from(&data_key)?;
    // Allocated with room for the tag: growing would leave a copy of the plaintext behind.
    let mut body = Vec::with_capacity(content.len().saturating_add(TAG_BYTES));
    body.extend_from_slice(content);
    let bound = binding.associated("content", key);
    if derived.cipher().encrypt_in_place(&nonce(), bound.as_bytes(), &mut body).is_err() {
        body.zeroize();
        return Err(VaultError::Refused);
    }
    let mut sealed = Vec::with_capacity(content.len().saturating_add(SEALED_CONTENT_BYTES));
    sealed.extend_from_slice(&HEAD);
    sealed.extend_from_slice(&raw_key_id(key)?);
    sealed.extend_from_slice(&wrapped);
    sealed.extend_from_slice(&derived.commitment);
    sealed.append(&mut body);
    Ok(sealed)
}

fn open(
    key: &WorkspaceKey,
    binding: &ContentBinding<'_>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    const SHORT: VaultError = VaultError::Malformed("it is too short");
    let (head, rest) = sealed.split_first_chunk::<4>().ok_or(SHORT)?;
    if *head != HEAD {
        return Err(VaultError::Malformed("its format is not known"));
    }
    let (key_id, rest) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
    if *key_id != raw_key_id(key)? {
        return Err(VaultError::UnknownKey(hex::encode(key_id)));
    }
    let (wrapped, rest) = rest.split_first_chunk::<WRAPPED_BYTES>().ok_or(SHORT)?;
    let (commitment, body) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
    let bound = binding.associated("content data key", key);
    let derived = Derived::from(&wrap::unwrap(&key.bytes, bound.as_bytes(), wrapped)?)?;
    if !derived.commits_to(commitment) {
        return Err(VaultError::Refused);
    }
    let mut content = Zeroizing::new(body.to_vec());
    let bound = binding.associated("content", key);
    derived
        .cipher()
        .decrypt_in_place(&nonce(), bound.as_bytes(), &mut *content)
        .map_err(|_| VaultError::Refused)?;
    Ok(content)
}

/// Whether bytes have the form of what [`Vault::seal_content`] makes; whether they open only a key can tell. Their
/// beginning is enough.
pub(crate) fn is_sealed_content(sealed: &[u8]) -> bool {
    sealed.len() >= SEALED_CONTENT_BYTES && sealed.starts_with(&HEAD)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{MasterKey, MemoryStore, Records};

    fn binding<'a>(org: &'a OrgId, workspace: &'a WorkspaceId, name: &'a str) -> ContentBinding<'a> {
        ContentBinding { org, workspace, purpose: "run input", name }
    }

    #[tokio::test]
    async fn content_opens_for_what_it_was_sealed_for_and_for_nothing_else() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let key = MasterKey::generate().unwrap();
        Vault::initialise(records.clone(), key.clone()).await.unwrap();
        let vault = Vault::open(records, key).await.unwrap();
        let org = OrgId::parse("acme").unwrap();
        let (main, side) = (WorkspaceId::parse("main").unwrap(), WorkspaceId::parse("side").unwrap());
        for workspace in [&main, &side] {
            vault.ensure_workspace_key(&org, workspace).await.unwrap();
        }
        for content in [&b""[..], b"{}", &[7; 200_000]] {
            let sealed = vault.seal_content(&binding(&org, &main, "run_1"), content).await.unwrap();
            assert_eq!(sealed.len(), content.len() + SEALED_CONTENT_BYTES);
            let opened = vault.open_content(&binding(&org, &main, "run_1"), &sealed).await.unwrap();
            assert_eq!(opened.as_slice(), content);
            let other = ContentBinding { purpose: "answer", ..binding(&org, &main, "run_1") };
            for wrong in [binding(&org, &main, "run_2"), binding(&org, &side, "run_1"), other] {
                assert!(vault.open_content(&wrong, &sealed).await.is_err(), "{wrong:?}");
            }
            for at in [0, 5, 20, 90, sealed.len() - 1] {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert!(vault.open_content(&binding(&org, &main, "run_1"), &changed).await.is_err(), "{at}");
            }
            let cut = &sealed[..SEALED_CONTENT_BYTES - TAG_BYTES - 1];
            assert!(vault.open_content(&binding(&org, &main, "run_1"), cut).await.is_err());
        }
        let sealed = vault.seal_content(&binding(&org, &main, "run_1"), b"x").await.unwrap();
        vault.shred_workspace(&org, &main).await.unwrap();
        assert!(vault.open_content(&binding(&org, &main, "run_1"), &sealed).await.is_err());
    }
}
