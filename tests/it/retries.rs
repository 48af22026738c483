//! What happens after an action's request was sent, through the whole product: which failures are
//! retried, how a vendor recognizes a repeat, how waits end, budgets, lists, discovery.

use serde_json::{Value, json};

use crate::support::{Stage, Tenant, World, lay};

mod budgets;
mod discovery;
mod lists;
mod table;
mod waiting;

/// The connector of these tests, and the path of its only action, `act`.
const ID: &str = "saas";
const PATH: &str = "/v1/act";

/// A connector with one action; `more` is merged into the action, `top` into the definition.
fn definition(method: &str, more: &Value, top: &Value) -> Value {
    let mut action = json!({
        "action_id": "act", "http_method": method,
        "url_template": format!("https://api.salesforce.com{PATH}"),
        "retry": { "base_ms": 1 },
    });
    lay(&mut action, more);
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "actions": [action],
    });
    lay(&mut definition, top);
    definition
}

async fn connect(tenant: &Tenant) {
    tenant.connect(ID, json!({ "api_key": "sk-live-0123456789abcdef" })).await;
}

/// A world with that connector, connected.
async fn connected(definition: &Value) -> (World, Tenant) {
    connected_on(Stage::default(), definition).await
}

async fn connected_on(mut stage: Stage, definition: &Value) -> (World, Tenant) {
    // Why: the table's cells fail one after the other.
    stage.limits.breaker_failures = 10_000;
    let world = stage.start().await;
    world.platform.post("/admin/connector", definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    connect(&acme).await;
    (world, acme)
}
