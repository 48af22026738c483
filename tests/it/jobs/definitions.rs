//! Runs that are made again with the definition of then, as far as the definition of now allows it.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, KEY, PATH, Scene, accept, definition, ended, path, quick};
use crate::support::{Answer, Tenant};

async fn rerun(tenant: &Tenant, run: &str, definition: &str) -> Answer {
    tenant.run.post(&format!("{}/rerun", path(tenant, run)), &json!({ "definition": definition })).await
}

/// A definition whose requests say which version they are of.
fn versioned(version: &str, more: &Value) -> Value {
    let mut action = json!({ "headers": { "x-version": version } });
    crate::support::lay(&mut action, more);
    definition(&action)
}

async fn replace(scene: &Scene, definition: &Value) {
    scene.world.platform.put(&format!("/admin/connector/{ID}"), definition).await.is(200);
}

/// The versions of all requests.
fn versions(scene: &Scene) -> Vec<String> {
    let all = scene.world.upstream.received_on(PATH);
    all.iter().map(|one| one.header("x-version").join(",")).collect()
}

#[tokio::test]
async fn the_same_definition_is_the_one_of_the_run_and_the_newest_the_one_in_force() {
    let scene = Scene::working(quick(), &versioned("1", &json!({}))).await;
    let acme = &scene.acme;
    let run = accept(acme, "first").await;
    assert_eq!(ended(acme, &run).await["revision"], 1);
    let with_more = json!({ "body_schema": [{ "name": "note", "required": true }, { "name": "more", "required": true }] });
    replace(&scene, &versioned("2", &with_more)).await;
    let same = rerun(acme, &run, "same").await.is(202);
    let same = same.json["run_id"].as_str().unwrap().to_owned();
    let end = ended(acme, &same).await;
    assert_eq!((&end["status"], &end["revision"]), (&json!("succeeded"), &json!(1)));
    rerun(acme, &run, "newest").await.problem(Code::InputInvalid);
    replace(&scene, &versioned("3", &json!({}))).await;
    let newest = rerun(acme, &run, "newest").await.is(202);
    assert_eq!(ended(acme, newest.json["run_id"].as_str().unwrap()).await["revision"], 3);
    let again = rerun(acme, &same, "same").await.is(202);
    assert_eq!(
        ended(acme, again.json["run_id"].as_str().unwrap()).await["revision"],
        1,
        "as the run that it repeats"
    );
    assert_eq!(versions(&scene), ["1", "1", "3", "1"]);
}

#[tokio::test]
async fn an_old_definition_leads_nowhere_where_the_one_in_force_does_not() {
    let scene = Scene::working(quick(), &versioned("1", &json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let run = accept(acme, "first").await;
    ended(acme, &run).await;
    for (changed, why) in [
        (json!({ "url_template": "https://api.salesforce.com/v2/act" }), "another path"),
        (json!({ "url_template": "https://other.salesforce.com/v1/act" }), "another host"),
        (json!({ "http_method": "PUT" }), "another method"),
        (json!({ "action_id": "renamed" }), "another id"),
    ] {
        replace(&scene, &versioned("2", &changed)).await;
        let answer = rerun(acme, &run, "same").await;
        let code = if why == "another id" { Code::ActionNotFound } else { Code::DefinitionChanged };
        assert_eq!(answer.json["code"], code.as_str(), "{why}: {}", answer.text);
    }
    let mut elsewhere = versioned("2", &json!({ "url_template": "https://api.example.com/v1/act" }));
    elsewhere["allowed_domains"] = json!(["*.example.com"]);
    replace(&scene, &elsewhere).await;
    rerun(acme, &run, "same").await.problem(Code::DefinitionChanged);
    let mut shared = versioned("2", &json!({}));
    shared["default_headers"] = json!({ "x-shared": "2" });
    replace(&scene, &shared).await;
    let told = rerun(acme, &run, "same").await.problem(Code::DefinitionChanged);
    assert!(told.text.contains("newest"), "what can be done is told: {}", told.text);
    // What counts from now: the kill switch, the org's list, and opting out.
    replace(&scene, &versioned("2", &json!({}))).await;
    let end_of = async || {
        let again = rerun(acme, &run, "same").await.is(202);
        ended(acme, again.json["run_id"].as_str().unwrap()).await
    };
    world.platform.patch(&format!("/admin/connector/{ID}"), &json!({ "enabled": false })).await.is(200);
    assert_eq!(end_of().await["reason"], "connector_disabled");
    world.platform.patch(&format!("/admin/connector/{ID}"), &json!({ "enabled": true })).await.is(200);
    let list = json!({ "domain_allowlist": ["api.elsewhere.com"], "mode": "enforce" });
    acme.org.put("/org/acme/settings/integrations", &list).await.is(200);
    assert_eq!(end_of().await["code"], "host_not_in_org");
    acme.org.put("/org/acme/settings/integrations", &json!({ "domain_allowlist": null })).await.is(200);
    acme.workspace.put(&acme.setting(ID), &json!({ "enabled": false })).await.is(200);
    assert_eq!(end_of().await["reason"], "opted_out");
    acme.connect(ID, json!({ "api_key": KEY })).await;
    assert_eq!(versions(&scene), ["1"]);
    assert_eq!(end_of().await["status"], "succeeded");
    assert_eq!(versions(&scene), ["1", "1"]);
}

#[tokio::test]
async fn a_definition_that_changes_before_the_run_is_executed_ends_it() {
    let scene = Scene::new(quick(), &versioned("1", &json!({}))).await;
    let acme = &scene.acme;
    let run = accept(acme, "first").await;
    acme.run.write("POST", &format!("{}/cancel", path(acme, &run)), "").await.is(200);
    replace(&scene, &versioned("2", &json!({}))).await;
    let again = rerun(acme, &run, "same").await.is(202);
    let moved = json!({ "url_template": "https://api.salesforce.com/v2/act" });
    replace(&scene, &versioned("3", &moved)).await;
    scene.world.engine.start_jobs();
    let end = ended(acme, again.json["run_id"].as_str().unwrap()).await;
    assert_eq!((&end["status"], &end["code"]), (&json!("failed"), &json!("definition_changed")));
    assert!(scene.world.upstream.received_on(PATH).is_empty());
}

#[tokio::test]
async fn a_connector_that_was_deleted_and_made_again_has_no_revision_of_then() {
    let scene = Scene::working(quick(), &versioned("1", &json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    replace(&scene, &versioned("2", &json!({}))).await;
    let run = accept(acme, "first").await;
    assert_eq!(ended(acme, &run).await["revision"], 2);
    world.platform.delete(&format!("/admin/connector/{ID}?force=true")).await.is(204);
    world.platform.post("/admin/connector", &versioned("9", &json!({}))).await.is(201);
    acme.connect(ID, json!({ "api_key": KEY })).await;
    for version in ["10", "11"] {
        replace(&scene, &versioned(version, &json!({}))).await;
        rerun(acme, &run, "same").await.problem(Code::DefinitionChanged);
    }
}
