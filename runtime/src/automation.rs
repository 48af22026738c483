//! What an automation points at, read from its stored document.

use portcullis_action::predicate::Predicate;
use serde_json::{Map, Value};

/// The destination of an automation.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// Connector.
    pub connector_id: &'a str,
    /// Action.
    pub action_id: &'a str,
    /// Input name to template.
    pub field_mapping: Option<&'a Map<String, Value>>,
}

impl<'a> Destination<'a> {
    /// The destination in an automation's document; empty where the document has none.
    #[must_use]
    pub fn of(document: &'a Value) -> Self {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self {
            connector_id: text("/destination_config/connector_id"),
            action_id: text("/destination_config/action_id"),
            field_mapping: document.pointer("/destination_config/field_mapping").and_then(Value::as_object),
        }
    }
}

/// Whether the automation's `entry_conditions`, if it has any, hold for a source document.
#[must_use]
pub fn conditions_hold(document: &Value, source: &Value) -> bool {
    match document.get("entry_conditions") {
        None | Some(Value::Null) => true,
        // Why false: a condition that cannot be read must not fire anything.
        Some(conditions) => Predicate::parse(conditions).is_ok_and(|p| p.holds(source)),
    }
}

/// Whether the automation is switched on.
#[must_use]
pub fn is_enabled(document: &Value) -> bool {
    document.get("enabled").and_then(Value::as_bool).unwrap_or(true)
}
