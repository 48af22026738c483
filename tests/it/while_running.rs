//! Something that is switched off while a call runs ends that call, and no other.

use portcullis_core::fault::Code;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{Answer, Client, SALESFORCE, Script, Tenant, World, until};

const KEY: &str = "sk-live-0123456789abcdef";

fn start(run: &Client, org: &str) -> JoinHandle<Answer> {
    let (run, org) = (run.clone(), org.to_owned());
    tokio::spawn(async move {
        let body = json!({ "input": { "Email": "ada@example.org" } });
        run.post(&format!("/run/{org}/main/connector/salesforce/create-contact"), &body).await
    })
}

/// Two orgs, each with a call that waits for an upstream that never answers.
async fn waiting() -> (World, [Tenant; 2], [JoinHandle<Answer>; 2]) {
    let (world, acme) = World::salesforce().await;
    let globex = world.tenant("globex", "main").await;
    for tenant in [&acme, &globex] {
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
    }
    world.upstream.script("/v1/contacts", Script::Silence);
    let calls = [start(&acme.run, "acme"), start(&globex.run, "globex")];
    until("both calls have arrived", async || world.upstream.received().len() == 2).await;
    (world, [acme, globex], calls)
}

/// The call ended with this code, and the ledger has it too.
async fn assert_ended(call: JoinHandle<Answer>, tenant: &Tenant, code: Code) {
    let answer = call.await.unwrap().problem(code);
    assert_eq!(answer.json["run"]["code"], code.as_str());
    until("the ledger has closed the attempt", async || tenant.ledger().await[0]["code"] == code.as_str())
        .await;
    let verified = tenant.org.get(&format!("/org/{}/outbound/verify", tenant.org_id)).await.is(200);
    assert_eq!(verified.json["intact"], true);
}

#[tokio::test]
async fn the_kill_switch_ends_every_running_call_of_the_connector() {
    let (world, [acme, globex], [first, second]) = waiting().await;
    let off = json!({ "enabled": false });
    world.platform.patch("/admin/connector/salesforce", &off).await.is(200);
    assert_ended(first, &acme, Code::ConnectorDisabled).await;
    assert_ended(second, &globex, Code::ConnectorDisabled).await;
}

#[tokio::test]
async fn opting_out_ends_the_workspaces_running_call_and_no_other() {
    let (_world, [acme, globex], [first, second]) = waiting().await;
    acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
    assert_ended(first, &acme, Code::CallEnded).await;
    assert!(!second.is_finished(), "another workspace's call runs on");
    assert_eq!(globex.ledger().await[0]["phase"], "begin");
}

#[tokio::test]
async fn a_tighter_list_ends_the_orgs_running_call_and_a_list_that_still_holds_does_not() {
    let (_world, [acme, globex], [first, second]) = waiting().await;
    globex.allow(json!(["*.salesforce.com"]), "enforce").await;
    globex.allow(json!([]), "report").await;
    acme.allow(json!(["api.hubapi.com"]), "enforce").await;
    assert_ended(first, &acme, Code::HostNotInOrg).await;
    assert!(!second.is_finished(), "a list that still holds ends nothing");
}

#[tokio::test]
async fn a_deleted_connector_ends_its_running_calls() {
    let (world, [acme, _globex], [first, _second]) = waiting().await;
    world.platform.delete("/admin/connector/salesforce?force=true").await.is(204);
    assert_ended(first, &acme, Code::ConnectorDisabled).await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
}
