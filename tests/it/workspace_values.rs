//! Values of a workspace: who sets them, and what mappings and conditions make of them.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Stage, Tenant, World, lay, until};

const KEY: &str = "sk-live-0123456789abcdef";
const MAIN: &str = "/workspace/acme/main/settings/values";
const SIDE: &str = "/workspace/acme/side/settings/values";
const DRAFT: &str = "/org/acme/automation/preview";

/// Two connected workspaces of one org.
async fn two() -> (World, Tenant, Tenant) {
    let (world, acme) = World::salesforce().await;
    let side = world.tenant("acme", "side").await;
    for tenant in [&acme, &side] {
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
    }
    (world, acme, side)
}

/// An automation that sends this as `Email`, with other members.
fn sending(email: &str, members: &Value) -> Value {
    let mut automation = contact_automation();
    automation["destination_config"]["field_mapping"] = json!({ "Email": email });
    lay(&mut automation, members);
    automation
}

async fn saved(acme: &Tenant, automation: &Value) -> String {
    let answer = acme.org.post("/org/acme/automation", automation).await.is(201);
    answer.json["automation_id"].as_str().unwrap().to_owned()
}

async fn set(tenant: &Tenant, path: &str, values: Value) {
    tenant.workspace.put(path, &json!({ "values": values })).await.is(200);
}

#[tokio::test]
async fn a_workspace_or_its_org_sets_values_and_nobody_else_sees_them() {
    let limits = Limits { concurrent_calls: 32, workspace_values: 3, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    world.tenant("acme", "side").await;
    let none = acme.workspace.get(MAIN).await.is(200).json;
    assert_eq!((&none["values"], &none["updated_at"]), (&json!({}), &Value::Null));
    let values = json!({ "pipeline_id": "7", "owner": 42, "live": true });
    set(&acme, MAIN, values.clone()).await;
    let shown = acme.org.get(MAIN).await.is(200).json;
    assert!(shown["values"] == values && shown["updated_at"].is_string(), "{shown}");
    acme.org.put(SIDE, &json!({ "values": { "pipeline_id": "8" } })).await.is(200);
    assert_eq!(acme.workspace.get(MAIN).await.is(200).json["values"], values, "each has its own");
    acme.workspace.get(SIDE).await.problem(Code::WorkspaceNotFound);
    acme.workspace.put(SIDE, &json!({ "values": {} })).await.problem(Code::WorkspaceNotFound);
    for (stranger, path) in [(&acme.run, MAIN), (&world.platform, MAIN)] {
        stranger.get(path).await.problem(Code::RoleNotAllowed);
        stranger.put(path, &json!({ "values": {} })).await.problem(Code::RoleNotAllowed);
    }
    for (bad, pointer, rule) in [
        (json!({ "a.b": 1 }), "/values/a.b", "wrong_form"),
        (json!({ "a": null }), "/values/a", "wrong_type"),
        (json!({ "a": 1, "b": 1, "c": 1, "d": 1 }), "/values", "too_many"),
        (json!({ "a": "x".repeat(20_000) }), "/values", "too_long"),
    ] {
        let refused = acme.workspace.put(MAIN, &json!({ "values": bad })).await;
        assert_eq!(refused.problem(Code::ValidationFailed).violations(), [(pointer, rule)]);
    }
    set(&acme, MAIN, json!({ "owner": 1 })).await;
    assert_eq!(acme.workspace.get(MAIN).await.is(200).json["values"], json!({ "owner": 1 }), "all of them");
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    let anew = world.platform.post("/admin/org/acme/workspace", &json!({ "workspace": "main" })).await;
    anew.is(201);
    assert_eq!(acme.org.get(MAIN).await.is(200).json["values"], json!({}), "a later one starts empty");
}

#[tokio::test]
async fn one_mapping_sends_each_workspace_s_own_value() {
    let (world, acme, side) = two().await;
    let email = "{{org.id}}.{{workspace.id}}.{{workspace.values.pipeline_id}}@example.org";
    let id = saved(&acme, &sending(email, &json!({}))).await;
    set(&acme, MAIN, json!({ "pipeline_id": 7 })).await;
    acme.org.put(SIDE, &json!({ "values": { "pipeline_id": "{{source.email}}" } })).await.is(200);
    acme.fire(&id, json!({ "email": "x" })).await.is(200);
    side.fire(&id, json!({ "email": "x" })).await.is(200);
    set(&acme, MAIN, json!({ "pipeline_id": 9 })).await;
    acme.fire(&id, json!({})).await.is(200);
    let sent: Vec<String> =
        world.upstream.received_on("/v1/contacts").iter().map(|one| one.text().to_owned()).collect();
    assert_eq!(
        sent,
        [
            r#"{"Email":"acme.main.7@example.org"}"#,
            r#"{"Email":"acme.side.{{source.email}}@example.org"}"#,
            r#"{"Email":"acme.main.9@example.org"}"#,
        ],
        "a value is never read as a template"
    );
    set(&acme, MAIN, json!({})).await;
    let before = world.before().await;
    let missing = acme.fire(&id, json!({})).await.problem(Code::InputInvalid);
    assert_eq!(missing.violations(), [("", "missing_workspace_value")]);
    assert!(missing.messages().contains("workspace.values.pipeline_id"), "{}", missing.text);
    world.assert_nothing_left(&before).await;
    let wrong = sending("{{workspace.pipeline_id}}", &json!({}));
    let refused = acme.org.post("/org/acme/automation", &wrong).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations()[0].1, "template_invalid");
    assert!(refused.messages().contains("workspace.values.<name>"), "{}", refused.text);
}

