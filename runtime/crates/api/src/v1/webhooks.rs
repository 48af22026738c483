//! `…/webhook`: where an org and the platform are told of what happens. A secret is shown once.

use axum::body::Body;
use http::Response;
use http::StatusCode;
use portcullis_core::id::WebhookId;
use portcullis_engine::Error;
use portcullis_engine::webhooks::{
    self, DeliveriesWanted, Delivery, DeliveryState, SavedWebhook, Webhook, WebhookScope, WebhookWish,
};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Content, JSON, Json, List, LongList, NoContent, json};
use crate::request::{Context, NoParameters, PageParameters, Parameters, Typed};

/// A webhook to save.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaveWebhook {
    /// An https URL of a public host, port 443.
    #[schemars(length(min = 1, max = 2048))]
    url: String,
    /// Types of events, or patterns: `connection.*`, `*`. `run.succeeded` and `run.failed` must be named.
    #[schemars(length(min = 1, max = 20))]
    events: Vec<String>,
    /// False: nothing is delivered, and what happens meanwhile is not told.
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
pub(crate) struct WebhookDocument {
    webhook: WebhookId,
    url: String,
    events: Vec<String>,
    enabled: bool,
    /// When it was made, RFC 3339.
    created_at: String,
    /// When it was last changed, RFC 3339.
    updated_at: String,
    /// Until when the secret before also signs, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<String>,
    /// The secret that signs its deliveries; shown when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<Webhook> for WebhookDocument {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, url, events, enabled, created_at, updated_at, old_secret_until } = webhook;
        Self { webhook: id, url, events, enabled, created_at, updated_at, old_secret_until, secret: None }
    }
}

impl From<SavedWebhook> for WebhookDocument {
    fn from(saved: SavedWebhook) -> Self {
        Self { secret: saved.secret, ..saved.webhook.into() }
    }
}

/// 201 for a webhook that was made, 200 for one that was changed.
pub(crate) struct MadeOrChanged(WebhookDocument);

impl Answer for MadeOrChanged {
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::CREATED];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<WebhookDocument>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let status = if self.0.secret.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        json(status, &self.0)
    }
}

/// What became of an event for a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookDelivery")]
pub(crate) struct DeliveryDocument {
    /// The header `webhook-id` of the delivery.
    delivery_id: String,
    /// Type of the event.
    r#type: String,
    state: DeliveryState,
    /// When it was made, RFC 3339.
    created_at: String,
    /// Tries that were begun.
    tries: u32,
    /// When it was last tried, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried_at: Option<String>,
    /// When it is tried next, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<String>,
    /// When it was delivered or given up, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// HTTP status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the last try failed; of one that was given up untried `expired` or `too_many`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl From<Delivery> for DeliveryDocument {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            delivery_id,
            r#type,
            state,
            created_at,
            tries,
            tried_at,
            next_try_at,
            ended_at,
            status,
            code,
        } = delivery;
        Self { delivery_id, r#type, state, created_at, tries, tried_at, next_try_at, ended_at, status, code }
    }
}

/// Which deliveries are listed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryParameters {
    /// Maximum entries of the page.
    #[serde(default = "crate::request::default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^evt_[0-9a-f]{32}$"))]
    starting_after: Option<String>,
    /// Only deliveries in this state; `dead` is the list of those that were given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeliveryState")]
    state: Option<DeliveryState>,
}

impl Parameters for DeliveryParameters {}

async fn scope(context: &Context) -> Result<WebhookScope, Error> {
    match context.path("org") {
        "" => Ok(WebhookScope::Platform),
        _ => context.org().await.map(WebhookScope::Org),
    }
}

pub(crate) async fn save(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SaveWebhook>,
) -> Result<MadeOrChanged, Error> {
    let scope = scope(&context).await?;
    let SaveWebhook { url, events, enabled } = wish;
    let wish = WebhookWish { url, events, enabled };
    let (engine, caller) = (context.engine(), context.caller()?);
    let saved = webhooks::save(engine, caller, &scope, context.path("id"), wish).await?;
    Ok(MadeOrChanged(saved.into()))
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<WebhookDocument>, Error> {
    let scope = scope(&context).await?;
    let found = webhooks::show(context.engine(), context.caller()?, &scope, context.path("id")).await?;
    Ok(Json(found.into()))
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<WebhookDocument>>, Error> {
    let scope = scope(&context).await?;
    let found = webhooks::list(context.engine(), context.caller()?, &scope, &page.wanted()).await?;
    Ok(List::of(found, WebhookDocument::from))
}

pub(crate) async fn remove(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let scope = scope(&context).await?;
    webhooks::remove(context.engine(), context.caller()?, &scope, context.path("id")).await?;
    Ok(NoContent)
}

pub(crate) async fn rotate(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<WebhookDocument>, Error> {
    let scope = scope(&context).await?;
    let saved = webhooks::rotate(context.engine(), context.caller()?, &scope, context.path("id")).await?;
    Ok(Json(saved.into()))
}

pub(crate) async fn deliveries(
    context: Context,
    wish: DeliveryParameters,
    (): (),
) -> Result<Json<LongList<DeliveryDocument>>, Error> {
    let scope = scope(&context).await?;
    let DeliveryParameters { limit, starting_after, state } = wish;
    let wanted =
        DeliveriesWanted { state, limit: usize::try_from(limit).unwrap_or(50), after: starting_after };
    let (engine, caller) = (context.engine(), context.caller()?);
    let page = webhooks::deliveries(engine, caller, &scope, context.path("id"), &wanted).await?;
    let data = page.entries.into_iter().map(DeliveryDocument::from).collect();
    Ok(Json(LongList::new(data, page.next)))
}

pub(crate) async fn resend(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<DeliveryDocument>, Error> {
    let scope = scope(&context).await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (id, delivery) = (context.path("id"), context.path("delivery_id"));
    let sent = webhooks::resend(engine, caller, &scope, id, delivery).await?;
    Ok(Json(sent.into()))
}
