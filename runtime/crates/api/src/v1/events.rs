//! `/run/{org}/{ws}/event`: fires every automation that is bound to an event.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::automations::{EventOptype, EventStage};
use portcullis_engine::events::{self, EventDocument, FireEvent, FiredEvent};
use portcullis_engine::idempotency::{KeptAnswer, event_id};
use portcullis_engine::jobs::Asynchronously;
use portcullis_engine::tenants::Tenant;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Answer, Content, JSON, json};
use crate::request::{Context, Parameters, Typed};
use crate::v1::idempotent::{Keep, Replayed, once};
use crate::v1::runs::asynchronously;

/// What happened.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBody {
    /// The caller's id of the event, at most 255 bytes. The same id within 24 hours fires nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    event_id: Option<String>,
    /// The entity that it happened to.
    #[schemars(length(min = 1, max = 120))]
    entity_name: String,
    /// What happened.
    #[schemars(length(min = 1, max = 120))]
    event_name: String,
    /// The operation. The default is that of automations.
    #[serde(default)]
    event_optype: EventOptype,
    /// The phase of the operation. The default is that of automations.
    #[serde(default)]
    event_stage: EventStage,
    /// The document that conditions and mappings read.
    source: Map<String, Value>,
    /// Before when the runs are not begun, RFC 3339; with `Prefer: respond-async` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    not_before: Option<String>,
}

/// Options of an event. One that decides whether and how often something is sent must not be ignored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventParameters {
    /// A key of the caller's choice: a repeat of the request with the same key is answered as the first one was, for a
    /// day. Without an `event_id` the event gets one that is made of the key.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 255), extend("x-in" = "header"))]
    idempotency_key: Option<String>,
    /// With `respond-async` the runs are accepted, and executed later.
    #[serde(rename = "Prefer", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    prefer: Option<String>,
}

impl Parameters for EventParameters {}

impl EventParameters {
    /// That the runs are executed later, if they are.
    fn later(&self, not_before: Option<String>) -> Result<Option<Asynchronously>, Error> {
        asynchronously(self.prefer.as_deref(), not_before)
    }
}

/// What came of an event.
pub(crate) enum EventAnswer {
    Now(FiredEvent),
    /// An answer that was given before.
    Again(Replayed),
}

impl Answer for EventAnswer {
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::ACCEPTED];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<EventDocument<'static>>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        match self {
            Self::Now(event) => json(status(&event), &event.document()),
            Self::Again(replayed) => replayed.into_response(),
        }
    }
}

fn status(event: &FiredEvent) -> StatusCode {
    if event.is_accepted() { StatusCode::ACCEPTED } else { StatusCode::OK }
}

impl Keep for EventAnswer {
    // Why: what was fired is known by the event's id, and is not fired again.
    const IS_RESUMABLE: bool = true;

    fn again(replayed: Replayed) -> Self {
        Self::Again(replayed)
    }

    fn kept_form(context: &Context, answer: &Result<Self, Error>) -> Result<Option<KeptAnswer>, Error> {
        let event = match answer {
            Ok(Self::Now(event)) if !event.is_open() => event,
            // Why: a repeat fires what could not be fired, or everything where nothing was.
            Ok(_) | Err(_) => return Ok(None),
        };
        let internal = |_| Error::plain(Code::Internal);
        let body = serde_json::to_string(&event.document()).map_err(internal)?;
        let at_most = context.engine().limits().idempotency_answer_bytes;
        let body = if body.len() as u64 > at_most {
            serde_json::to_string(&event.document_without_outputs()).map_err(internal)?
        } else {
            body
        };
        Ok(Some(KeptAnswer { status: status(event).as_u16(), location: None, body }))
    }
}

/// What a key is bound to. Why also to what the token is limited to: what of an event was fired is not told to one that
/// may not fire it.
#[derive(Serialize)]
#[serde(untagged)]
enum Bound {
    Body(EventBody),
    Limited(EventBody, String),
}

pub(crate) async fn fire(
    context: Context,
    how: EventParameters,
    Typed(body): Typed<EventBody>,
) -> Result<EventAnswer, Error> {
    let later = how.later(body.not_before.clone())?;
    let tenant = context.tenant().await?;
    let key = how.idempotency_key;
    let made_id = key.as_deref().map(event_id);
    let limits = context.caller()?.limits_text();
    let bound = key.as_ref().map(|_| match limits {
        None => Bound::Body(body.clone()),
        Some(limits) => Bound::Limited(body.clone(), limits),
    });
    let (at, of) = (&context, &tenant);
    once(at, of, key, &bound, |_| fire_once(at, of, body, made_id, later)).await
}

/// Fires an event; `made_id` is its id if its caller gave none.
async fn fire_once(
    context: &Context,
    tenant: &Tenant,
    body: EventBody,
    made_id: Option<String>,
    later: Option<Asynchronously>,
) -> Result<EventAnswer, Error> {
    let wish = FireEvent {
        event_id: body.event_id.or(made_id),
        entity_name: body.entity_name,
        event_name: body.event_name,
        event_optype: body.event_optype,
        event_stage: body.event_stage,
        source: body.source,
        later,
        commitment: context.commitment.clone(),
    };
    events::fire(context.engine(), context.caller()?, tenant, wish).await.map(EventAnswer::Now)
}
