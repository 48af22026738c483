//! Calls beside changes, callers that leave, and answers at the border of what is read.

use serde_json::{Value, json};

use crate::support::token_server::{TOKEN, TokenServer};
use crate::support::{PUBLIC, Stage, Tenant, World};

mod answers;
mod beside;
mod later;
mod leaving;
mod lists;
mod vendors_wishes;

/// The connector of these tests, its action `act` and the path of it.
pub(super) const ID: &str = "saas";
pub(super) const PATH: &str = "/v1/act";
pub(super) const KEY: &str = "sk-live-0123456789abcdef";

/// A connector with one read; `more` is merged into the action, `top` into the definition.
pub(super) fn definition(more: &Value, top: &Value) -> Value {
    let mut action = json!({
        "action_id": "act", "http_method": "GET",
        "url_template": format!("https://api.salesforce.com{PATH}"),
        "retry": { "base_ms": 1 },
    });
    lay(&mut action, more);
    let url = format!("https://api.salesforce.com{PATH}");
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "actions": [action],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url } },
    });
    lay(&mut definition, top);
    definition
}

/// Sets the members of one object in another.
fn lay(below: &mut Value, above: &Value) {
    for (name, value) in above.as_object().unwrap() {
        below[name] = value.clone();
    }
}

/// A world with that connector, connected.
async fn connected_on(stage: Stage, definition: &Value) -> (World, Tenant) {
    let world = stage.start().await;
    world.platform.post("/admin/connector", definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "api_key": KEY })).await;
    (world, acme)
}

pub(super) async fn connected(definition: &Value) -> (World, Tenant) {
    connected_on(Stage::default(), definition).await
}

/// A world in which that connector's calls need a token of these credentials, and the server that gives it.
async fn with_tokens(client_id: &str) -> (World, Tenant, TokenServer) {
    let fields =
        ["client_id", "client_secret"].map(|n| json!({ "name": n, "type": "password", "required": true }));
    let top = json!({
        "auth_type": "oauth2_client_credentials",
        "auth": { "token_url": format!("https://login.salesforce.com{TOKEN}") },
        "auth_schema": { "fields": fields },
    });
    let definition = definition(&json!({ "url_template": "https://api.salesforce.com/v1/things" }), &top);
    let world = World::start().await;
    world.names.tell("login.salesforce.com", &[PUBLIC]);
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "client_id": client_id, "client_secret": KEY })).await;
    let server = TokenServer::on(&world.upstream);
    (world, acme, server)
}
