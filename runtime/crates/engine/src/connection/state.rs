//! A workspace's connection to one connector as stored: its state, without opening anything, and the handle that the
//! gate opens last.

use std::sync::Arc;

use portcullis_action::UrlTemplate;
use portcullis_core::connector::{Action, Connector, DEFAULT_SLOT};
use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_egress::BoundCredential;
use portcullis_store::{
    ConnectorSetting, CredentialState, DiscoveredConfig, Document, Records, StoreError, TokenFailure,
    TokenState, Vault,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::key::ConnectionKey;
use super::sealed::{Bound, SealedRecord, SealedRecords};
use crate::connectors::check_revision;
use crate::error::Error;
use crate::oauth_clients::{self, SharedClient, SharedClients};

/// Reads of a connection that is saved again and again meanwhile, before they are given up. A save takes a
/// thousand times as long as a read.
const READS_MAX: u32 = 100;

/// The state of a workspace's connection to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// It can be used.
    Connected,
    /// The workspace opted out.
    OptedOut,
    /// The workspace saved no credential, or no connection of that name.
    Unconfigured,
    /// The saved values do not satisfy the current form, or no token can be obtained with them.
    NeedsAttention,
}

/// A workspace's connection to one connector, as stored; nothing is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredConnection {
    /// Whether it is a named one: that exists only once it was saved.
    is_named: bool,
    /// The settings record.
    pub(crate) setting: Option<Arc<ConnectorSetting>>,
    /// The commit that wrote it; 0 if there is none.
    pub(crate) setting_commit: u64,
    /// Metadata of the credential.
    pub(crate) credential: Option<Arc<CredentialState>>,
    /// Metadata of its token, with the commit that wrote it.
    pub(crate) token: Option<(Arc<TokenState>, u64)>,
    /// Automated config values.
    pub(crate) discovered: Arc<DiscoveredConfig>,
    /// OAuth clients that the org and the platform share for the chosen method.
    pub(crate) clients: SharedClients,
    /// The one of them that token requests are made with; absent for the connection's own.
    pub(crate) client: Option<SharedClient>,
    /// Whether the client is gone with which the token was obtained.
    pub(crate) client_gone: bool,
}

/// What is said of a connection whose token was obtained with a client that is gone.
pub(crate) const CLIENT_GONE: &str = "client_gone: the OAuth client that it was connected with was deleted, or has another \
                                      id now; start a new consent with POST …/oauth/start";
/// The same in one word.
pub(crate) const CLIENT_GONE_REASON: &str = "client_gone";

/// Reads the records of a connection.
struct Reader<'r> {
    records: &'r Records,
    /// Whether past what was read before: that may be older than what belongs to it.
    is_direct: bool,
    /// The last commit that wrote one of them.
    newest: u64,
}

impl Reader<'_> {
    async fn get<T: Document + 'static>(
        &mut self,
        parts: &[&str],
    ) -> Result<Option<(Arc<T>, u64)>, StoreError> {
        let found = match self.is_direct {
            true => {
                self.records.get::<T>(parts).await?.map(|(document, commit)| (Arc::new(document), commit))
            }
            false => self.records.get_shared::<T>(parts).await?,
        };
        // Why the latest for one that is missing: when it was deleted is not known.
        self.newest = self.newest.max(found.as_ref().map_or(u64::MAX, |(_, commit)| *commit));
        Ok(found)
    }
}

