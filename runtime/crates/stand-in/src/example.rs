//! The Salesforce example: a definition as a platform admin uploads it, and an automation that uses it.

use serde_json::{Value, json};

/// The definition.
pub const SALESFORCE: &str = include_str!("salesforce.json");

/// An automation that maps an event to the definition's action.
#[must_use]
pub fn automation() -> Value {
    json!({
        "entity_name": "contact", "event_name": "contact.created", "event_type": "external.connector",
        "event_stage": "after", "event_optype": "create", "enabled": true,
        "destination_config": {
            "connector_id": "salesforce", "action_id": "create-contact",
            "field_mapping": { "Email": "{{source.email}}" },
        },
    })
}
