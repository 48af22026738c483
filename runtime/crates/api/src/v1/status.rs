//! Liveness, readiness, and the API's description. Open to all; they say nothing about tenants.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_engine::Error;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use crate::answer::{Answer, Content, JSON, Json, json};
use crate::openapi;
use crate::request::{Context, NoParameters};

/// Shows that the process is alive.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// Version of the product.
    version: &'static str,
}

/// Whether the process can serve.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether it can serve.
    ready: bool,
    /// Whether the store answers.
    store: bool,
    /// Whether the process is stopping.
    draining: bool,
}

impl Answer for Readiness {
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::SERVICE_UNAVAILABLE];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<Self>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json(status, &self)
    }
}

/// The OpenAPI document itself.
pub(crate) struct Document;

impl Answer for Document {
    fn content(_: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(schemars::json_schema!({ "type": "object", "additionalProperties": true })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(StatusCode::OK, openapi::document())
    }
}

pub(crate) async fn healthz(_: Context, _: NoParameters, (): ()) -> Result<Json<Health>, Error> {
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn readyz(context: Context, _: NoParameters, (): ()) -> Result<Readiness, Error> {
    let draining = context.api.is_draining();
    let store = context.engine().store_answers().await;
    Ok(Readiness { ready: store && !draining, store, draining })
}

pub(crate) async fn openapi(_: Context, _: NoParameters, (): ()) -> Result<Document, Error> {
    Ok(Document)
}