impl StoredConnection {
    /// Reads the stored connection, all of it as of one moment; `connector` (default authentication method) lists the
    /// methods and fields.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn load(
        records: &Records,
        key: &ConnectionKey,
        connector: &Connector,
    ) -> Result<Self, Error> {
        let mut is_direct = false;
        for _ in 0..READS_MAX {
            // Why before anything is read: what was committed after it may be newer than the rest.
            let position = records.position();
            let mut reader = Reader { records, is_direct, newest: 0 };
            let read = Self::read(&mut reader, key, connector).await?;
            if !is_direct && position.is_some_and(|position| reader.newest > position) {
                is_direct = true;
                continue;
            }
            if let Some(whole) = read {
                return Ok(whole);
            }
            tokio::task::yield_now().await;
        }
        Err(Error::new(Code::StoreUnavailable, "the connection is saved faster than it can be read"))
    }

    /// Reads the records one after the other; `None` if they do not belong together, because the connection was saved
    /// or forgotten meanwhile.
    async fn read(
        reader: &mut Reader<'_>,
        key: &ConnectionKey,
        connector: &Connector,
    ) -> Result<Option<Self>, Error> {
        let parts = key.parts();
        let Some((setting, setting_commit)) = reader.get::<ConnectorSetting>(&parts).await? else {
            // Why: nothing else is read that could belong to another moment.
            reader.newest = 0;
            return Ok(Some(Self { is_named: key.name.is_some(), ..Self::default() }));
        };
        let chosen = connector.under(setting.value.auth_method.as_deref());
        let method = setting.value.auth_method.as_deref();
        let gone = method.is_some_and(|id| !connector.has_method(id));
        // Why none: a credential that was saved for a removed method must not be sent under another.
        let credential = match gone {
            true => None,
            false => reader.get::<CredentialState>(&parts).await?,
        };
        let token = match &chosen.auth.token {
            Some(_) => reader.get::<TokenState>(&parts).await?,
            None => None,
        };
        let automated = chosen.fields.iter().any(|field| field.automated);
        let discovered = match automated {
            true => reader.get::<DiscoveredConfig>(&parts).await?.map(|(d, _)| d).unwrap_or_default(),
            false => Arc::default(),
        };
        // Whatever saves or forgets a connection writes its setting in the same commit, and a credential that was
        // read after its setting and is older belongs to it.
        let may_be_torn = match &credential {
            Some((_, commit)) => *commit > setting_commit || token.is_some() || automated,
            None => !gone && setting.value.encrypted_config.is_some(),
        };
        if may_be_torn {
            let now = reader.get::<ConnectorSetting>(&parts).await?;
            if now.is_none_or(|(_, commit)| commit != setting_commit) {
                return Ok(None);
            }
        }
        let credential = credential.map(|(credential, _)| credential);
        // Why last: of a client that is changed meanwhile the newest state counts.
        let clients = match gone {
            true => SharedClients::default(),
            false => {
                SharedClients::load(reader.records, &key.org, chosen, oauth_clients::method_id(method))
                    .await?
            }
        };
        let read = Self {
            is_named: key.name.is_some(),
            setting: Some(setting),
            setting_commit,
            credential,
            token,
            discovered,
            clients,
            client: None,
            client_gone: false,
        };
        Ok(Some(read.with_client_of_token(connector)))
    }

    /// Chooses the client of token requests: a token that a person consented to keeps the one it was obtained with.
    fn with_client_of_token(mut self, connector: &Connector) -> Self {
        let revision = self.credential.as_ref().map(|credential| credential.revision);
        let token = self.token.as_ref().map(|(token, _)| token);
        let token = token.filter(|t| t.sealed.is_some() && Some(t.credential_revision) == revision);
        let chosen = self.chosen(connector);
        let (auth, keeps) = (&chosen.auth, chosen.asks_for_consent());
        let saved = self.credential.as_ref().map(|credential| &credential.fields);
        let has_own = saved.is_some_and(|saved| saved.keys().any(|name| auth.client.has(name)));
        // Why not: nobody would consent to it that another account is used.
        let current = || self.clients.current().filter(|_| keeps || !has_own).cloned();
        let (client, client_gone) = match token.filter(|_| keeps).map(|token| &token.client) {
            Some(Some(noted)) => {
                let found = self.clients.noted(noted).cloned();
                let gone = found.is_none();
                (found.or_else(current), gone)
            }
            Some(None) => (None, false),
            None => (current(), false),
        };
        (self.client, self.client_gone) = (client, client_gone);
        self
    }

    /// The same for a consent that begins now: with the client that the org or the platform shares.
    #[must_use]
    pub(crate) fn with_new_client(mut self) -> Self {
        (self.client, self.client_gone) = (self.clients.current().cloned(), false);
        self
    }

    /// Whether the token was obtained with a shared client that is gone, or is another one now.
    pub(crate) fn has_token_of_gone_client(&self) -> bool {
        let noted = self.token.as_ref().and_then(|(token, _)| token.client.as_ref());
        noted.is_some_and(|noted| self.clients.noted(noted).is_none())
    }

    /// Whether token requests get a field's value from a shared client.
    fn is_supplied(&self, name: &str) -> bool {
        self.client.as_ref().is_some_and(|client| client.supplies(name))
    }

    /// Checks that it has not changed since somebody read it.
    ///
    /// # Errors
    /// `revision_mismatch`.
    pub(crate) fn require_revision(&self, expected: Option<u64>) -> Result<(), Error> {
        check_revision(expected, self.setting_commit)
    }

    /// The connector under the authentication method that the workspace chose.
    #[must_use]
    pub(crate) fn chosen<'c>(&self, connector: &'c Connector) -> &'c Connector {
        connector.under(self.setting.as_ref().and_then(|s| s.value.auth_method.as_deref()))
    }

    /// The token, unless it was obtained with another credential than the current one, or with an OAuth client that is
    /// not the connection's any more.
    #[must_use]
    pub(crate) fn current_token(&self) -> Option<&TokenState> {
        let revision = self.credential.as_ref()?.revision;
        let (token, _) = self.token.as_ref()?;
        let is_same = match (&token.client, &self.client) {
            (None, None) => true,
            (Some(noted), Some(client)) => noted.is_same(&client.noted()),
            _ => false,
        };
        let is_current = token.credential_revision == revision && is_same && !self.client_gone;
        is_current.then_some(&**token)
    }

    /// Why the last attempt to obtain a token failed, unless the OAuth client was saved again since then.
    #[must_use]
    pub(crate) fn token_failure(&self) -> Option<&TokenFailure> {
        let token = self.current_token()?;
        let (then, now) = (token.client.as_ref(), self.client.as_ref());
        let is_same = then.map(|noted| noted.revision) == now.map(|client| client.record.revision);
        token.failure.as_ref().filter(|_| is_same)
    }

    /// Why nothing is called, whatever the action: the workspace opted out, or saved no credential.
    #[must_use]
    pub(crate) fn unwanted(&self, connector: &Connector) -> Option<ConnectionState> {
        match &self.setting {
            Some(setting) if !setting.value.enabled => Some(ConnectionState::OptedOut),
            None if self.is_named || self.chosen(connector).needs_configuration() => {
                Some(ConnectionState::Unconfigured)
            }
            _ => None,
        }
    }

    /// The state of the connection as a whole.
    #[must_use]
    pub(crate) fn state(&self, connector: &Connector) -> ConnectionState {
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

    /// Why the connection as a whole needs a person's attention.
    #[must_use]
    pub(crate) fn attention(&self, connector: &Connector) -> Option<String> {
        if self.client_gone {
            return Some(CLIENT_GONE.to_owned());
        }
        let missing: Vec<&str> = self.missing_fields(connector).collect();
        if !missing.is_empty() {
            return Some(format!(
                "the saved credential has no value for {}; save it again",
                missing.join(", ")
            ));
        }
        connector.auth.token.as_ref()?;
        // Why only then: a token endpoint that cannot be reached says nothing of the connection.
        if let Some(failure) = self.token_failure().filter(|failure| failure.permanent) {
            return Some(format!("{}; tried again after {}", failure.reason, failure.retry_at));
        }
        if self.waits_for_consent(connector) {
            return Some("consent was not given yet; start it with POST …/oauth/start".to_owned());
        }
        None
    }

    /// Whether a person has to consent before there is a token.
    #[must_use]
    pub(crate) fn waits_for_consent(&self, connector: &Connector) -> bool {
        let has_token = || self.current_token().is_some_and(|token| token.sealed.is_some());
        connector.asks_for_consent() && !has_token()
    }

    /// Whether the saved credential was sealed for every host of an action.
    #[must_use]
    pub(crate) fn covers(&self, connector: &Connector, action: &Action) -> bool {
        let Some(saved) = self.credential.as_ref().filter(|_| connector.auth.injection.needs_credential())
        else {
            return true;
        };
        let entries = saved.allowed_hosts.iter().filter_map(|entry| HostPattern::parse(entry).ok());
        let entries: Vec<HostPattern> = entries.collect();
        let covered = |url: &UrlTemplate| match url.host_variable() {
            // Why by its value: each host that can be chosen is an entry of its own.
            Some(variable) => {
                let host = saved.config.get(&variable.name).and_then(Value::as_str);
                host.is_none_or(|host| entries.iter().any(|entry| entry.matches(&host.to_ascii_lowercase())))
            }
            None => entries.iter().any(|entry| entry.covers(url)),
        };
        match connector.module_of(action) {
            Some(runtime) => runtime.requests.iter().all(|(_, url, _)| covered(url)),
            None => covered(&action.url),
        }
    }

    /// Fields without a saved value that the form requires or without which the credential cannot be sent.
    pub(crate) fn missing_fields<'c>(&'c self, connector: &'c Connector) -> impl Iterator<Item = &'c str> {
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
            .filter(|field| field.default.is_none() && !field.automated && !self.is_supplied(&field.name))
            .map(|field| field.name.as_str())
            .filter(|name| !self.credential.as_ref().is_some_and(|saved| saved.fields.contains_key(*name)))
    }

    /// Non-secret values, defaults filled in.
    #[must_use]
    pub(crate) fn config(&self, connector: &Connector) -> Map<String, Value> {
        let mut config = Map::new();
        for field in connector.fields.iter().filter(|f| !f.secret) {
            let saved = self.credential.as_ref().and_then(|c| c.config.get(&field.name));
            let saved = saved.or_else(|| self.discovered.config.get(&field.name));
            let shared = self.client.as_ref().filter(|_| connector.auth.client.has(&field.name));
            // Why before the saved one: id and secret are those of one client.
            let shared = shared.and_then(|client| client.record.config.get(&field.name));
            let saved = shared.or(saved).cloned();
            let value = saved.or_else(|| field.default.clone().map(Value::String));
            if let Some(value) = value {
                config.insert(field.name.clone(), value);
            }
        }
        config
    }

    /// The sealed credential, if there is one.
    #[must_use]
    pub(crate) fn sealed(&self, vault: &Arc<Vault>, key: &ConnectionKey) -> Option<SealedRecord> {
        let text = self.setting.as_ref()?.value.encrypted_config.clone()?;
        let state = self.credential.as_ref()?;
        let bound = Bound::Connection(key.binding(&state.credential_id, state.revision));
        Some(SealedRecord { vault: Arc::clone(vault), bound, text })
    }

    /// The shared OAuth client, if token requests are made with one.
    #[must_use]
    pub(crate) fn sealed_client(&self, vault: &Arc<Vault>) -> Option<SealedRecord> {
        let client = self.client.as_ref()?;
        let (bound, text) = (Bound::Owner(client.binding()), client.record.sealed.clone());
        Some(SealedRecord { vault: Arc::clone(vault), bound, text })
    }

    /// Everything that is sealed for the connection: what token requests may open, and what answers may not show.
    pub(crate) fn all_sealed(&self, vault: &Arc<Vault>, key: &ConnectionKey) -> Vec<SealedRecord> {
        // Why the client last: of two values of one name the later one counts, and an earlier credential may have an own
        // client.
        let all = [self.sealed(vault, key), self.sealed_token(vault, key), self.sealed_client(vault)];
        all.into_iter().flatten().collect()
    }

    /// The sealed token, if there is one.
    #[must_use]
    pub(crate) fn sealed_token(&self, vault: &Arc<Vault>, key: &ConnectionKey) -> Option<SealedRecord> {
        let token = self.current_token()?;
        let text = token.sealed.clone()?;
        let bound = Bound::Connection(key.binding(&token.token_id, token.revision));
        Some(SealedRecord { vault: Arc::clone(vault), bound, text })
    }

    /// The handle that the gate opens for a call: the credential, and the token if there is one.
    #[must_use]
    pub(crate) fn bind(
        &self,
        vault: &Arc<Vault>,
        key: &ConnectionKey,
        connector: &Connector,
    ) -> Option<BoundCredential> {
        let state = self.credential.as_ref()?;
        let saved = self.sealed(vault, key)?;
        let token = self.sealed_token(vault, key);
        // Why the token alone if it is enough: what is not opened cannot be sent. The rest is opened once an answer
        // has come, to be removed from it.
        let token_suffices = token.is_some()
            && !connector
                .auth
                .injection
                .fields()
                .any(|name| connector.fields.iter().any(|field| field.name == name && field.secret));
        let (sealed, mut others) = match token {
            Some(token) if token_suffices => (vec![token], vec![saved]),
            Some(token) => (vec![saved, token], Vec::new()),
            None => (vec![saved], Vec::new()),
        };
        // Why never sent: it goes to token endpoints alone.
        others.extend(self.sealed_client(vault));
        let token_revision = self.current_token().map_or(0, |token| token.revision);
        Some(BoundCredential {
            slot: DEFAULT_SLOT.to_owned(),
            version: state.revision.saturating_add(token_revision),
            allowed_hosts: state.allowed_hosts.clone(),
            source: Arc::new(SealedRecords { sealed, known: Vec::new(), others }),
        })
    }
}
