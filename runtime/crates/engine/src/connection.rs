//! A workspace's connection to a connector: what is stored, its state, and the use cases of saving, opting out,
//! verifying and forgetting. No function here returns a credential.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectionName, ConnectorId};
use portcullis_store::ConnectorSetting;
pub use portcullis_store::TokenFailure;

use crate::breaker::ConnectionBreaker;
use crate::cache::LoadedConnector;
use crate::caller::{Caller, WORKSPACE};
use crate::connectors;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth_clients;
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;

mod forget;
mod form;
pub(crate) mod health;
mod key;
mod left_out;
pub mod listing;
mod loaded;
mod named;
mod patch;
mod save;
pub(crate) mod sealed;
mod sealing;
pub(crate) mod state;
mod verify;
pub(crate) mod visible;

pub use forget::forget;
pub(crate) use forget::{delete_all, delete_below};
pub use form::{Filled, MethodForm, form};
pub(crate) use health::HealthNotes;
pub use health::{Attention, ConnectionChange};
pub use key::{AskedConnection, ConnectionKey};
pub(crate) use key::{checked_names, is_asked, missing};
pub use left_out::LeftOut;
pub(crate) use left_out::asked_fields;
use left_out::left_out;
pub(crate) use loaded::{Errand, LoadedConnection, Purpose, rules};
pub use named::list as list_named;
pub use patch::{PatchConnection, patch};
pub use save::{SaveConnection, save};
pub use state::ConnectionState;
pub(crate) use state::StoredConnection;
pub use verify::{Verified, verify};
pub(crate) use visible::HiddenValues;

/// A connector that a workspace sees, with the state of its connection.
pub struct Offer {
    pub connector: Arc<LoadedConnector>,
    pub state: ConnectionState,
    /// Why it needs attention.
    pub attention: Option<Attention>,
    /// Its last successful call, RFC 3339, to the minute.
    pub last_success_at: Option<String>,
    /// Its circuit breaker, if it is not closed.
    pub breaker: Option<ConnectionBreaker>,
    /// What is saved of its form.
    pub filled: Filled,
    /// Fields that a shared OAuth client has, by the id of each method with some: nobody is asked for them.
    pub left_out: LeftOut,
}

/// A connection without its secret values.
#[derive(Debug, Clone)]
pub struct Connection {
    pub connector_id: ConnectorId,
    /// What it is a connection to.
    pub connector: Arc<LoadedConnector>,
    /// Changes with every save; 0 before the first.
    pub revision: u64,
    /// What is saved of its form.
    pub filled: Filled,
    /// Its name; none for the default one.
    pub name: Option<ConnectionName>,
    /// What people call a named one.
    pub label: Option<String>,
    /// Fields that a shared OAuth client has, by the id of each method with some: nobody is asked for them.
    pub left_out: LeftOut,
    /// False if the workspace opted out.
    pub enabled: bool,
    pub state: ConnectionState,
    /// The fields of the form.
    pub fields: Vec<FieldState>,
    /// The chosen authentication method; the connector's default if absent.
    pub auth_method: Option<String>,
    /// Why it needs attention, as a sentence, and as data.
    pub reason: Option<String>,
    pub attention: Option<Attention>,
    /// Its last successful call, RFC 3339, to the minute.
    pub last_success_at: Option<String>,
    /// Its last changes, newest first.
    pub changes: Vec<ConnectionChange>,
    /// The token that was obtained with the credential.
    pub token: Option<TokenView>,
    /// Its circuit breaker, if it is not closed.
    pub breaker: Option<ConnectionBreaker>,
}

/// Whether a field of the form has a saved value.
#[derive(Debug, Clone)]
pub struct FieldState {
    pub name: String,
    /// Whether it has a saved value.
    pub set: bool,
    /// When the value was last given, RFC 3339.
    pub updated_at: Option<String>,
}

/// What is known of a token without opening it.
#[derive(Debug, Clone)]
pub struct TokenView {
    /// When it was obtained, RFC 3339.
    pub obtained_at: Option<String>,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// Why the last attempt to obtain one failed.
    pub failure: Option<TokenFailure>,
}

/// An existing connector, and the workspace whose connection to it is meant.
pub(crate) struct Subject {
    pub(crate) key: ConnectionKey,
    pub(crate) loaded: Arc<LoadedConnector>,
}

