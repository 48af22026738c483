//! What is taken away when nothing needs it any more.

use portcullis_core::limits::Limits;
use portcullis_engine::growth;
use serde_json::{Value, json};

use crate::support::{Stage, World};

/// Numbers of a connector's revisions.
async fn revisions(world: &World) -> Vec<u64> {
    let page = world.platform.get("/admin/connector/salesforce/revisions?limit=100").await.is(200);
    page.json["data"].as_array().unwrap().iter().map(|one| one["revision"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn old_revisions_go_and_those_that_an_accepted_run_names_stay() {
    let limits = Limits { concurrent_calls: 32, definition_revisions: 3, ..Limits::default() };
    let (world, tenant) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    tenant.connect("salesforce", json!({ "api_key": "sk-live-0123456789abcdef" })).await;
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let later = [("prefer", "respond-async"), ("content-type", "application/json")];
    let input = json!({ "input": { "Email": "ada@example.com" } }).to_string().into_bytes();
    // No worker runs here, so it stays as it was accepted, with the first revision.
    let accepted = tenant.run.send("POST", path, &later, input).await.is(202);
    for n in 0..8 {
        let change = json!({ "description": format!("Change {n}.") });
        world.platform.patch("/admin/connector/salesforce", &change).await.is(200);
    }
    assert_eq!(revisions(&world).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(growth::sweep(&world.engine).await.unwrap().revisions, 4);
    assert_eq!(revisions(&world).await, [1, 6, 7, 8, 9]);
    assert_eq!(growth::sweep(&world.engine).await.unwrap().revisions, 0, "there is nothing more to drop");
    let gone = world.platform.get("/admin/connector/salesforce/revisions/2").await.is(404);
    assert_eq!(gone.json["code"], "not_found");
    world.platform.get("/admin/connector/salesforce/revisions/1").await.is(200);
    // What names it goes, and then it goes.
    drop(accepted);
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    assert_eq!(growth::sweep(&world.engine).await.unwrap().revisions, 1);
    assert_eq!(revisions(&world).await, [6, 7, 8, 9]);
    world.platform.delete("/admin/connector/salesforce").await.is(204);
    assert_eq!(growth::sweep(&world.engine).await.unwrap().revisions, 4, "those of a connector that is gone");
}

/// Keys of records that hold this text, in their key or in their value, besides those of the audit log.
async fn mentioning(world: &World, text: &str) -> Vec<String> {
    let store = world.engine.records().store();
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.list("", after.as_deref(), 1000).await.unwrap();
        let Some((last, _)) = page.last() else { return found };
        after = Some(last.clone());
        let holds = |value: &[u8]| value.windows(text.len()).any(|part| part == text.as_bytes());
        let named = page.iter().filter(|(key, one)| key.contains(text) || holds(&one.value));
        found.extend(named.map(|(key, _)| key.clone()).filter(|key| !key.starts_with("audit")));
    }
}

#[tokio::test]
async fn a_deleted_workspace_and_a_deleted_org_leave_their_ledger_and_their_audit_log_alone() {
    let world = World::start().await;
    world.platform.write("POST", "/admin/connector", crate::support::SALESFORCE).await.is(201);
    let tenant = world.tenant("vanishing", "main").await;
    tenant.connect("salesforce", json!({ "api_key": "sk-live-0123456789abcdef" })).await;
    tenant.automation().await;
    tenant.create_contact().await.is(200);
    let later = [("prefer", "respond-async"), ("content-type", "application/json")];
    let input = json!({ "input": { "Email": "ada@example.com" } }).to_string().into_bytes();
    let path = "/run/vanishing/main/connector/salesforce/create-contact";
    tenant.run.send("POST", path, &later, input).await.is(202);
    let values = json!({ "values": { "owner_id": 42 } });
    tenant.workspace.put("/workspace/vanishing/main/settings/values", &values).await.is(200);
    tenant
        .org
        .put("/org/vanishing/settings/integrations", &json!({ "domain_allowlist": null }))
        .await
        .is(200);
    world.platform.put("/admin/org/vanishing/limits", &json!({ "calls_in_flight": 5 })).await.is(200);
    assert!(mentioning(&world, "vanishing").await.len() > 10);
    world.platform.delete("/admin/org/vanishing/workspace/main").await.is(204);
    world.platform.delete("/admin/org/vanishing").await.is(204);
    growth::sweep(&world.engine).await.unwrap();
    assert_eq!(mentioning(&world, "vanishing").await, Vec::<String>::new());
    let log = world.platform.get("/admin/audit?org=vanishing&limit=1").await.is(200);
    assert_eq!(log.json["data"].as_array().map(Vec::len), Some(1), "{}", Value::from(log.text));
}