#[tokio::test]
async fn a_condition_compares_with_what_the_workspace_set() {
    let (world, acme, side) = two().await;
    let conditions = json!({ "entry_conditions": { "path": "/team", "eq": "{{workspace.values.team}}" } });
    let id = saved(&acme, &sending("{{source.email}}", &conditions)).await;
    set(&acme, MAIN, json!({ "team": "blue" })).await;
    let source = json!({ "team": "blue", "email": "ada@example.org" });
    assert_eq!(acme.fire(&id, source.clone()).await.is(200).json["status"], "succeeded");
    let skipped = side.fire(&id, source.clone()).await.is(200).json;
    assert_eq!((&skipped["status"], &skipped["reason"]), (&json!("skipped"), &json!("condition_false")));
    assert_eq!(world.upstream.received_on("/v1/contacts").len(), 1);
    let mut draft = json!({ "automation": sending("{{source.email}}", &conditions), "source": source, "workspace": "main" });
    let here = acme.org.post(DRAFT, &draft).await.is(200).json;
    assert_eq!((&here["fires"], &here["conditions"][0]["verdict"]), (&json!(true), &json!("holds")));
    draft.as_object_mut().unwrap().remove("workspace");
    let nowhere = acme.org.post(DRAFT, &draft).await.is(200).json;
    assert_eq!(nowhere["conditions"][0]["verdict"], "needs_workspace");
}

#[tokio::test]
async fn a_preview_shows_the_values_of_its_workspace_or_their_names() {
    let (_world, acme, _side) = two().await;
    set(&acme, MAIN, json!({ "list": "l-1" })).await;
    let automation = sending("{{workspace.values.list}}@{{workspace.id}}.org", &json!({ "sample": {} }));
    let saved = acme.org.post("/org/acme/automation", &automation).await.is(201);
    assert_eq!(saved.json["warnings"], Value::Null, "what a workspace will set is no fault of the sample");
    let body = json!({ "automation": automation, "source": {}, "workspace": "main" });
    let here = acme.org.post(DRAFT, &body).await.is(200).json;
    assert_eq!(here["input"]["Email"], "l-1@main.org");
    assert_eq!(here["request"]["body"]["Email"], "l-1@main.org");
    let body = json!({ "automation": automation, "source": {} });
    let nowhere = acme.org.post(DRAFT, &body).await.is(200).json;
    let named = "<workspace value list>@<workspace id>.org";
    assert_eq!(
        (&nowhere["input"]["Email"], &nowhere["request"]["body"]["Email"]),
        (&json!(named), &json!(named))
    );
}

#[tokio::test]
async fn an_accepted_run_has_the_values_of_its_acceptance() {
    let (world, acme, _side) = two().await;
    let id = saved(&acme, &sending("{{workspace.values.list}}", &json!({}))).await;
    set(&acme, MAIN, json!({ "list": "first" })).await;
    let path = format!("/run/acme/main/automation/{id}");
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let body = json!({ "source": {} }).to_string().into_bytes();
    acme.run.send("POST", &path, &headers, body).await.is(202);
    set(&acme, MAIN, json!({ "list": "second" })).await;
    world.engine.start_jobs();
    until("it was sent", async || world.upstream.received_on("/v1/contacts").len() == 1).await;
    assert_eq!(world.upstream.received_on("/v1/contacts")[0].text(), r#"{"Email":"first"}"#);
}
