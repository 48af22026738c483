//! Previews of automations, and the samples that are kept with them: what would happen, and that nothing does.

use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, Tenant, World, lay};

mod samples;
mod shown;

const KEY: &str = "sk-live-0123456789abcdef";
/// The route of an automation that is not saved.
const DRAFT: &str = "/org/acme/automation/preview";

/// The Salesforce example, connected.
async fn connected() -> (World, Tenant) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

/// The automation of the Salesforce example with other members.
fn automation(members: &Value) -> Value {
    let mut automation = contact_automation();
    lay(&mut automation, members);
    automation
}

/// The same with a mapping of its own.
fn mapping(mapping: Value) -> Value {
    let mut automation = contact_automation();
    automation["destination_config"]["field_mapping"] = mapping;
    automation
}

/// Saves an automation; returns its id.
async fn saved(acme: &Tenant, automation: &Value) -> String {
    let answer = acme.org.post("/org/acme/automation", automation).await.is(201);
    answer.json["automation_id"].as_str().unwrap().to_owned()
}

/// Previews a saved automation.
async fn preview(acme: &Tenant, id: &str, body: &Value) -> Answer {
    acme.org.post(&format!("/org/acme/automation/{id}/preview"), body).await
}
