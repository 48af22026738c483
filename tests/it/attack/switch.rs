//! The kill switches of the product, used while a call waits for an upstream that never responds: the call
//! ends at once, and the ledger has the reason.

use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::{Script, Tenant, World, until};

const KEY: &str = "sk-live-0123456789abcdef";

#[derive(Debug, Clone, Copy)]
enum Switch {
    ConnectorOff,
    OptOut,
    CredentialGone,
    ListTighter,
}

impl Switch {
    async fn throw(self, world: &World, acme: &Tenant) {
        match self {
            Self::ConnectorOff => {
                let off = json!({ "enabled": false });
                world.platform.patch("/admin/connector/salesforce", &off).await.is(200);
            }
            Self::OptOut => {
                acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
            }
            Self::CredentialGone => {
                acme.workspace.delete(&acme.setting("salesforce")).await.is(204);
            }
            Self::ListTighter => acme.allow(json!(["api.hubapi.com"]), "enforce").await,
        }
    }
}

/// Starts a call, waits until it waits for the upstream, and uses the switch.
async fn ends(switch: Switch, code: Code) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    world.upstream.script("/v1/contacts", Script::Silence);
    let run = acme.run.clone();
    let call = tokio::spawn(async move {
        let body = json!({ "input": { "Email": "ada@example.org" } });
        run.post("/run/acme/main/connector/salesforce/create-contact", &body).await
    });
    until("the call hangs at the upstream", async || world.upstream.received().len() == 2).await;
    assert_eq!(acme.ledger().await[0]["phase"], "begin", "the attempt is open");
    let thrown = Instant::now();
    switch.throw(&world, &acme).await;
    let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
    assert!(thrown.elapsed() < Duration::from_secs(2), "{switch:?}");
    let answer = answer.unwrap_or_else(|_| panic!("{switch:?} left the call running")).unwrap();
    let answer = answer.problem(code);
    assert_eq!(answer.json["run"]["status"].as_str(), Some("refused"), "{}", answer.text);
    until("the ledger has closed the attempt", async || acme.ledger().await[0]["phase"] == "complete").await;
    let entry = &acme.ledger().await[0];
    assert_eq!(entry["code"], code.as_str(), "{entry}");
    assert_eq!(entry["run_id"], answer.json["run"]["run_id"], "{entry}");
    assert_eq!(entry["status"], Value::Null, "{entry}");
    let before = world.before().await;
    let after = acme.create_contact().await;
    assert_ne!(after.json["status"], "succeeded", "{switch:?}: {}", after.text);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_connector_switched_off_ends_its_call() {
    ends(Switch::ConnectorOff, Code::ConnectorDisabled).await;
}

#[tokio::test]
async fn a_workspace_that_opts_out_ends_its_call() {
    ends(Switch::OptOut, Code::CallEnded).await;
}

#[tokio::test]
async fn a_deleted_credential_ends_its_call() {
    ends(Switch::CredentialGone, Code::CallEnded).await;
}

#[tokio::test]
async fn a_tighter_list_ends_its_call() {
    ends(Switch::ListTighter, Code::HostNotInOrg).await;
}

#[tokio::test]
async fn a_file_in_the_place_of_the_ledger_stops_everything_that_would_leave() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let ledger = world.data_dir().join("ledger/acme");
    if ledger.exists() {
        std::fs::remove_dir_all(&ledger).unwrap();
    }
    std::fs::write(&ledger, b"in the way").unwrap();
    let before = world.before().await;
    acme.create_contact().await.problem(Code::LedgerUnavailable);
    // A refusal that cannot be recorded is not reported as a refusal.
    acme.allow(json!([]), "enforce").await;
    acme.create_contact().await.problem(Code::LedgerUnavailable);
    world.assert_nothing_looked_up(&before).await;
    acme.allow(json!([]), "report").await;
    std::fs::remove_file(&ledger).unwrap();
    acme.create_contact().await.is(200);
}
