//! Automated config values: requested once, with the saved credential.

use portcullis_core::fault::Code;
use serde_json::json;

use super::{ID, PATH, connect, connected, definition};
use crate::support::{PUBLIC, Script, Tenant, World};

/// A connector whose host is discovered.
async fn unknown_host() -> (World, Tenant) {
    let top = json!({
        "config_fields": [{ "name": "dc", "automated": true }],
        "discover": [{
            "request": { "action_id": "find", "http_method": "GET",
                         "url_template": "https://login.salesforce.com/metadata" },
            "capture": { "dc": "/sites/0/dc" },
        }],
    });
    let more = json!({ "url_template": format!("https://{{{{config.dc}}}}.salesforce.com{PATH}") });
    let (world, acme) = connected(&definition("GET", &more, &top)).await;
    world.names.tell("login.salesforce.com", &[PUBLIC]);
    world.upstream.script("/metadata", Script::Json(200, r#"{"sites":[{"dc":"api"}]}"#));
    (world, acme)
}

#[tokio::test]
async fn an_automated_field_is_filled_once_and_anew_with_another_credential() {
    let (world, acme) = unknown_host().await;
    for _ in 0..3 {
        acme.call(ID, "act", json!({})).await.is(200);
    }
    assert_eq!(world.upstream.received_on("/metadata").len(), 1);
    let sent = world.upstream.received_on(PATH);
    assert!(sent.len() == 3 && sent.iter().all(|r| r.header("host") == ["api.salesforce.com"]));
    let found = &world.upstream.received_on("/metadata")[0];
    assert_eq!(found.header("authorization"), ["Bearer sk-live-0123456789abcdef"]);
    let setting = acme.workspace.get(&acme.setting(ID)).await.is(200);
    assert_eq!(setting.json["fields"]["dc"], json!({ "set": true }));
    connect(&acme).await;
    acme.call(ID, "act", json!({})).await.is(200);
    assert_eq!(world.upstream.received_on("/metadata").len(), 2);
}

#[tokio::test]
async fn a_value_that_cannot_be_found_stops_the_run_that_needs_it_and_is_looked_for_again() {
    let (world, acme) = unknown_host().await;
    for (answer, looked) in [
        (Script::Json(200, r#"{"sites":[]}"#), 1),
        (Script::Json(403, "{}"), 2),
        (Script::Json(200, r#"{"sites":[{"dc":"example-evil.com/"}]}"#), 3),
    ] {
        world.upstream.script("/metadata", answer);
        acme.call(ID, "act", json!({})).await.problem(Code::CredentialNeedsAttention);
        assert_eq!(world.upstream.received_on("/metadata").len(), looked);
        assert!(world.upstream.received_on(PATH).is_empty());
    }
    connect(&acme).await;
    world.upstream.script("/metadata", Script::Json(200, r#"{"sites":[{"dc":"api"}]}"#));
    acme.call(ID, "act", json!({})).await.is(200);
}
