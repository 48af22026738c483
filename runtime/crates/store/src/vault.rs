//! The vault: seals and opens credentials under keys in three layers.
//!
//! A master key wraps one random key per workspace; a workspace key wraps one random data key per
//! write; a data key encrypts the fields of that one write. Every ciphertext is bound to its org,
//! workspace, connector, credential and revision. The vault keeps no credential, decides nothing
//! about who may open one, and has no plaintext mode. Called by the runtime's credential code.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::secret::SecretFields;
use zeroize::Zeroizing;

use crate::records::{Records, Writes};

use self::check::{check_keys, write_key_check};
use self::random::{OsRandom, RandomSource};
use self::workspace_key::{Cache, WorkspaceKey};

mod associated;
mod check;
mod derived;
mod error;
mod format;
mod kek;
mod random;
mod seal;
#[cfg(test)]
mod tests;
mod workspace_key;
mod wrap;

pub use check::KeyCheckRecord;
pub use error::VaultError;
pub use format::SEALED_TEXT_BYTES_MAX;
pub use kek::{KekProvider, KeyId, MasterKey, MasterKeys};
pub use workspace_key::WorkspaceKeyRecord;

/// What a sealed credential belongs to. It opens under exactly this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The org.
    pub org: OrgId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The connector.
    pub connector: ConnectorId,
    /// The credential.
    pub credential: CredentialId,
    /// The credential's revision, known outside the sealed bytes; see
    /// [`CredentialState`](crate::CredentialState).
    pub revision: u64,
}

/// The secret content of one credential.
#[derive(Debug, Default)]
pub struct SecretPayload {
    /// The fields, in order. Names are 1 to 64 bytes of `[A-Za-z0-9._-]`.
    pub fields: SecretFields,
    /// Hosts this credential may be sent to, besides the connector's own list. Sealed too, so that
    /// a change to the stored row cannot widen it.
    pub allowed_hosts: Vec<String>,
}

/// A sealed credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Standard padded base64, at most [`SEALED_TEXT_BYTES_MAX`] bytes.
    pub text: String,
    /// The workspace key it is sealed under, 16 hex digits.
    pub key_id: String,
}

/// Seals and opens credentials.
pub struct Vault {
    records: Records,
    keks: Arc<dyn KekProvider>,
    random: Arc<dyn RandomSource>,
    cache: Cache,
    opens: AtomicU64,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// Makes the key check of a new store. Doing it again with the same key changes nothing.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when the store belongs to another key,
    /// [`VaultError::KeyCheckMissing`] when it holds workspace keys but no key check, and store errors.
    pub async fn initialise(records: Records, keys: impl Into<MasterKeys>) -> Result<(), VaultError> {
        Self::initialise_with(records, Arc::new(keys.into())).await
    }

    /// [`Vault::initialise`] with a provider of one's own, such as a KMS.
    ///
    /// # Errors
    /// As for [`Vault::initialise`].
    pub async fn initialise_with(records: Records, keks: Arc<dyn KekProvider>) -> Result<(), VaultError> {
        match check_keys(&records, &*keks).await {
            Err(VaultError::NotInitialised) => {}
            other => return other,
        }
        if records.has_any::<WorkspaceKeyRecord>(&[]).await? {
            return Err(VaultError::KeyCheckMissing);
        }
        write_key_check(&records, &*keks).await
    }

    /// Opens the vault of a store, after checking that these are its keys.
    ///
    /// # Errors
    /// [`VaultError::NotInitialised`], [`VaultError::WrongKey`], and store errors.
    pub async fn open(records: Records, keys: impl Into<MasterKeys>) -> Result<Self, VaultError> {
        Self::open_with(records, Arc::new(keys.into())).await
    }

    /// [`Vault::open`] with a provider of one's own, such as a KMS.
    ///
    /// # Errors
    /// As for [`Vault::open`].
    pub async fn open_with(records: Records, keks: Arc<dyn KekProvider>) -> Result<Self, VaultError> {
        check_keys(&records, &*keks).await?;
        Ok(Self {
            records,
            keks,
            random: Arc::new(OsRandom),
            cache: Cache::default(),
            opens: AtomicU64::new(0),
        })
    }

