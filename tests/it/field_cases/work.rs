//! Work that a tenant, an upstream or a definition could cause without bound.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, Tenant, World};

mod conditions;
mod definitions;
mod matching;
mod templates;
mod violations;

const KEY: &str = "sk-live-0123456789abcdef";

/// Waits for an answer. Why a limit: what is tried here once took minutes, or for ever.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), answer).await.expect("it takes too long")
}

/// The Salesforce example, connected.
async fn scene() -> (World, Tenant) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

/// An automation with this mapping, for the Salesforce example's action.
fn mapping(mapping: Value) -> Value {
    let mut automation = contact_automation();
    automation["destination_config"]["field_mapping"] = mapping;
    automation.as_object_mut().unwrap().remove("entry_conditions");
    automation
}

/// An automation with these conditions.
fn conditions(conditions: Value) -> Value {
    let mut automation = mapping(json!({ "Email": "{{source.email|default:'a@b.example'}}" }));
    automation["entry_conditions"] = conditions;
    automation
}

async fn save(acme: &Tenant, automation: &Value) -> Answer {
    soon(acme.org.post("/org/acme/automation", automation)).await
}

/// Saves an automation; returns its id.
async fn saved(acme: &Tenant, automation: &Value) -> String {
    let answer = save(acme, automation).await.is(201);
    answer.json["automation_id"].as_str().unwrap().to_owned()
}

/// What `validate` says of a definition: the codes of its errors with their pointers, and their messages.
async fn validated(world: &World, definition: &Value) -> (Vec<(String, String)>, String) {
    let answer = soon(world.platform.post("/admin/connector/validate", definition)).await.is(200);
    assert!(answer.text.len() < 300_000, "the answer has {} bytes", answer.text.len());
    let text = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
    let errors = answer.json["errors"].as_array().unwrap();
    let found = errors.iter().map(|e| (text(e, "code"), text(e, "pointer"))).collect();
    (found, errors.iter().map(|e| text(e, "message")).collect::<Vec<_>>().join("\n"))
}

/// A definition with these actions, each with its id and the members that every action needs.
fn definition(actions: Vec<Value>) -> Value {
    let actions: Vec<Value> = actions
        .into_iter()
        .enumerate()
        .map(|(n, mut action)| {
            let members = action.as_object_mut().unwrap();
            members.entry("action_id").or_insert(json!(format!("a{n}")));
            members.entry("http_method").or_insert(json!("POST"));
            members.entry("url_template").or_insert(json!("https://api.salesforce.com/v1/act"));
            action
        })
        .collect();
    json!({
        "connector_id": "tried", "display_name": "T", "auth_type": "none", "actions": actions,
        "allowed_domains": ["*.salesforce.com"],
    })
}
