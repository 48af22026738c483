//! What of an answer may be kept where guests, people and files see it: nothing that has a secret.

use portcullis_core::connector::Connector;
use portcullis_core::definition::FieldType;
use portcullis_core::fault::Code;
use portcullis_core::secret::SecretFields;
use portcullis_egress::{KnownSecrets, OpenCredential as _};
use zeroize::Zeroizing;

use super::LoadedConnection;
use super::sealed::SealedRecords;
use crate::error::Error;
use crate::resources::Resources;

/// The secrets of a connection, for judging values before they become visible.
#[derive(Default)]
pub(crate) struct HiddenValues {
    all: KnownSecrets,
    /// Those of which not even a part may be seen: tokens and passwords, but no user names.
    keys: KnownSecrets,
}

impl HiddenValues {
    /// Everything that is stored sealed for a connection.
    ///
    /// # Errors
    /// `internal` if a record cannot be opened.
    pub(crate) async fn stored(connection: &LoadedConnection, resources: &Resources) -> Result<Self, Error> {
        let sealed = connection.stored.all_sealed(&resources.vault, &connection.key);
        let records = SealedRecords { sealed, known: Vec::new(), others: Vec::new() };
        Self::sealed(connection.connector(), &records).await
    }

    /// Everything in these records.
    ///
    /// # Errors
    /// `internal` if one of them cannot be opened.
    pub(crate) async fn sealed(connector: &Connector, records: &SealedRecords) -> Result<Self, Error> {
        let opened = records.open_others(true).await.map_err(|_| Error::plain(Code::Internal))?;
        let mut hidden = Self::default();
        hidden.all.add_fields(&opened);
        let is_key = |kind| {
            matches!(kind, FieldType::Password | FieldType::Textarea | FieldType::Json | FieldType::Pem)
        };
        let is_name = |name: &str| connector.fields.iter().any(|f| f.name == name && !is_key(f.kind));
        let keys = opened.into_fields().filter(|(name, _)| !is_name(name)).collect();
        hidden.keys.add_fields(&SecretFields::new(keys));
        Ok(hidden)
    }

    /// Adds values of a token that is not stored yet.
    pub(crate) fn add_token(&mut self, fields: &[(String, Zeroizing<String>)]) {
        for (_, text) in fields {
            self.all.add(text);
            self.keys.add(text);
        }
    }

    /// Removes them from a text that is kept.
    pub(crate) fn scrub(&self, text: &mut String) {
        self.all.scrub(text);
    }

    /// Whether a value would give one of them away: it has one in any known form, or a part that is most of one.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        self.all.scrubber().is_in(text.as_bytes()) || self.keys.scrubber().has_part_in(text.as_bytes())
    }
}