impl Subject {
    /// The connection that a caller asks for; a named one need not exist.
    ///
    /// # Errors
    /// Those of [`Caller::authorise`], `connector_not_found`, `not_found` for a text that is no name,
    /// `store_unavailable`.
    pub(crate) async fn find<'a>(
        engine: &Engine,
        caller: &Caller,
        tenant: &Tenant,
        asked: impl Into<AskedConnection<'a>>,
    ) -> Result<Self, Error> {
        caller.authorise(WORKSPACE, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
        let AskedConnection { connector, name } = asked.into();
        let loaded = engine.resources.cache.visible_connector(connector).await?;
        let parse = |name| ConnectionName::parse(name).map_err(|_| missing(name));
        let key = ConnectionKey {
            org: tenant.org.clone(),
            workspace: tenant.workspace.clone(),
            connector: loaded.connector.id.clone(),
            name: name.map(parse).transpose()?,
        };
        Ok(Self { key, loaded })
    }

    /// As [`Subject::find`], and a named one must exist.
    ///
    /// # Errors
    /// Those of [`Subject::find`], `not_found` for a named one that was not saved.
    pub(crate) async fn existing<'a>(
        engine: &Engine,
        caller: &Caller,
        tenant: &Tenant,
        asked: impl Into<AskedConnection<'a>>,
    ) -> Result<Self, Error> {
        let subject = Self::find(engine, caller, tenant, asked).await?;
        if let Some(name) = &subject.key.name
            && engine.resources.records.get_shared::<ConnectorSetting>(&subject.key.parts()).await?.is_none()
        {
            return Err(missing(name.as_str()));
        }
        Ok(subject)
    }

    /// Checks that the connector is enabled.
    pub(crate) fn require_enabled(&self) -> Result<(), Error> {
        if self.loaded.connector.enabled { Ok(()) } else { Err(Error::plain(Code::ConnectorDisabled)) }
    }

    pub(crate) async fn load(&self, engine: &Engine) -> Result<LoadedConnection, Error> {
        LoadedConnection::load(&engine.resources, self.key.clone(), Arc::clone(&self.loaded)).await
    }

    async fn stored(&self, engine: &Engine) -> Result<StoredConnection, Error> {
        StoredConnection::load(&engine.resources.records, &self.key, &self.loaded.connector).await
    }

    /// The connection without its values.
    async fn view(&self, engine: &Engine) -> Result<Connection, Error> {
        let connector = &self.loaded.connector;
        let stored = self.stored(engine).await?;
        let chosen = stored.chosen(connector);
        let saved = stored.credential.as_ref();
        let left_out = self.left_out(engine).await?;
        let method = stored.setting.as_ref().and_then(|setting| setting.value.auth_method.as_deref());
        let unasked = left_out.get(oauth_clients::method_id(method));
        let is_asked = |name: &String| unasked.is_none_or(|names| !names.contains(name));
        let is_set = |name: &String| saved.is_some_and(|credential| credential.fields.contains_key(name));
        let form = chosen.fields.iter().filter(|field| is_set(&field.name) || is_asked(&field.name));
        let fields: Vec<FieldState> = form
            .map(|field| {
                let given = saved.and_then(|credential| credential.fields.get(&field.name));
                FieldState {
                    name: field.name.clone(),
                    set: given.is_some() || stored.discovered.config.contains_key(&field.name),
                    updated_at: given.map(|field| field.updated_at.clone()),
                }
            })
            .collect();
        let value = stored.setting.as_ref().map(|setting| &setting.value);
        let standing = health::standing(&engine.resources.records, &self.key, connector, &stored).await?;
        Ok(Connection {
            connector_id: connector.id.clone(),
            connector: Arc::clone(&self.loaded),
            revision: stored.setting_commit,
            filled: Filled::of(&stored, connector),
            name: self.key.name.clone(),
            label: stored.setting.as_ref().and_then(|setting| setting.label.clone()),
            left_out,
            enabled: value.is_none_or(|value| value.enabled),
            state: standing.state,
            fields,
            auth_method: value.and_then(|value| value.auth_method.clone()),
            reason: standing.reason,
            attention: standing.attention,
            last_success_at: standing.last_success_at,
            changes: standing.changes,
            token: stored.current_token().map(|token| TokenView {
                obtained_at: token.obtained_at.clone(),
                expires_at: token.expires_at.clone(),
                failure: stored.token_failure().cloned(),
            }),
            breaker: engine.resources.breakers.of_connection(&self.key),
        })
    }
}

/// Every connector that the workspace sees, with the state of its default connection.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wanted: &PageRequest,
) -> Result<Page<Offer>, Error> {
    list_for(engine, caller, tenant, None, wanted).await
}

/// The same with the state of the connections of this name.
///
/// # Errors
/// Those of [`list`].
pub(crate) async fn list_for(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    name: Option<&ConnectionName>,
    wanted: &PageRequest,
) -> Result<Page<Offer>, Error> {
    caller.authorise(WORKSPACE, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let resources = &engine.resources;
    let mut offers = Vec::new();
    for connector in connectors::visible(resources, wanted, |_| true).await?.into_iter().take(wanted.wanted())
    {
        let key = ConnectionKey {
            org: tenant.org.clone(),
            workspace: tenant.workspace.clone(),
            connector: connector.connector.id.clone(),
            name: name.cloned(),
        };
        let stored = StoredConnection::load(&resources.records, &key, &connector.connector).await?;
        let breaker = resources.breakers.of_connection(&key);
        let standing = health::standing(&resources.records, &key, &connector.connector, &stored).await?;
        let (attention, last_success_at) = (standing.attention, standing.last_success_at);
        let filled = Filled::of(&stored, &connector.connector);
        let left_out = left_out(engine, &tenant.org, &connector.connector).await?;
        let state = standing.state;
        offers.push(Offer { state, connector, attention, last_success_at, breaker, filled, left_out });
    }
    Ok(wanted.page(offers))
}

/// Which fields of a connection are set, and since when.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `not_found` for a named one that was not saved,
/// `store_unavailable`.
pub async fn show<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
) -> Result<Connection, Error> {
    Subject::existing(engine, caller, tenant, asked).await?.view(engine).await
}
