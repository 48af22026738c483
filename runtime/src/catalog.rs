//! The catalog: definitions that ship with the product, listed and looked up.

use portcullis_connectors::CATALOG;
use serde_json::{Value, json};

/// The definition of that id, as it would be uploaded.
#[must_use]
pub fn definition(id: &str) -> Option<Value> {
    let (_, text) = CATALOG.iter().find(|(own, _)| *own == id)?;
    serde_json::from_str(text).ok()
}

/// What a list tells of each entry, in order of the ids.
#[must_use]
pub fn entries() -> Vec<Value> {
    CATALOG.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).map(|d| entry(&d)).collect()
}

fn entry(definition: &Value) -> Value {
    let names = |pointer: &str, member: &str| -> Vec<Value> {
        let list = definition.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|item| item.get(member).cloned()).collect()
    };
    let mut auth_types = vec![definition["auth_type"].clone()];
    auth_types.extend(names("/auth_methods", "auth_type"));
    auth_types.dedup();
    json!({
        "connector_id": definition["connector_id"], "display_name": definition["display_name"],
        "version": definition["version"], "description": definition["description"],
        "categories": definition["categories"], "docs_url": definition["docs_url"],
        "auth_types": auth_types, "actions": names("/actions", "action_id"),
        "allowed_domains": definition["allowed_domains"],
    })
}
