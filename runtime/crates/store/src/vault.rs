//! The vault: seals and opens credentials under keys in three layers.
//!
//! A master key wraps one random key per workspace; a workspace key wraps one random data key per
//! write; a data key encrypts the fields of that one write. Every ciphertext is bound to its org,
//! workspace, connector, credential and revision. The vault stores no credential, does not decide
//! who may open one, and has no plaintext mode. Called by the engine's credential code.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::id::{ConnectionName, ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::secret::SecretFields;
use zeroize::Zeroizing;

use crate::records::{Records, Writes};

use self::associated::Bound;
use self::check::{begin_ring, check_keys};
use self::random::{OsRandom, RandomSource};
use self::ring::{ATTEMPTS_MAX, Held};
use self::scope_key::ScopeKeys;
use self::scope_secret::OpenedSecrets;
use self::workspace_key::{Cache, WorkspaceKey};

mod associated;
mod check;
mod command;
mod content;
mod derived;
mod error;
mod format;
mod joined;
mod kek;
mod master_key;
mod own_key;
mod random;
mod ring;
mod rotation;
mod scope_key;
mod scope_secret;
mod seal;
mod stored_key;
#[cfg(test)]
mod tests;
mod workspace_key;
mod wrap;

pub use check::KeyCheckRecord;
pub use command::{CommandKeys, CommandOptions};
pub(crate) use content::is_sealed_content;
pub use content::{ContentBinding, SEALED_CONTENT_BYTES};
pub use error::VaultError;
pub use format::SEALED_TEXT_BYTES_MAX;
pub use kek::{KekProvider, KeyId, MasterKeyRing};
pub use master_key::{MasterKey, MasterKeys};
pub use own_key::{make_own_key, open_own_key};
pub use ring::{KeyMark, KeyRingRecord};
pub use rotation::{RewrapPlace, RewrapStep};
pub use scope_key::{OwnedBinding, ScopeKeyRecord};
pub use scope_secret::{ScopeBinding, ScopeSecret};
pub use stored_key::StoredKeyRecord;
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

/// Locks that keys of workspaces share while a service is asked for them: two workspaces seldom meet.
const TURNS: usize = 64;

/// Seals and opens credentials.
pub struct Vault {
    records: Records,
    held: Held,
    random: Arc<dyn RandomSource>,
    cache: Cache,
    scope_keys: ScopeKeys,
    opened: OpenedSecrets,
    turns: Vec<tokio::sync::Mutex<()>>,
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

/// Whether a text has the form of a sealed credential; whether it opens only a key can tell.
pub(crate) fn is_sealed_text(sealed: &str) -> bool {
    sealed_bytes(sealed).is_ok_and(|bytes| format::decode(&bytes).is_ok())
}

impl Vault {
    /// Begins the key ring of a new store with the first of these keys. Repeating it with the same key changes nothing.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] if the store belongs to another key,
    /// [`VaultError::KeyCheckMissing`] if it contains workspace keys but no key check, and store errors.
    pub async fn initialise(records: Records, keys: impl Into<MasterKeyRing>) -> Result<(), VaultError> {
        let keys = keys.into();
        match check_keys(&records, &**keys.provider()).await {
            Err(VaultError::NotInitialised) => {}
            other => return other,
        }
        if records.has_any::<WorkspaceKeyRecord>(&[]).await? {
            return Err(VaultError::KeyCheckMissing);
        }
        begin_ring(&records, &**keys.provider()).await
    }

    /// Opens the vault of a store, after checking that these are its keys.
    ///
    /// # Errors
    /// [`VaultError::NotInitialised`], [`VaultError::WrongKey`], [`VaultError::MasterKeyNeeded`] where a key is missing
    /// with which something is wrapped, and store errors.
    pub async fn open(records: Records, keys: impl Into<MasterKeyRing>) -> Result<Self, VaultError> {
        let keys = keys.into();
        check_keys(&records, &**keys.provider()).await?;
        Ok(Self {
            records,
            held: Held::new(keys),
            random: Arc::new(OsRandom),
            cache: Cache::default(),
            scope_keys: ScopeKeys::default(),
            opened: OpenedSecrets::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            opens: AtomicU64::new(0),
        })
    }

    /// Creates the workspace's key if it has none.
    ///
    /// # Errors
    /// Store errors, and [`VaultError::Refused`] if the existing key does not open.
    pub async fn ensure_workspace_key(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<(), VaultError> {
        let parts = [org.as_str(), workspace.as_str()];
        for _ in 0..ATTEMPTS_MAX {
            match self.workspace_key(org, workspace).await {
                Err(VaultError::NoWorkspaceKey { .. }) => {}
                other => return other.map(|_| ()),
            }
            let wrapping = self.wrapping().await?;
            let record = workspace_key::generate(org, workspace, &wrapping, &*self.random).await?;
            match self.records.commit(wrapping.mark.condition(Writes::new().create(&parts, &record))).await {
                Ok(_) => return Ok(()),
                // Another task or process created it in between, or changed the ring: it is looked at again.
                Err(crate::StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ring::crowded())
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
        self.opened.forget_all();
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
        let keks = self.keks();
        let _turn = match keks.opened_for() {
            None => None,
            // Why in turn: many calls of a workspace would ask the service for the same key at the same time.
            Some(_) => {
                let turn = self.turn(org, workspace).await;
                if let Some(key) = self.cache.get(org, workspace) {
                    return Ok(key);
                }
                turn
            }
        };
        let epoch = self.cache.epoch();
        let parts = [org.as_str(), workspace.as_str()];
        let found = self.records.get::<WorkspaceKeyRecord>(&parts).await?;
        let (record, _) = found
            .ok_or_else(|| VaultError::NoWorkspaceKey { org: org.clone(), workspace: workspace.clone() })?;
        let key = workspace_key::unwrap(&record, org, workspace, &*keks).await?;
        let key = Arc::new(key);
        self.cache.keep(org, workspace, Arc::clone(&key), epoch);
        Ok(key)
    }

    async fn turn(&self, org: &OrgId, workspace: &WorkspaceId) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        (org.as_str(), workspace.as_str()).hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        Some(self.turns.get(place)?.lock().await)
    }
}

/// 256 bits of key, wiped when dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; 32]>;
