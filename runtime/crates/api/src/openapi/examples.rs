//! Examples of request bodies. The integration tests send each of them and must get a 2xx.

use serde_json::Value;

/// Examples by operation.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("createConnector", include_str!("../../../stand-in/src/salesforce.json")),
    ("replaceConnector", include_str!("../../../stand-in/src/salesforce.json")),
    ("validateConnector", include_str!("../../../stand-in/src/salesforce.json")),
    ("patchConnector", r#"{ "enabled": false }"#),
    ("importConnector", include_str!("../../examples/importConnector.json")),
    ("createOrg", r#"{ "org": "acme", "display_name": "Acme" }"#),
    ("createWorkspace", r#"{ "workspace": "main", "display_name": "Main" }"#),
    ("createToken", r#"{ "role": "run", "org": "acme", "label": "automations" }"#),
    ("setIntegrations", r#"{ "domain_allowlist": ["*.salesforce.com"], "mode": "enforce" }"#),
    ("createAutomation", include_str!("../../examples/createAutomation.json")),
    ("replaceAutomation", include_str!("../../examples/createAutomation.json")),
    ("saveConnection", r#"{ "enabled": true, "config": { "api_key": "a-key-of-the-workspace" } }"#),
    ("runAction", r#"{ "input": { "Email": "ada@example.com" } }"#),
    ("fireAutomation", r#"{ "source": { "email": "ada@example.com" } }"#),
    ("rerunRun", r#"{ "definition": "same" }"#),
    ("redriveRuns", r#"{ "status": "dead", "connector_id": "salesforce", "reason": "deadline" }"#),
];

/// The example of an operation.
pub(super) fn of(operation: &str) -> Option<Value> {
    let (_, text) = EXAMPLES.iter().find(|(name, _)| *name == operation)?;
    serde_json::from_str(text).ok()
}
