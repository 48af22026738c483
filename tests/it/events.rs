//! Events: what fires for which, what is told when some calls fail, and deliveries that come again.

use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, Stage, Tenant, World};

mod cut_off;
mod firing;
mod keys;
mod later;
mod repeats;

const KEY: &str = "sk-live-0123456789abcdef";
/// Where the Salesforce example's action goes.
const PATH: &str = "/v1/contacts";
/// The route of the first tenant.
const EVENT: &str = "/run/acme/main/event";

/// The Salesforce example, connected.
async fn connected() -> (World, Tenant) {
    connected_on(Stage::default()).await
}

async fn connected_on(stage: Stage) -> (World, Tenant) {
    let (world, acme) = World::salesforce_on(stage).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

/// Saves an automation of the Salesforce example with other members; returns its id.
async fn bind(tenant: &Tenant, members: Value) -> String {
    let mut automation = contact_automation();
    crate::support::lay(&mut automation, &members);
    let path = format!("/org/{}/automation", tenant.org_id);
    let answer = tenant.org.post(&path, &automation).await.is(201);
    answer.json["automation_id"].as_str().unwrap().to_owned()
}

/// An automation that sends this text as `Email`.
fn sending(email: &str) -> Value {
    json!({ "destination_config": { "field_mapping": { "Email": email } } })
}

/// The event of the Salesforce example's automation.
fn contact_created(event_id: Option<&str>) -> Value {
    let mut event = json!({
        "entity_name": "contact", "event_name": "contact.created", "event_optype": "create",
        "source": { "email": "ada@example.org" },
    });
    if let Some(id) = event_id {
        event["event_id"] = json!(id);
    }
    event
}

async fn send(tenant: &Tenant, event: &Value) -> Answer {
    tenant.run.post(&format!("/run/{}/{}/event", tenant.org_id, tenant.workspace_id), event).await
}

/// A member of each entry, in order.
fn each<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let entries = answer.json["data"].as_array().unwrap();
    entries.iter().map(|entry| entry[name].as_str().unwrap_or("none")).collect()
}

/// The entry of an automation.
fn of<'a>(answer: &'a Answer, automation: &str) -> &'a Value {
    let entries = answer.json["data"].as_array().unwrap();
    entries.iter().find(|entry| entry["automation_id"] == automation).unwrap()
}

/// The same in order. Why: ids that were made in one millisecond have none.
fn sorted(mut texts: Vec<&str>) -> Vec<&str> {
    texts.sort_unstable();
    texts
}
