//! Alive, ready, and what the API is. Open to all; they tell nothing about tenants.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;

use super::context::{Ctx, ok, reply};
use super::openapi;
use crate::problem::Problem;

/// The process is alive.
pub(super) async fn healthz(_: Ctx) -> Result<Response<Body>, Problem> {
    Ok(ok(&json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}

/// The process can serve.
pub(super) async fn readyz(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let draining = ctx.app.draining.load(Ordering::SeqCst);
    let store = ctx.app.records.store().stats().await.is_ok();
    let ready = store && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(reply(status, &json!({ "ready": ready, "store": store, "draining": draining })))
}

/// The OpenAPI document.
pub(super) async fn openapi(_: Ctx) -> Result<Response<Body>, Problem> {
    Ok(ok(&openapi::document()))
}
