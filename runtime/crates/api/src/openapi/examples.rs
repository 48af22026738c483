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
    ("setOrgLimits", r#"{ "calls_in_flight": 20, "calls_per_minute": 6000, "stored_bytes": 10737418240 }"#),
    ("createToken", r#"{ "role": "run", "org": "acme", "label": "automations" }"#),
    ("setRetention", r#"{ "runs_days": 90, "input_days": 7 }"#),
    ("setPlatformRetention", r#"{ "runs_days": 365, "ledger_days": 730, "ledger_days_min": 30 }"#),
    ("setIntegrations", r#"{ "domain_allowlist": ["*.salesforce.com"], "mode": "enforce" }"#),
    ("patchIntegrations", r#"{ "action_rules": [{ "effects": ["delete"], "verdict": "block" }] }"#),
    ("createAutomation", include_str!("../../examples/createAutomation.json")),
    ("replaceAutomation", include_str!("../../examples/createAutomation.json")),
    ("previewAutomation", r#"{ "source": { "email": "ada@example.com" } }"#),
    ("previewDraft", include_str!("../../examples/previewDraft.json")),
    ("saveConnection", r#"{ "enabled": true, "config": { "api_key": "a-key-of-the-workspace" } }"#),
    ("createConnectSession", r#"{ "connector_id": "salesforce", "expires_in": 3600 }"#),
    (
        "setConnectSettings",
        r#"{ "return_urls": ["https://app.example.com/settings"], "title": "Acme", "color": "1f5fbf" }"#,
    ),
    ("patchConnection", r#"{ "config": { "api_key": "another-key-of-the-workspace" } }"#),
    (
        "saveNamedConnection",
        r#"{ "label": "Sales team", "enabled": true, "config": { "api_key": "a-key-of-the-sales-team" } }"#,
    ),
    ("patchNamedConnection", r#"{ "label": "Sales, north" }"#),
    (
        "saveOrgWebhook",
        r#"{ "url": "https://hooks.example.com/portcullis", "events": ["connection.*", "run.dead"] }"#,
    ),
    ("savePlatformWebhook", r#"{ "url": "https://hooks.example.com/portcullis", "events": ["*"] }"#),
    ("saveOrgOauthClient", r#"{ "client_id": "id-of-the-app", "client_secret": "secret-of-the-app" }"#),
    ("savePlatformOauthClient", r#"{ "client_id": "id-of-the-app", "client_secret": "secret-of-the-app" }"#),
    ("setWorkspaceValues", r#"{ "values": { "pipeline_id": "7", "owner_id": 42, "live": true } }"#),
    ("runAction", r#"{ "input": { "Email": "ada@example.com" } }"#),
    ("fireAutomation", r#"{ "source": { "email": "ada@example.com" } }"#),
    ("fireEvent", include_str!("../../examples/fireEvent.json")),
    ("rerunRun", r#"{ "definition": "same" }"#),
    ("rotateMasterKey", r#"{ "key_id": "33d8ae75ad8ce6d4" }"#),
    ("redriveRuns", r#"{ "status": "dead", "connector_id": "salesforce", "reason": "deadline" }"#),
];

/// The example of an operation.
pub(super) fn of(operation: &str) -> Option<Value> {
    let (_, text) = EXAMPLES.iter().find(|(name, _)| *name == operation)?;
    serde_json::from_str(text).ok()
}