    /// Makes the workspace's key unless it has one.
    ///
    /// # Errors
    /// Store errors, and [`VaultError::Refused`] when the key that is there does not open.
    pub async fn ensure_workspace_key(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), VaultError> {
        match self.workspace_key(org, workspace).await {
            Err(VaultError::NoWorkspaceKey { .. }) => {}
            other => return other.map(|_| ()),
        }
        let (record, _) = workspace_key::generate(org, workspace, &*self.keks, &*self.random).await?;
        let parts = [org.as_str(), workspace.as_str()];
        match self.records.commit(Writes::new().create(&parts, &record)).await {
            Ok(_) => Ok(()),
            // Somebody else made it in between: theirs is the key.
            Err(crate::StoreError::Conflict { .. }) => self.workspace_key(org, workspace).await.map(|_| ()),
            Err(error) => Err(error.into()),
        }
    }

    /// Seals a payload under a fresh data key. It is not stored: the caller writes the text into the
    /// connector setting, together with the revision it is bound to.
    ///
    /// # Errors
    /// [`VaultError::NoWorkspaceKey`], [`VaultError::InvalidField`], [`VaultError::TooLarge`],
    /// [`VaultError::Random`], and store errors.
    pub async fn seal(&self, binding: &Binding, payload: &SecretPayload) -> Result<Sealed, VaultError> {
        let key = self.workspace_key(&binding.org, &binding.workspace).await?;
        let bytes = seal::seal(&key, binding, payload, &*self.random)?;
        Ok(Sealed { text: BASE64.encode(bytes), key_id: key.id.as_str().to_owned() })
    }

    /// Opens what [`Vault::seal`] made for the same binding, for a use that its sealed host list
    /// admits. The list is opened first and alone: where `admits` says no, no secret is.
    ///
    /// # Errors
    /// [`VaultError::NotAdmitted`] when `admits` said no,
    /// [`VaultError::Malformed`] when the text is not the format, [`VaultError::Refused`] when it was
    /// sealed for another binding or changed since, [`VaultError::UnknownKey`] when its workspace key
    /// is gone, [`VaultError::NoWorkspaceKey`], and store errors.
    pub async fn open_sealed(
        &self,
        binding: &Binding,
        sealed: &str,
        admits: impl Fn(&[String]) -> bool + Send,
    ) -> Result<SecretPayload, VaultError> {
        if sealed.len() > SEALED_TEXT_BYTES_MAX {
            return Err(VaultError::Malformed("it is too long"));
        }
        let bytes = BASE64.decode(sealed).map_err(|_| VaultError::Malformed("it is not base64"))?;
        let key = self.workspace_key(&binding.org, &binding.workspace).await?;
        seal::open(&key, binding, &bytes, |hosts| {
            let admitted = admits(hosts);
            self.opens.fetch_add(u64::from(admitted), Ordering::Relaxed);
            admitted
        })
    }

    /// Deletes the workspace's key. Whatever was sealed under it stays closed for ever, also in
    /// backups that do not hold the key record.
    ///
    /// # Errors
    /// Store errors; the key may then still be there.
    pub async fn shred_workspace(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), VaultError> {
        let parts = [org.as_str(), workspace.as_str()];
        let deleted = self.records.commit(Writes::new().delete::<WorkspaceKeyRecord>(&parts)).await;
        // Also after an error, whose effect is unknown; the next use reads the record again.
        self.cache.forget(org, workspace);
        deleted?;
        Ok(())
    }

    /// Drops the workspace's unwrapped key, which the next use unwraps again from its record: for a change of
    /// [`WorkspaceKeyRecord`] that another process made.
    pub fn forget_workspace(&self, org: &OrgId, workspace: &WorkspaceId) {
        self.cache.forget(org, workspace);
    }

    /// How often a credential's secrets were opened. For tests that assert that none was.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.opens.load(Ordering::Relaxed)
    }

    async fn workspace_key(
        &self,
        org: &OrgId,
        workspace: &WorkspaceId,
    ) -> Result<Arc<WorkspaceKey>, VaultError> {
        if let Some(key) = self.cache.get(org, workspace) {
            return Ok(key);
        }
        let epoch = self.cache.epoch();
        let parts = [org.as_str(), workspace.as_str()];
        let found = self.records.get::<WorkspaceKeyRecord>(&parts).await?;
        let (record, _) = found
            .ok_or_else(|| VaultError::NoWorkspaceKey { org: org.clone(), workspace: workspace.clone() })?;
        let key = workspace_key::unwrap(&record, org, workspace, &*self.keks).await?;
        let key = Arc::new(key);
        self.cache.keep(org, workspace, Arc::clone(&key), epoch);
        Ok(key)
    }
}

/// 256 bits of key, wiped when dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; 32]>;
