//! The vault: seals and opens credentials under keys in three layers.
//!
//! A master key wraps one random key per workspace; a workspace key wraps one random data key per
//! write; a data key encrypts the fields of that one write. Every ciphertext is bound to its org,
//! workspace, connector, credential and revision. The vault stores no credential, does not decide
//! who may open one, and has no plaintext mode. Called by the engine's credential code.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::id::{ConnectionName, ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::secret::SecretFields;
use zeroize::Zeroizing;

use crate::records::{Records, Writes};

use self::associated::Bound;
use self::check::{check_keys, write_key_check};
use self::random::{OsRandom, RandomSource};
use self::scope_key::ScopeKeys;
use self::workspace_key::{Cache, WorkspaceKey};

mod associated;
mod check;
mod content;
mod derived;
mod error;
mod format;
mod kek;
mod random;
mod scope_key;
mod scope_secret;
mod seal;
#[cfg(test)]
mod tests;
mod workspace_key;
mod wrap;

pub use check::KeyCheckRecord;
pub use content::{ContentBinding, SEALED_CONTENT_BYTES};
pub use error::VaultError;
pub use format::SEALED_TEXT_BYTES_MAX;
pub use kek::{KekProvider, KeyId, MasterKey, MasterKeys};
pub use scope_key::{OwnedBinding, ScopeKeyRecord};
pub use scope_secret::{ScopeBinding, ScopeSecret};
pub use workspace_key::WorkspaceKeyRecord;

/// What a sealed credential is bound to. It opens under exactly this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub connector: ConnectorId,
    /// The connection's name; none for the default one.
    pub connection: Option<ConnectionName>,
    pub credential: CredentialId,
    /// The credential's revision, stored outside the sealed bytes; see
    /// [`CredentialState`](crate::CredentialState).
    pub revision: u64,
}

/// The secret content of one credential.
#[derive(Debug, Default)]
pub struct SecretPayload {
    /// The fields, in order. Names are 1 to 64 bytes of `[A-Za-z0-9._-]`.
    pub fields: SecretFields,
    /// Hosts this credential may be sent to; the connector's list applies as well. Sealed, so that
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
    scope_keys: ScopeKeys,
    opens: AtomicU64,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// The bytes of a sealed text.
fn sealed_bytes(sealed: &str) -> Result<Vec<u8>, VaultError> {
    if sealed.len() > SEALED_TEXT_BYTES_MAX {
        return Err(VaultError::Malformed("it is too long"));
    }
    BASE64.decode(sealed).map_err(|_| VaultError::Malformed("it is not base64"))
}

impl Vault {
    /// Creates the key check of a new store. Repeating it with the same key changes nothing.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] if the store belongs to another key,
    /// [`VaultError::KeyCheckMissing`] if it contains workspace keys but no key check, and store errors.
    pub async fn initialise(records: Records, keys: impl Into<MasterKeys>) -> Result<(), VaultError> {
        Self::initialise_with(records, Arc::new(keys.into())).await
    }

    /// [`Vault::initialise`] with a custom provider, such as a KMS.
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

    /// Adds to the writes that initialise an empty store what [`Vault::initialise`] would write, so that all of it is one
    /// commit.
    ///
    /// # Errors
    /// Those of the keys' provider.
    pub async fn initialising(writes: Writes, keys: impl Into<MasterKeys>) -> Result<Writes, VaultError> {
        check::with_key_check(writes, &keys.into()).await
    }

    /// Opens the vault of a store, after checking that these are its keys.
    ///
    /// # Errors
    /// [`VaultError::NotInitialised`], [`VaultError::WrongKey`], and store errors.
    pub async fn open(records: Records, keys: impl Into<MasterKeys>) -> Result<Self, VaultError> {
        Self::open_with(records, Arc::new(keys.into())).await
    }

    /// [`Vault::open`] with a custom provider, such as a KMS.
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
            scope_keys: ScopeKeys::default(),
            opens: AtomicU64::new(0),
        })
    }

    /// Creates the workspace's key if it has none.
    ///
    /// # Errors
    /// Store errors, and [`VaultError::Refused`] if the existing key does not open.
    pub async fn ensure_workspace_key(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), VaultError> {
        match self.workspace_key(org, workspace).await {
            Err(VaultError::NoWorkspaceKey { .. }) => {}
            other => return other.map(|_| ()),
        }
        let (record, _) = workspace_key::generate(org, workspace, &*self.keks, &*self.random).await?;
        let parts = [org.as_str(), workspace.as_str()];
        match self.records.commit(Writes::new().create(&parts, &record)).await {
            Ok(_) => Ok(()),
            // Another task or process created it in between: that key is used.
            Err(crate::StoreError::Conflict { .. }) => self.workspace_key(org, workspace).await.map(|_| ()),
            Err(error) => Err(error.into()),
        }
    }

    /// Seals a payload under a new data key. It is not stored: the caller writes the text into the
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
    /// admits. The list is opened first and alone: if `admits` refuses, no secret is opened.
    ///
    /// # Errors
    /// [`VaultError::NotAdmitted`] if `admits` refused,
    /// [`VaultError::Malformed`] if the text is not in the format, [`VaultError::Refused`] if it was
    /// sealed for another binding or changed since, [`VaultError::UnknownKey`] when its workspace key
    /// is gone, [`VaultError::NoWorkspaceKey`], and store errors.
    pub async fn open_sealed(
        &self,
        binding: &Binding,
        sealed: &str,
        admits: impl Fn(&[String]) -> bool + Send,
    ) -> Result<SecretPayload, VaultError> {
        let bytes = sealed_bytes(sealed)?;
        let key = self.workspace_key(&binding.org, &binding.workspace).await?;
        self.open_under(&key, binding, &bytes, admits)
    }

    /// Opens a sealed payload with its key, and counts it if its hosts are admitted.
    fn open_under<'b>(
        &self,
        key: &WorkspaceKey,
        binding: impl Into<Bound<'b>>,
        bytes: &[u8],
        admits: impl Fn(&[String]) -> bool,
    ) -> Result<SecretPayload, VaultError> {
        seal::open(key, binding, bytes, |hosts| {
            let admitted = admits(hosts);
            self.opens.fetch_add(u64::from(admitted), Ordering::Relaxed);
            admitted
        })
    }

    /// Deletes the workspace's key. Everything sealed under it can never be opened again, also in
    /// backups that do not contain the key record.
    ///
    /// # Errors
    /// Store errors; the key may then still exist.
    pub async fn shred_workspace(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), VaultError> {
        let parts = [org.as_str(), workspace.as_str()];
        let deleted = self.records.commit(Writes::new().delete::<WorkspaceKeyRecord>(&parts)).await;
        // Also after an error, whose effect is unknown; the next use reads the record again.
        self.cache.forget(org, workspace);
        deleted?;
        Ok(())
    }

    /// Drops the workspace's unwrapped key, which the next use unwraps again from its record: for a change of
    /// [`WorkspaceKeyRecord`] by another process.
    pub fn forget_workspace(&self, org: &OrgId, workspace: &WorkspaceId) {
        self.cache.forget(org, workspace);
    }

    /// As [`Vault::forget_workspace`] and [`Vault::forget_scope`] for every one: for changes that are not known.
    pub fn forget_all(&self) {
        self.cache.forget_all();
        self.scope_keys.forget_all();
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
