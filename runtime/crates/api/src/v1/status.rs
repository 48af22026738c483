//! Liveness, readiness, and the API's description. Open to all; they say nothing about tenants.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_engine::{Error, StorageHealth};
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
    /// Whether records can be read and written.
    store: bool,
    /// Whether the changes of other nodes are known here; true where one process has the store alone. A node for which they
    /// are not makes no calls.
    changes: bool,
    /// Whether the outbound ledgers can be written.
    ledger: bool,
    /// Whether records of runs can be written.
    runs: bool,
    /// Whether the anchor file can be written; true where none is configured.
    anchor: bool,
    /// Whether every org's ledger is intact, as far as is known. One that is not stops that org's calls alone.
    ledger_intact: bool,
    /// Whether this process has the master key that wraps new keys; see `GET /admin/key`.
    master_key: bool,
    /// Whether the process is stopping.
    draining: bool,
    /// Log lines that could not be written since the start, because their reader was too slow or their disk full.
    log_lines_lost: u64,
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
    let health = context.engine().storage_health().await;
    let StorageHealth { store, changes, ledger, runs, anchor, ledger_intact, master_key } = health;
    let ready = store && changes && ledger && runs && anchor && master_key && !draining;
    let log_lines_lost = context.api.log_lines_lost();
    Ok(Readiness {
        ready,
        store,
        changes,
        ledger,
        runs,
        anchor,
        ledger_intact,
        master_key,
        draining,
        log_lines_lost,
    })
}

pub(crate) async fn openapi(_: Context, _: NoParameters, (): ()) -> Result<Document, Error> {
    Ok(Document)
}
