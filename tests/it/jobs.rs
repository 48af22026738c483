//! Runs that are accepted now and executed later: by workers, again after failures, and after a restart.

use std::sync::Arc;

use portcullis_core::limits::Limits;
use portcullis_store::{MemoryStore, Store};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Stage, Tenant, World, lay, until};

mod accepting;
mod acting;
mod amplifying;
mod definitions;
mod feed;
mod keys;
mod listing;
mod ordering;
mod repeats;
mod restarts;
mod sharing;
mod sweeping;
mod working;

const ID: &str = "saas";
const PATH: &str = "/v1/act";
const KEY: &str = "sk-live-0123456789abcdef";

/// A connector with one action, `act`; `more` is merged into the action.
fn definition(more: &Value) -> Value {
    let mut action = json!({
        "action_id": "act", "http_method": "POST",
        "url_template": format!("https://api.salesforce.com{PATH}"),
        "body_schema": [{ "name": "note", "required": true }],
    });
    lay(&mut action, more);
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "actions": [action],
    })
}

/// The same, whose vendor knows repeats by a key.
fn keyed() -> Value {
    definition(&json!({ "idempotency": { "in": "header", "name": "Idempotency-Key" } }))
}

/// Limits with which nothing waits for long.
pub(crate) fn quick() -> Limits {
    Limits {
        concurrent_calls: 32,
        job_retry_base_ms: 1,
        job_return_spacing_ms: 1,
        job_retry_spare_ms: 1,
        job_lease_ms: 200,
        ..Limits::default()
    }
}

/// A world in which accepted runs wait until workers are started, and its store.
struct Scene {
    world: World,
    acme: Tenant,
    store: Arc<dyn Store>,
}

impl Scene {
    async fn new(limits: Limits, definition: &Value) -> Self {
        Self::on(Arc::new(MemoryStore::new()), limits, definition).await
    }

    /// The same on this store.
    async fn on(store: Arc<dyn Store>, limits: Limits, definition: &Value) -> Self {
        let stage = Stage { limits, store: Some(Arc::clone(&store)), ..Stage::default() };
        let world = stage.start().await;
        world.platform.post("/admin/connector", definition).await.is(201);
        let acme = world.tenant("acme", "main").await;
        acme.connect(ID, json!({ "api_key": KEY })).await;
        Self { world, acme, store }
    }

    /// The same with workers.
    async fn working(limits: Limits, definition: &Value) -> Self {
        let scene = Self::new(limits, definition).await;
        scene.world.engine.start_jobs();
        scene
    }
}

/// Sends a call that is executed later.
async fn send_later(tenant: &Tenant, body: &Value) -> Answer {
    let path = format!("/run/{}/{}/connector/{ID}/act", tenant.org_id, tenant.workspace_id);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    tenant.run.send("POST", &path, &headers, body.to_string().into_bytes()).await
}

/// Has a call accepted; returns the run's id.
async fn accept(tenant: &Tenant, note: &str) -> String {
    let answer = send_later(tenant, &json!({ "input": { "note": note } })).await.is(202);
    answer.json["run_id"].as_str().unwrap().to_owned()
}

fn path(tenant: &Tenant, run: &str) -> String {
    format!("/run/{}/{}/{run}", tenant.org_id, tenant.workspace_id)
}

/// The run when it has ended.
async fn ended(tenant: &Tenant, run: &str) -> Value {
    at_end(&tenant.run, &path(tenant, run)).await
}

async fn at_end(client: &Client, path: &str) -> Value {
    let answer = client.get(&format!("{path}?wait=30")).await.is(200);
    assert!(answer.json["created_at"].is_string(), "it has not ended: {}", answer.text);
    answer.json
}

/// Waits until the run has this status.
async fn until_status(tenant: &Tenant, run: &str, status: &str) -> Value {
    let read = async || tenant.run.get(&path(tenant, run)).await.is(200).json;
    until(&format!("the run is {status}"), async || read().await["status"] == status).await;
    read().await
}
