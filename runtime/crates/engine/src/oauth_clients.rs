//! OAuth clients of an org and of the platform: saved once, used by the consents and renewals of all workspaces. No
//! function here returns a secret.
//!
//! ```text
//! saved      sealed under a key of the org or of the platform, with the hosts of the token endpoint in the seal
//! consent    the org's client, else the platform's, else the one in the workspace's own credential
//! renewal    the client that the token was obtained with; if it is gone, the connection says so and nothing is sent
//! ```
//!
//! **A client goes to the hosts it was sealed for and nowhere else**, whatever a definition says later and whatever a
//! workspace fills in: the list is compared before anything is opened, and once more inside the seal.

use std::sync::Arc;

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectorId, OrgId};
use portcullis_store::{
    ConnectorRecord, OAuthClientRecord, OrgRecord, OwnedBinding, PLATFORM_SCOPE, Records, SecretPayload,
    StoreError, Writes,
};
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::cache::LoadedConnector;
use crate::caller::{Caller, ORG};
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::consent::CALLBACK_PATH;
use crate::resources::Resources;

mod checks;
mod shared;

pub(crate) use shared::{SharedClient, SharedClients};

/// What the secrets are sealed for.
const PURPOSE: &str = "oauth client";
/// Attempts of a change beside others.
const ATTEMPTS_MAX: u32 = 20;

/// Whose a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientScope {
    Org(OrgId),
    Platform,
}

impl ClientScope {
    fn part(&self) -> &str {
        match self {
            Self::Org(org) => org.as_str(),
            Self::Platform => PLATFORM_SCOPE,
        }
    }

    fn authorise(&self, caller: &Caller) -> Result<(), Error> {
        match self {
            Self::Org(org) => caller.authorise(ORG, Some(org.as_str()), None),
            Self::Platform => caller.platform(),
        }
    }

    /// The connector, which an org sees once it is no draft.
    async fn connector(&self, resources: &Resources, id: &str) -> Result<Arc<LoadedConnector>, Error> {
        match self {
            Self::Org(_) => resources.cache.visible_connector(id).await,
            Self::Platform => {
                let found = resources.cache.connector(id).await?;
                found.ok_or_else(|| Error::plain(Code::ConnectorNotFound))
            }
        }
    }
}

/// A client to save. Its texts are wiped when it is dropped.
#[derive(Clone)]
pub struct OAuthClientWish {
    pub client_id: String,
    pub client_secret: Option<String>,
    /// Instead of a secret, where the definition's `client_auth` is `private_key_jwt`: PEM.
    pub private_key: Option<String>,
    /// Values of further fields that the definition calls the client's.
    pub fields: Map<String, Value>,
    /// Scopes that a person is asked for; the definition's if absent.
    pub scopes: Option<Vec<String>>,
    /// Hosts of token endpoints, where the definition's is not fixed text.
    pub token_hosts: Vec<String>,
}

