//! A workspace's connection to one connector as stored: its state without opening anything, and the
//! handles that the gate opens last.

use std::sync::Arc;

use portcullis_core::connector::{Action, Connector, DEFAULT_SLOT};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::outbound::BoxFuture;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_egress::{BoundCredential, CredentialError, OpenCredential, sealed_for};
use portcullis_store::{
    Binding, ConnectorSetting, CredentialState, DiscoveredConfig, Records, TokenState, Vault, VaultError,
};
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
    /// What was saved does not satisfy today's form, or no token can be got with it.
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

/// Whose connection to what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Org.
    pub org: OrgId,
    /// Workspace.
    pub workspace: WorkspaceId,
    /// Connector.
    pub connector: ConnectorId,
}

impl Place {
    /// Parts of the records' keys.
    #[must_use]
    pub fn parts(&self) -> [&str; 3] {
        [self.org.as_str(), self.workspace.as_str(), self.connector.as_str()]
    }

    /// What something sealed for this place is bound to.
    #[must_use]
    pub fn binding(&self, credential: &CredentialId, revision: u64) -> Binding {
        Binding {
            org: self.org.clone(),
            workspace: self.workspace.clone(),
            connector: self.connector.clone(),
            credential: credential.clone(),
            revision,
        }
    }
}

/// A workspace's connection to one connector, as stored, nothing opened.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The settings record.
    pub setting: Option<Arc<ConnectorSetting>>,
    /// What is known of the credential.
    pub credential: Option<Arc<CredentialState>>,
    /// What is known of its token, with the commit that wrote it.
    pub token: Option<(Arc<TokenState>, u64)>,
    /// Config values that nobody typed in.
    pub discovered: Arc<DiscoveredConfig>,
}

impl Connection {
    /// Reads the stored connection; `connector` in its default way says what there can be.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn load(records: &Records, place: &Place, connector: &Connector) -> Result<Self, Problem> {
        let parts = place.parts();
        let Some((setting, _)) = records.get_shared::<ConnectorSetting>(&parts).await? else {
            return Ok(Self::default());
        };
        let chosen = connector.under(setting.value.auth_method.as_deref());
        let method = setting.value.auth_method.as_deref();
        let gone = method.is_some_and(|id| !connector.has_method(id));
        // Why none: a credential that was saved for a way that is gone must not go out in another.
        let credential = match gone {
            true => None,
            false => records.get_shared::<CredentialState>(&parts).await?.map(|(c, _)| c),
        };
        let token = match &chosen.auth.token {
            Some(_) => records.get_shared::<TokenState>(&parts).await?,
            None => None,
        };
        let automated = chosen.fields.iter().any(|field| field.automated);
        let discovered = match automated {
            true => records.get_shared::<DiscoveredConfig>(&parts).await?.map(|(d, _)| d).unwrap_or_default(),
            false => Arc::default(),
        };
        Ok(Self { setting: Some(setting), credential, token, discovered })
    }

    /// The connector under the way to authenticate that the workspace chose.
    #[must_use]
    pub fn chosen<'c>(&self, connector: &'c Connector) -> &'c Connector {
        connector.under(self.setting.as_ref().and_then(|s| s.value.auth_method.as_deref()))
    }

    /// The token, unless it was got with another credential than today's.
    #[must_use]
    pub fn current_token(&self) -> Option<&TokenState> {
        let revision = self.credential.as_ref()?.revision;
        self.token.as_ref().map(|(token, _)| &**token).filter(|token| token.credential_revision == revision)
    }

    /// Why nothing is to be called, whatever the action: the workspace said no, or did nothing.
    #[must_use]
    pub fn unwanted(&self, connector: &Connector) -> Option<ConnectionState> {
        match &self.setting {
            Some(setting) if !setting.value.enabled => Some(ConnectionState::OptedOut),
            None if self.chosen(connector).needs_configuration() => Some(ConnectionState::Unconfigured),
            _ => None,
        }
    }

    /// How the workspace stands to the connector and all its actions.
    #[must_use]
    pub fn state(&self, connector: &Connector) -> ConnectionState {
        if let Some(unwanted) = self.unwanted(connector) {
            return unwanted;
        }
        let connector = self.chosen(connector);
        let falls_short = || connector.actions.iter().any(|action| !self.covers(connector, action));
        match self.setting.is_some() && (self.attention(connector).is_some() || falls_short()) {
            true => ConnectionState::NeedsAttention,
            false => ConnectionState::Connected,
        }
    }

    /// Why the connection as a whole needs somebody's attention.
    #[must_use]
    pub fn attention(&self, connector: &Connector) -> Option<String> {
        let missing: Vec<&str> = self.missing_fields(connector).collect();
        if !missing.is_empty() {
            return Some(format!(
                "the saved credential has no value for {}; save it again",
                missing.join(", ")
            ));
        }
        let plan = connector.auth.token.as_ref()?;
        let token = self.current_token();
        if let Some(failure) = token.and_then(|token| token.failure.as_ref()) {
            return Some(format!("{}; tried again after {}", failure.reason, failure.retry_at));
        }
        let has_token = token.is_some_and(|token| token.sealed.is_some());
        if plan.obtain.is_empty() && !has_token {
            return Some("nobody has given consent yet; start it with POST …/oauth/start".to_owned());
        }
        None
    }

    /// Whether the saved credential was sealed for every host of an action.
    #[must_use]
    pub fn covers(&self, connector: &Connector, action: &Action) -> bool {
        let Some(saved) = self.credential.as_ref().filter(|_| connector.auth.injection.needs_credential())
        else {
            return true;
        };
        let entries = saved.allowed_hosts.iter().filter_map(|entry| HostPattern::parse(entry).ok());
        entries.into_iter().any(|pattern| pattern.covers(&action.url))
    }

    /// Fields without a saved value that the form requires or the credential cannot be sent without.
    pub fn missing_fields<'c>(&'c self, connector: &'c Connector) -> impl Iterator<Item = &'c str> {
        let shown = |field: &portcullis_core::form::Field| match &field.visible_when {
            None => true,
            Some(when) => {
                let other = self.credential.as_ref().and_then(|c| c.config.get(&when.field));
                other.and_then(Value::as_str).is_some_and(|text| when.accepted.iter().any(|a| a == text))
            }
        };
        let needed = |name: &str| connector.auth.injection.fields().any(|field| field == name);
        connector
            .fields
            .iter()
            .filter(move |field| (field.required || needed(&field.name)) && shown(field))
            .filter(|field| field.default.is_none() && !field.automated)
            .map(|field| field.name.as_str())
            .filter(|name| !self.credential.as_ref().is_some_and(|saved| saved.fields.contains_key(*name)))
    }

    /// Non-secret values, defaults filled in.
    #[must_use]
    pub fn config(&self, connector: &Connector) -> Map<String, Value> {
        let mut config = Map::new();
        for field in connector.fields.iter().filter(|f| !f.secret) {
            let saved = self.credential.as_ref().and_then(|c| c.config.get(&field.name));
            let saved = saved.or_else(|| self.discovered.config.get(&field.name)).cloned();
            let value = saved.or_else(|| field.default.clone().map(Value::String));
            if let Some(value) = value {
                config.insert(field.name.clone(), value);
            }
        }
        config
    }

    /// The sealed credential, when there is one.
    #[must_use]
    pub fn sealed(&self, vault: &Arc<Vault>, place: &Place) -> Option<SealedRecord> {
        let text = self.setting.as_ref()?.value.encrypted_config.clone()?;
        let state = self.credential.as_ref()?;
        let binding = place.binding(&state.credential_id, state.revision);
        Some(SealedRecord { vault: Arc::clone(vault), binding, text })
    }

    /// The sealed token, when there is one.
    #[must_use]
    pub fn sealed_token(&self, vault: &Arc<Vault>, place: &Place) -> Option<SealedRecord> {
        let token = self.current_token()?;
        let text = token.sealed.clone()?;
        let binding = place.binding(&token.token_id, token.revision);
        Some(SealedRecord { vault: Arc::clone(vault), binding, text })
    }

    /// The handle that the gate opens for a call: the credential, and the token where there is one.
    #[must_use]
    pub fn bind(&self, vault: &Arc<Vault>, place: &Place, connector: &Connector) -> Option<BoundCredential> {
        let state = self.credential.as_ref()?;
        let saved = self.sealed(vault, place)?;
        let token = self.sealed_token(vault, place);
        // Why the token alone where it is enough: what is not opened cannot leak.
        let token_suffices = token.is_some()
            && !connector
                .auth
                .injection
                .fields()
                .any(|name| connector.fields.iter().any(|field| field.name == name && field.secret));
        let sealed = match token {
            Some(token) if token_suffices => vec![token],
            Some(token) => vec![saved, token],
            None => vec![saved],
        };
        let token_revision = self.current_token().map_or(0, |token| token.revision);
        Some(BoundCredential {
            slot: DEFAULT_SLOT.to_owned(),
            version: state.revision.saturating_add(token_revision),
            allowed_hosts: state.allowed_hosts.clone(),
            source: Arc::new(SealedRecords { sealed, known: Vec::new() }),
        })
    }
}

