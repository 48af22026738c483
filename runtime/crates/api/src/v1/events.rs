//! `/run/{org}/{ws}/event`: fires every automation that is bound to an event.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::automations::{EventOptype, EventStage};
use portcullis_engine::events::{self, EventDocument, FireEvent, FiredEvent};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Answer, Content, JSON, json};
use crate::request::{Context, Parameters, Typed};

/// What happened.
#[derive(Deserialize, JsonSchema)]
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
}

/// Options of an event. One that decides whether and how often something is sent must not be ignored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventParameters {
    /// Not implemented for events: a request with it is refused. `event_id` does the same.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 255), extend("x-in" = "header"))]
    idempotency_key: Option<String>,
    /// `respond-async` is not implemented in this version: a request with it is refused.
    #[serde(rename = "Prefer", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    prefer: Option<String>,
}

impl Parameters for EventParameters {}

impl EventParameters {
    fn check(&self) -> Result<(), Error> {
        if self.prefer.as_ref().is_some_and(|prefer| prefer.contains("respond-async")) {
            let detail = "Prefer: respond-async is not implemented in this version";
            return Err(Error::new(Code::BadRequest, detail));
        }
        if self.idempotency_key.is_some() {
            let detail = "Idempotency-Key is not implemented for events; send event_id";
            return Err(Error::new(Code::BadRequest, detail));
        }
        Ok(())
    }
}

/// What came of an event.
pub(crate) struct EventAnswer(FiredEvent);

impl Answer for EventAnswer {
    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<EventDocument<'static>>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(StatusCode::OK, &self.0.document())
    }
}

pub(crate) async fn fire(
    context: Context,
    how: EventParameters,
    Typed(body): Typed<EventBody>,
) -> Result<EventAnswer, Error> {
    how.check()?;
    let tenant = context.tenant().await?;
    let wish = FireEvent {
        event_id: body.event_id,
        entity_name: body.entity_name,
        event_name: body.event_name,
        event_optype: body.event_optype,
        event_stage: body.event_stage,
        source: body.source,
        commitment: context.commitment.clone(),
    };
    events::fire(context.engine(), context.caller()?, &tenant, wish).await.map(EventAnswer)
}