impl Drop for OAuthClientWish {
    fn drop(&mut self) {
        self.client_secret.zeroize();
        self.private_key.zeroize();
        for value in self.fields.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

/// A client without its secret.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    pub connector_id: ConnectorId,
    /// The authentication method, [`DEFAULT_METHOD`] for the connector's own.
    pub method_id: String,
    pub client_id: String,
    /// Whether it has a secret or a private key.
    pub secret_set: bool,
    pub scopes: Option<Vec<String>>,
    pub token_hosts: Vec<String>,
    /// Hosts that it may be sent to.
    pub allowed_hosts: Vec<String>,
    /// What is to be registered at the third party, where a person consents.
    pub redirect_uri: Option<String>,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl OAuthClient {
    fn of(resources: &Resources, connector: &Connector, record: &OAuthClientRecord) -> Self {
        let consents = connector.asks_for_consent();
        Self {
            connector_id: record.connector_id.clone(),
            method_id: record.method_id.clone(),
            client_id: record.client_id.clone(),
            secret_set: record.secret_set,
            scopes: record.scopes.clone(),
            token_hosts: record.token_hosts.clone(),
            allowed_hosts: record.allowed_hosts.clone(),
            redirect_uri: consents.then(|| format!("{}{CALLBACK_PATH}", resources.public_url)),
            updated_at: record.updated_at.clone(),
        }
    }
}

/// The id of the method that a connection has chosen.
pub(crate) fn method_id(chosen: Option<&str>) -> &str {
    chosen.unwrap_or(DEFAULT_METHOD)
}

/// What the secrets of a client are bound to.
fn binding(scope: &str, record: &OAuthClientRecord) -> OwnedBinding {
    OwnedBinding {
        scope: scope.to_owned(),
        purpose: PURPOSE,
        connector: record.connector_id.as_str().to_owned(),
        name: record.instance.clone(),
        revision: record.revision,
    }
}

/// Names of the fields that a workspace of this org is not asked for, because the org or the platform saved them with a
/// client for the method. `connector` is the one under that method.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn shared_fields(
    records: &Records,
    org: &OrgId,
    connector: &Connector,
    method: &str,
) -> Result<Vec<String>, Error> {
    let clients = SharedClients::load(records, org, connector, method).await?;
    Ok(clients.current().map(|client| client.supplied(connector)).unwrap_or_default())
}

fn missing() -> Error {
    Error::new(Code::NotFound, "no OAuth client is saved for this connector and method")
}

/// Saves a client, in the place of the one before. A new secret of the same client id goes on renewing its tokens;
/// with another client id, connections that were made with the one before need a new consent.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `validation_failed` for a method whose client cannot be shared
/// and for values that are not accepted, `token_host_chosen_by_tenant`.
pub async fn save(
    engine: &Engine,
    caller: &Caller,
    scope: &ClientScope,
    connector: &str,
    method: Option<&str>,
    wish: &OAuthClientWish,
) -> Result<OAuthClient, Error> {
    scope.authorise(caller)?;
    let resources = &engine.resources;
    for _ in 0..ATTEMPTS_MAX {
        let loaded = scope.connector(resources, connector).await?;
        let (method, chosen) = checks::method(&loaded.connector, method)?;
        let (mut record, payload) = checks::client(chosen, method, wish, &resources.limits)?;
        let parts = [scope.part(), connector, method];
        let before = resources.records.get::<OAuthClientRecord>(&parts).await?;
        if let Some((before, _)) = &before {
            record.instance.clone_from(&before.instance);
            record.revision = before.revision + 1;
        }
        record.sealed = seal(resources, scope, &record, &payload).await?;
        let mut writes = Writes::new().require_revision::<ConnectorRecord>(&[connector], loaded.commit);
        writes = match &before {
            Some((_, commit)) => writes.replace(&parts, &record, *commit),
            None => writes.create(&parts, &record),
        };
        if let ClientScope::Org(org) = scope {
            // Why: an org that is deleted meanwhile leaves nothing behind.
            writes = writes.require_present::<OrgRecord>(&[org.as_str()]);
        }
        match resources.commit(writes).await {
            Ok(_) => return Ok(OAuthClient::of(resources, chosen, &record)),
            Err(StoreError::Conflict { .. }) => {
                still_there(resources, scope).await?;
                // Why here: of another process's change this one may not have been told yet.
                resources.cache.forget_connector(connector);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}

async fn seal(
    resources: &Resources,
    scope: &ClientScope,
    record: &OAuthClientRecord,
    payload: &SecretPayload,
) -> Result<String, Error> {
    Ok(resources.vault.seal_owned(&binding(scope.part(), record), payload).await?)
}

/// Fails if the org is gone: a change of it then never finds its place.
async fn still_there(resources: &Resources, scope: &ClientScope) -> Result<(), Error> {
    let ClientScope::Org(org) = scope else { return Ok(()) };
    let found = resources.records.get::<OrgRecord>(&[org.as_str()]).await?;
    found.map(drop).ok_or_else(|| Error::plain(Code::OrgNotFound))
}

/// Reads a client.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `validation_failed` for a method whose client cannot be shared,
/// `not_found`, `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    scope: &ClientScope,
    connector: &str,
    method: Option<&str>,
) -> Result<OAuthClient, Error> {
    scope.authorise(caller)?;
    let resources = &engine.resources;
    let loaded = scope.connector(resources, connector).await?;
    let (method, chosen) = checks::method(&loaded.connector, method)?;
    let found = resources.records.get::<OAuthClientRecord>(&[scope.part(), connector, method]).await?;
    let (record, _) = found.ok_or_else(missing)?;
    Ok(OAuthClient::of(resources, chosen, &record))
}

/// Deletes a client. Connections whose tokens were obtained with it need a new consent from then on.
///
/// # Errors
/// As for [`show`].
pub async fn remove(
    engine: &Engine,
    caller: &Caller,
    scope: &ClientScope,
    connector: &str,
    method: Option<&str>,
) -> Result<(), Error> {
    scope.authorise(caller)?;
    let resources = &engine.resources;
    let loaded = scope.connector(resources, connector).await?;
    let method = checks::removable(&loaded.connector, method)?;
    let parts = [scope.part(), connector, method.as_str()];
    if resources.records.get::<OAuthClientRecord>(&parts).await?.is_none() {
        return Err(missing());
    }
    resources.commit(Writes::new().delete::<OAuthClientRecord>(&parts)).await?;
    Ok(())
}

/// Deletes an org's clients, its key first: even if the rest fails, they can never be opened again.
///
/// # Errors
/// `store_unavailable`; calling it again continues.
pub(crate) async fn forget_org(resources: &Resources, org: &OrgId) -> Result<(), Error> {
    resources.vault.shred_scope(org.as_str()).await?;
    resources.delete_below::<OAuthClientRecord>(&[org.as_str()]).await?;
    Ok(())
}

/// Keys of the clients that the platform and orgs saved for a connector: scope, connector, method.
async fn clients_of(resources: &Resources, connector: &str) -> Result<Vec<Vec<String>>, Error> {
    let of = |_: &str, record: &OAuthClientRecord| record.connector_id.as_str() == connector;
    let found = resources.records.filter::<OAuthClientRecord>(&[], of).await?;
    Ok(found.iter().map(|(rest, _, _)| rest.split('/').map(str::to_owned).collect()).collect())
}

/// Keys of the clients that orgs saved for a connector; the org is the first part.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn org_clients_of(
    resources: &Resources,
    connector: &str,
) -> Result<Vec<Vec<String>>, Error> {
    let mut keys = clients_of(resources, connector).await?;
    keys.retain(|key| key.first().is_some_and(|scope| scope != PLATFORM_SCOPE));
    Ok(keys)
}

/// Deletes the clients that everybody saved for a connector: the next one of that id is another.
///
/// # Errors
/// `store_unavailable`; calling it again continues.
pub(crate) async fn forget_connector(resources: &Resources, connector: &str) -> Result<(), Error> {
    let keys = clients_of(resources, connector).await?;
    Ok(resources.delete_each::<OAuthClientRecord>(&keys).await?)
}
