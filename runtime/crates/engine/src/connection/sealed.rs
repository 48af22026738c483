//! Sealed records of a connection, as the gate opens them: last, and only for the host they were sealed for.

use std::sync::Arc;

use portcullis_core::outbound::BoxFuture;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_egress::{CredentialError, OpenCredential, sealed_for};
use portcullis_store::{Binding, OwnedBinding, SecretPayload, Vault, VaultError};

use crate::nodes::Freshness;

/// A sealed record and the vault that can open it.
#[derive(Clone)]
pub(crate) struct SealedRecord {
    pub(super) vault: Arc<Vault>,
    pub(super) bound: Bound,
    pub(super) text: String,
}

/// What a record is bound to.
#[derive(Clone)]
pub(super) enum Bound {
    /// A connection.
    Connection(Binding),
    /// An org or the platform, which shares an OAuth client.
    Owner(OwnedBinding),
}

/// Several sealed records that are opened together, and values that are already known. If two fields have the
/// same name, the later one is used.
pub(crate) struct SealedRecords {
    /// Records, in order.
    pub(crate) sealed: Vec<SealedRecord>,
    /// Known values; they follow those of the records.
    pub(crate) known: Vec<(String, zeroize::Zeroizing<String>)>,
    /// The connection's other records. Never sent; opened to remove what they hold from an answer.
    pub(crate) others: Vec<SealedRecord>,
}

impl OpenCredential for SealedRecords {
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>> {
        Box::pin(async move {
            let mut fields: Vec<(String, SecretValue)> = Vec::new();
            for record in &self.sealed {
                let opened = record.open(|hosts| sealed_for(hosts, host)).await?;
                merge(&mut fields, opened.into_fields());
            }
            merge(&mut fields, self.known_fields());
            Ok(SecretFields::new(fields))
        })
    }

    fn open_others(&self, all: bool) -> BoxFuture<'_, Result<SecretFields, CredentialError>> {
        Box::pin(async move {
            let mut fields: Vec<(String, SecretValue)> = Vec::new();
            let own = self.sealed.iter().filter(|_| all);
            for record in own.chain(&self.others) {
                // Why for any host: it is sent to none.
                fields.extend(record.open(|_| true).await?.into_fields());
            }
            fields.extend(self.known_fields().filter(|_| all));
            Ok(SecretFields::new(fields))
        })
    }
}

/// A credential that is opened only while it is known what other nodes forbid: opening it is the last that is done before
/// a request is sent.
pub(crate) struct OpenedWhileFresh {
    pub(crate) source: Arc<dyn OpenCredential>,
    pub(crate) freshness: Arc<Freshness>,
}

impl OpenCredential for OpenedWhileFresh {
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>> {
        if self.freshness.is_lost() {
            return Box::pin(async { Err(CredentialError::Closed) });
        }
        self.source.open(host)
    }

    fn open_others(&self, all: bool) -> BoxFuture<'_, Result<SecretFields, CredentialError>> {
        // Why in any case: it is for what was received, from which it is removed.
        self.source.open_others(all)
    }
}

impl SealedRecords {
    fn known_fields(&self) -> impl Iterator<Item = (String, SecretValue)> {
        self.known.iter().map(|(name, text)| (name.clone(), SecretValue::new(text.to_string())))
    }
}

fn merge(fields: &mut Vec<(String, SecretValue)>, more: impl IntoIterator<Item = (String, SecretValue)>) {
    for (name, value) in more {
        fields.retain(|(other, _)| *other != name);
        fields.push((name, value));
    }
}

impl SealedRecord {
    /// Opens it for a save in which some of its values stay. Nothing of it leaves the process.
    ///
    /// # Errors
    /// Those of the vault.
    pub(super) async fn open_to_keep(&self) -> Result<SecretPayload, VaultError> {
        match &self.bound {
            Bound::Connection(binding) => self.vault.open_sealed(binding, &self.text, |_| true).await,
            Bound::Owner(binding) => self.vault.open_owned(binding, &self.text, |_| true).await,
        }
    }

    async fn open(&self, admits: impl Fn(&[String]) -> bool + Send) -> Result<SecretFields, CredentialError> {
        let (opened, credential) = match &self.bound {
            Bound::Connection(binding) => {
                (self.vault.open_sealed(binding, &self.text, admits).await, binding.credential.as_str())
            }
            Bound::Owner(binding) => {
                (self.vault.open_owned(binding, &self.text, admits).await, binding.name.as_str())
            }
        };
        match opened {
            Ok(payload) => Ok(payload.fields),
            Err(VaultError::NotAdmitted) => Err(CredentialError::NotBound),
            Err(error) => {
                tracing::error!(%error, credential, "a credential cannot be opened");
                Err(CredentialError::Closed)
            }
        }
    }
}
