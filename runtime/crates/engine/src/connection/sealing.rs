//! Seals the values of a connection under a new data key.

use std::collections::BTreeMap;

use portcullis_core::form::FormValues;
use portcullis_core::id::CredentialId;
use portcullis_core::secret::SecretFields;
use portcullis_store::{
    ConnectorSetting, CredentialFieldState, CredentialState, DiscoveredConfig, SecretPayload, Writes,
};

use super::Subject;
use super::health::{self, Saving};
use super::save::{try_out, writes};
use super::state::StoredConnection;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// A connection whose values are to be sealed.
pub(super) struct Sealing<'s> {
    pub(super) subject: &'s Subject,
    pub(super) before: &'s StoredConnection,
    /// False opts out.
    pub(super) enabled: bool,
    /// What people call a named connection; as it is if absent.
    pub(super) label: Option<&'s str>,
    pub(super) auth_method: Option<String>,
    /// Fields whose values stay, with the time at which they were given.
    pub(super) kept: BTreeMap<String, CredentialFieldState>,
    /// The hosts that the values are sealed for; the connector's if absent.
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// Whether further values come from a shared OAuth client.
    pub(super) is_part: bool,
}

impl<'s> Sealing<'s> {
    /// One whose values are all new, under the connector's own method.
    pub(super) fn fresh(subject: &'s Subject, before: &'s StoredConnection, enabled: bool) -> Self {
        let (kept, allowed_hosts) = (BTreeMap::new(), None);
        Self { subject, before, enabled, label: None, auth_method: None, kept, allowed_hosts, is_part: false }
    }

    /// What is to be written. A token that was obtained with the earlier values is no longer valid, and discovered
    /// values are discovered again.
    ///
    /// # Errors
    /// `validation_failed` for values that can never be sent, `store_unavailable`.
    pub(super) async fn writes(mut self, engine: &Engine, values: FormValues) -> Result<Writes, Error> {
        let (resources, subject) = (&engine.resources, self.subject);
        let connector = subject.loaded.connector.under(self.auth_method.as_deref());
        let FormValues { secrets, config } = values;
        let saved = self.before.credential.as_ref();
        let revision = saved.map_or(1, |saved| saved.revision + 1);
        let credential_id = match saved {
            Some(saved) => saved.credential_id.clone(),
            None => clock::fresh("cred", CredentialId::parse)?,
        };
        let now = clock::now();
        let mut fields = BTreeMap::new();
        for name in secrets.iter().map(|(name, _)| name).chain(config.keys()) {
            let fresh = || CredentialFieldState { updated_at: now.clone() };
            fields.insert(name.clone(), self.kept.remove(name).unwrap_or_else(fresh));
        }
        let own = || connector.allowed_domains.iter().map(ToString::to_string).collect();
        let allowed_hosts: Vec<String> = self.allowed_hosts.take().unwrap_or_else(own);
        let payload =
            SecretPayload { fields: SecretFields::new(secrets), allowed_hosts: allowed_hosts.clone() };
        try_out(connector, &payload.fields, &config, self.is_part)?;
        let binding = subject.key.binding(&credential_id, revision);
        let sealed = resources.vault.seal(&binding, &payload).await?;
        let setting = ConnectorSetting::new(connector.id.clone(), self.enabled, Some(sealed.text))
            .under(self.auth_method);
        let state = CredentialState {
            credential_id,
            revision,
            key_id: sealed.key_id,
            fields,
            config: config.into_iter().collect(),
            allowed_hosts,
            updated_at: now,
        };
        let parts = subject.key.parts();
        let writes = writes(subject, self.before, setting, self.label)
            .put(&parts, &state)
            .delete::<DiscoveredConfig>(&parts);
        let waits = connector.asks_for_consent();
        let saving = if self.enabled { Saving::Credential { waits } } else { Saving::OptedOut };
        let credential = Some((state.credential_id.clone(), revision));
        Ok(health::saved(resources, writes, &subject.key, credential, saving).await?)
    }
}