/// A sealed record and the vault that can open it.
#[derive(Clone)]
pub struct SealedRecord {
    vault: Arc<Vault>,
    binding: Binding,
    text: String,
}

/// Several sealed records that are opened together, and values that are already known. Of two fields of
/// a name the later one counts.
pub struct SealedRecords {
    /// Records, in order.
    pub sealed: Vec<SealedRecord>,
    /// Known values, after the records' own.
    pub known: Vec<(String, zeroize::Zeroizing<String>)>,
}

impl OpenCredential for SealedRecords {
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>> {
        Box::pin(async move {
            let mut fields: Vec<(String, SecretValue)> = Vec::new();
            for record in &self.sealed {
                let opened = record.open(host).await?;
                merge(&mut fields, opened.into_fields());
            }
            let known =
                self.known.iter().map(|(name, text)| (name.clone(), SecretValue::new(text.to_string())));
            merge(&mut fields, known);
            Ok(SecretFields::new(fields))
        })
    }
}

fn merge(fields: &mut Vec<(String, SecretValue)>, more: impl IntoIterator<Item = (String, SecretValue)>) {
    for (name, value) in more {
        fields.retain(|(other, _)| *other != name);
        fields.push((name, value));
    }
}

impl SealedRecord {
    async fn open(&self, host: &str) -> Result<SecretFields, CredentialError> {
        let opened = self.vault.open_sealed(&self.binding, &self.text, |hosts| sealed_for(hosts, host)).await;
        match opened {
            Ok(payload) => Ok(payload.fields),
            Err(VaultError::NotAdmitted) => Err(CredentialError::NotBound),
            Err(error) => {
                let credential = &self.binding.credential;
                tracing::error!(%error, %credential, "a credential cannot be opened");
                Err(CredentialError::Closed)
            }
        }
    }
}
