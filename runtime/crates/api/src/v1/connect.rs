//! `/workspace/{org}/{ws}/connect-session` and `/org/{org}/settings/connect`: links with which a person connects a
//! workspace, and what an org says of their page.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_engine::Error;
use portcullis_engine::connect::{self, ConnectSettings, MadeSession, NewSession, SettingsWish};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Content, JSON, Json, json};
use crate::request::{Context, NoParameters, Typed};

/// A link to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnectSession {
    /// The connector; the person chooses if it is left out.
    #[serde(default)]
    connector_id: Option<String>,
    /// The connection's name, which need not exist; `default` if left out.
    #[serde(default)]
    connection: Option<String>,
    /// Where the browser is sent at the end, below an entry of the org's `return_urls`; a page says what happened if it
    /// is left out.
    #[serde(default)]
    return_url: Option<String>,
    /// How long the link may be claimed, seconds.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 60, max = 604_800))]
    expires_in: u64,
}

const fn ten_minutes() -> u64 {
    600
}

/// A link that was made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectSessionDocument {
    /// Its id, for logs. Not secret.
    session_id: String,
    /// The link. Secret: whoever opens it first may connect the workspace. It is shown once.
    connect_url: String,
    /// Until when it may be claimed, RFC 3339.
    expires_at: String,
}

/// 201 with the link, which has no place where it could be read again.
pub(crate) struct Made(ConnectSessionDocument);

impl Answer for Made {
    const STATUS: StatusCode = StatusCode::CREATED;

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<ConnectSessionDocument>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(Self::STATUS, &self.0)
    }
}

pub(crate) async fn create(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<NewConnectSession>,
) -> Result<Made, Error> {
    let tenant = context.tenant().await?;
    let NewConnectSession { connector_id, connection, return_url, expires_in } = wish;
    let wish = NewSession { connector_id, connection, return_url, expires_in: Some(expires_in) };
    let made = connect::create(context.engine(), context.caller()?, &tenant, wish).await?;
    let MadeSession { session_id, connect_url, expires_at } = made;
    let connect_url = connect_url.as_str().to_owned();
    Ok(Made(ConnectSessionDocument { session_id, connect_url, expires_at }))
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<ConnectSettings>, Error> {
    let org = context.org().await?;
    connect::show_settings(context.engine(), context.caller()?, &org).await.map(Json)
}

pub(crate) async fn replace(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SettingsWish>,
) -> Result<Json<ConnectSettings>, Error> {
    let org = context.org().await?;
    connect::replace_settings(context.engine(), context.caller()?, &org, wish).await.map(Json)
}
