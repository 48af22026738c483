//! `/workspace/{org}/{ws}/connect-session` and `/org/{org}/settings/connect`: links with which a person connects a
//! workspace, and what an org says of their page.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_core::id::TokenId;
use portcullis_engine::Error;
use portcullis_engine::connect::{
    self, ConnectSettings, ConnectStatus, ListedSession, MadeSession, NewSession, SettingsWish, Stage,
};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Content, JSON, Json, List, NoContent, json};
use crate::request::{Context, NoParameters, PageParameters, Typed};

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
    /// Its id, for logs, and to revoke it. Not secret.
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

/// How far a link is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectState {
    /// Nobody has claimed it.
    Open,
    /// A browser has it.
    Claimed,
    /// The workspace is connected.
    Connected,
    /// The person does not want to.
    Cancelled,
    /// The third party did not take it.
    Failed,
    /// Its time was over before it ended.
    Expired,
}

/// A link, without its secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ListedConnectSession {
    session_id: String,
    /// How far it is.
    state: ConnectState,
    /// The connector; absent if the person chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_id: Option<String>,
    /// The connection's name; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    /// Where the browser is sent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    return_url: Option<String>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// The token that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<TokenId>,
    /// Until when it may be claimed or, once it is, until when that browser has it, RFC 3339.
    expires_at: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// What happened at its end, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl ListedConnectSession {
    fn of(listed: ListedSession) -> Self {
        let ListedSession { record, stage } = listed;
        let state = match stage {
            Stage::Open => ConnectState::Open,
            Stage::Claimed => ConnectState::Claimed,
            Stage::Ended(ConnectStatus::Connected) => ConnectState::Connected,
            Stage::Ended(ConnectStatus::Cancelled) => ConnectState::Cancelled,
            Stage::Ended(ConnectStatus::Failed) => ConnectState::Failed,
            Stage::Expired => ConnectState::Expired,
        };
        let (ended_at, end_message) = record.end.map(|end| (end.at, end.message)).unzip();
        Self {
            session_id: record.session_id,
            state,
            connector_id: record.connector_id,
            connection: record.connection.map(|name| name.as_str().to_owned()),
            return_url: record.return_url,
            created_at: record.created_at,
            created_by: record.created_by,
            expires_at: record.claim.map_or(record.expires_at, |claim| claim.until),
            ended_at,
            message: end_message.flatten(),
        }
    }
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<ListedConnectSession>>, Error> {
    let tenant = context.tenant().await?;
    let found = connect::list(context.engine(), context.caller()?, &tenant, &page.wanted()).await?;
    Ok(List::of(found, ListedConnectSession::of))
}

pub(crate) async fn revoke(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let tenant = context.tenant().await?;
    connect::revoke(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    Ok(NoContent)
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
