//! What takes long is computed apart: no task computes for long at a time, the kill switch, `/healthz` and SIGTERM
//! answer whatever the rest does, and what is too large for a guest is told so.

mod guest_memory;
mod kill_switch;
mod kill_switch_process;
mod polls;
mod polls_of_answers;
mod watch;

use serde_json::{Value, json};

/// The connector of these tests.
const ID: &str = "saas";
const KEY: &str = "sk-live-0123456789abcdef+/=";
const MIB: usize = 1024 * 1024;

/// A connector whose actions have these members beside their ids.
fn definition(actions: Vec<(&str, Value)>) -> Value {
    let actions: Vec<Value> = actions
        .into_iter()
        .map(|(id, mut action)| {
            action["action_id"] = json!(id);
            action
        })
        .collect();
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "actions": actions,
    })
}

/// An action that sends its inputs as JSON.
fn post(path: &str, inputs: &[(&str, &str)]) -> Value {
    let inputs: Vec<Value> =
        inputs.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
    json!({
        "http_method": "POST", "url_template": format!("https://api.salesforce.com{path}"),
        "body_schema": inputs,
    })
}

fn get(path: &str) -> Value {
    json!({ "http_method": "GET", "url_template": format!("https://api.salesforce.com{path}") })
}
