//! `…/oauth-client/{id}`: OAuth clients of the platform and of an org. Secrets come in and are never returned.

use portcullis_core::id::ConnectorId;
use portcullis_engine::Error;
use portcullis_engine::oauth_clients::{self, ClientScope, OAuthClient, OAuthClientWish};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Json, NoContent};
use crate::request::{Context, Parameters, Typed};

/// A client to save, in the place of the one before.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaveOAuthClient {
    /// The client's id at the third party.
    #[schemars(length(min = 1, max = 1024))]
    client_id: String,
    /// Its secret, unless it has none or proves itself with a key.
    #[serde(default)]
    #[schemars(length(min = 1))]
    client_secret: Option<String>,
    /// Its private key as PEM, where the definition's `client_auth` is `private_key_jwt`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    private_key: Option<String>,
    /// Values of further fields that the definition calls the client's, by name.
    #[serde(default)]
    fields: Map<String, Value>,
    /// Scopes that a person is asked for, instead of the definition's.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Hosts of token endpoints to which the secret may go, `*.` patterns included; needed where the definition's is not
    /// fixed text.
    #[serde(default)]
    token_hosts: Vec<String>,
}

impl From<SaveOAuthClient> for OAuthClientWish {
    fn from(client: SaveOAuthClient) -> Self {
        let SaveOAuthClient { client_id, client_secret, private_key, fields, scopes, token_hosts } = client;
        Self { client_id, client_secret, private_key, fields, scopes, token_hosts }
    }
}

/// A client without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OAuthClient")]
pub(crate) struct OAuthClientDocument {
    connector_id: ConnectorId,
    /// The authentication method; `default` is the connector's own.
    method_id: String,
    client_id: String,
    /// Whether it has a secret or a private key.
    secret_set: bool,
    /// Scopes that a person is asked for; absent for the definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    /// Hosts of token endpoints that were listed.
    token_hosts: Vec<String>,
    /// Hosts to which its secret may go.
    allowed_hosts: Vec<String>,
    /// What is to be registered at the third party, byte for byte; absent where no person consents.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    /// When it was last saved, RFC 3339.
    updated_at: String,
}

impl From<OAuthClient> for OAuthClientDocument {
    fn from(client: OAuthClient) -> Self {
        Self {
            connector_id: client.connector_id,
            method_id: client.method_id,
            client_id: client.client_id,
            secret_set: client.secret_set,
            scopes: client.scopes,
            token_hosts: client.token_hosts,
            allowed_hosts: client.allowed_hosts,
            redirect_uri: client.redirect_uri,
            updated_at: client.updated_at,
        }
    }
}

/// Which authentication method is meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MethodParameters {
    /// One of the connector's `auth_methods`, or `default` for its own; without it the first that asks a person for
    /// consent, else the first whose client can be shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    method: Option<String>,
}

impl Parameters for MethodParameters {}

async fn scope(context: &Context) -> Result<ClientScope, Error> {
    match context.path("org") {
        "" => Ok(ClientScope::Platform),
        _ => context.org().await.map(ClientScope::Org),
    }
}

pub(crate) async fn save(
    context: Context,
    wanted: MethodParameters,
    Typed(client): Typed<SaveOAuthClient>,
) -> Result<Json<OAuthClientDocument>, Error> {
    let (scope, wish) = (scope(&context).await?, OAuthClientWish::from(client));
    let (engine, caller) = (context.engine(), context.caller()?);
    let (id, method) = (context.path("id"), wanted.method.as_deref());
    let saved = oauth_clients::save(engine, caller, &scope, id, method, &wish).await?;
    Ok(Json(saved.into()))
}

pub(crate) async fn show(
    context: Context,
    wanted: MethodParameters,
    (): (),
) -> Result<Json<OAuthClientDocument>, Error> {
    let scope = scope(&context).await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (id, method) = (context.path("id"), wanted.method.as_deref());
    let found = oauth_clients::show(engine, caller, &scope, id, method).await?;
    Ok(Json(found.into()))
}

pub(crate) async fn remove(context: Context, wanted: MethodParameters, (): ()) -> Result<NoContent, Error> {
    let scope = scope(&context).await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (id, method) = (context.path("id"), wanted.method.as_deref());
    oauth_clients::remove(engine, caller, &scope, id, method).await?;
    Ok(NoContent)
}
