//! A workspace's credential: its state without opening it, and the handle that the gate opens last.

use std::sync::Arc;

use portcullis_core::connector::{Action, Connector, DEFAULT_SLOT};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::{ConnectorId, OrgId, WorkspaceId};
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{BoundCredential, CredentialError, OpenCredential, OpenedCredential};
use portcullis_store::{Binding, ConnectorSetting, CredentialState, Records, Vault};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// How a workspace stands to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// It can be called.
    Connected,
    /// The workspace said no.
    OptedOut,
    /// The workspace did nothing.
    Unconfigured,
    /// What was saved does not satisfy today's form.
    NeedsAttention,
}

impl ConnectionState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::OptedOut => "opted_out",
            Self::Unconfigured => "unconfigured",
            Self::NeedsAttention => "needs_attention",
        }
    }
}

/// A workspace's connection to one connector, as stored, nothing opened.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The settings record.
    pub setting: Option<ConnectorSetting>,
    /// What is known of the credential.
    pub credential: Option<CredentialState>,
}

impl Connection {
    /// Reads the stored connection.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn load(
        records: &Records,
        org: &OrgId,
        workspace: &WorkspaceId,
        connector: &ConnectorId,
    ) -> Result<Self, Problem> {
        let parts = [org.as_str(), workspace.as_str(), connector.as_str()];
        let setting = records.get::<ConnectorSetting>(&parts).await?.map(|(s, _)| s);
        let credential = match &setting {
            Some(_) => records.get::<CredentialState>(&parts).await?.map(|(c, _)| c),
            None => None,
        };
        Ok(Self { setting, credential })
    }

    /// How the workspace stands to the connector.
    #[must_use]
    pub fn state(&self, connector: &Connector) -> ConnectionState {
        match &self.setting {
            Some(setting) if !setting.value.enabled => ConnectionState::OptedOut,
            None if connector.needs_configuration() => ConnectionState::Unconfigured,
            None => ConnectionState::Connected,
            Some(_) if self.missing_fields(connector).next().is_some() => ConnectionState::NeedsAttention,
            Some(_) if connector.actions.iter().any(|action| !self.covers(connector, action)) => {
                ConnectionState::NeedsAttention
            }
            Some(_) => ConnectionState::Connected,
        }
    }

    /// Whether the saved credential was sealed for every host of an action.
    #[must_use]
    pub fn covers(&self, connector: &Connector, action: &Action) -> bool {
        let Some(saved) = self.credential.as_ref().filter(|_| connector.injection.needs_credential()) else {
            return true;
        };
        let entries = saved.allowed_hosts.iter().filter_map(|entry| HostPattern::parse(entry).ok());
        entries.into_iter().any(|pattern| pattern.covers(&action.url))
    }

    /// Fields without a saved value that the form requires or the credential cannot be sent without.
    pub fn missing_fields<'c>(&'c self, connector: &'c Connector) -> impl Iterator<Item = &'c str> {
        let needed = |name: &str| connector.injection.fields().any(|field| field == name);
        connector
            .fields
            .iter()
            .filter(move |field| (field.required || needed(&field.name)) && field.default.is_none())
            .map(|field| field.name.as_str())
            .filter(|name| !self.credential.as_ref().is_some_and(|saved| saved.fields.contains_key(*name)))
    }

    /// Non-secret values, defaults filled in.
    #[must_use]
    pub fn config(&self, connector: &Connector) -> Map<String, Value> {
        let mut config = Map::new();
        for field in connector.fields.iter().filter(|f| !f.secret) {
            let saved = self.credential.as_ref().and_then(|c| c.config.get(&field.name)).cloned();
            let value = saved.or_else(|| field.default.clone().map(Value::String));
            if let Some(value) = value {
                config.insert(field.name.clone(), value);
            }
        }
        config
    }

    /// The handle that opens the credential, when there is one.
    #[must_use]
    pub fn bind(
        &self,
        vault: &Arc<Vault>,
        org: &OrgId,
        workspace: &WorkspaceId,
        connector: &ConnectorId,
    ) -> Option<BoundCredential> {
        let sealed = self.setting.as_ref()?.value.encrypted_config.clone()?;
        let state = self.credential.as_ref()?;
        let binding = Binding {
            org: org.clone(),
            workspace: workspace.clone(),
            connector: connector.clone(),
            credential: state.credential_id.clone(),
            revision: state.revision,
        };
        Some(BoundCredential {
            slot: DEFAULT_SLOT.to_owned(),
            version: state.revision,
            allowed_hosts: state.allowed_hosts.clone(),
            source: Arc::new(SealedCredential { vault: Arc::clone(vault), binding, sealed }),
        })
    }
}

/// A sealed record and the vault that can open it.
struct SealedCredential {
    vault: Arc<Vault>,
    binding: Binding,
    sealed: String,
}

impl OpenCredential for SealedCredential {
    fn open(&self) -> BoxFuture<'_, Result<OpenedCredential, CredentialError>> {
        Box::pin(async move {
            let payload = self.vault.open_sealed(&self.binding, &self.sealed).await.map_err(|error| {
                tracing::error!(%error, credential = %self.binding.credential, "a credential cannot be opened");
                CredentialError
            })?;
            Ok(OpenedCredential { fields: payload.fields, allowed_hosts: payload.allowed_hosts })
        })
    }
}
