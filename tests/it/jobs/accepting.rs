//! What is checked before a run is accepted, and what the answer says.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, PATH, Scene, accept, definition, ended, path, quick, send_later, until_status};
use crate::support::{Answer, Script, Tenant};

#[tokio::test]
async fn an_accepted_run_is_queued_under_its_own_path_and_executed_by_a_worker() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let answer = send_later(acme, &json!({ "input": { "note": "one" } })).await.is(202);
    let run = answer.json["run_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(path(acme, run).as_str()));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    assert_eq!((&answer.json["status"], &answer.json["tries"]), (&json!("queued"), &json!(0)));
    let read = acme.run.get(&path(acme, run)).await.is(200);
    assert_eq!((&read.json["status"], &read.json["action_id"]), (&json!("queued"), &json!("act")));
    assert!(read.json["next_try_at"].is_string() && !read.text.contains("one"), "{}", read.text);
    assert!(scene.world.upstream.received_on(PATH).is_empty(), "nobody executes it yet");
    scene.world.engine.start_jobs();
    let end = ended(acme, run).await;
    assert_eq!((&end["status"], &end["tries"]), (&json!("succeeded"), &json!(1)));
    let received = scene.world.upstream.received_on(PATH);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].text(), r#"{"note":"one"}"#);
    let listed = acme.run.get("/run/acme/main").await.is(200);
    assert_eq!(listed.json["data"][0]["run_id"], run, "its record is among the others");
}

#[tokio::test]
async fn what_a_caller_can_mend_is_refused_before_anything_is_stored() {
    let limits = Limits { job_input_bytes: 200, ..quick() };
    let scene = Scene::new(limits, &definition(&json!({}))).await;
    let acme = &scene.acme;
    let before = scene.world.before().await;
    for (body, code) in [
        (json!({ "input": {} }), Code::InputInvalid),
        (json!({ "input": { "note": 1, "extra": 2 } }), Code::InputInvalid),
        (json!({ "input": { "note": "n".repeat(300) } }), Code::BodyTooLarge),
        (json!({ "input": { "note": "a" }, "not_before": "tomorrow" }), Code::ValidationFailed),
        (json!({ "input": { "note": "a" }, "not_before": "2999-01-01T00:00:00Z" }), Code::ValidationFailed),
    ] {
        send_later(acme, &body).await.problem(code);
    }
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    for (tail, code) in [("none/act", Code::ConnectorNotFound), ("saas/none", Code::ActionNotFound)] {
        let path = format!("/run/acme/main/connector/{tail}");
        acme.run.send("POST", &path, &headers, b"{}".to_vec()).await.problem(code);
    }
    let call = format!("/run/acme/main/connector/{ID}/act");
    let now = json!({ "input": { "note": "a" }, "not_before": "2026-01-01T00:00:00Z" });
    acme.run.post(&call, &now).await.problem(Code::ValidationFailed);
    scene.world.assert_untouched(&before).await;
    send_later(acme, &json!({ "input": { "note": "a" } })).await.is(202);
}

#[tokio::test]
async fn a_workspace_has_only_so_many_runs_that_have_not_ended() {
    let limits = Limits { workspace_open_jobs: 2, ..quick() };
    let scene = Scene::new(limits, &definition(&json!({}))).await;
    let acme = &scene.acme;
    let first = accept(acme, "one").await;
    accept(acme, "two").await;
    let before = scene.world.before().await;
    let third = json!({ "input": { "note": "three" } });
    let refused = send_later(acme, &third).await.problem(Code::WorkspaceBusy);
    assert!(refused.text.contains("limits.workspace_open_jobs"), "{}", refused.text);
    scene.world.assert_untouched(&before).await;
    acme.run.write("POST", &format!("{}/cancel", path(acme, &first)), "").await.is(200);
    send_later(acme, &third).await.is(202);
}

#[tokio::test]
async fn a_workspace_keeps_only_so_many_bytes_of_inputs() {
    let limits = Limits { workspace_job_bytes: 10_000, ..quick() };
    let scene = Scene::new(limits, &definition(&json!({}))).await;
    let acme = &scene.acme;
    let long = "x".repeat(4000);
    let first = accept(acme, &long).await;
    accept(acme, &long).await;
    let before = scene.world.before().await;
    let third = json!({ "input": { "note": long } });
    let refused = send_later(acme, &third).await.problem(Code::WorkspaceBusy);
    assert!(refused.text.contains("limits.workspace_job_bytes"), "{}", refused.text);
    scene.world.assert_untouched(&before).await;
    accept(acme, "short").await;
    let side = scene.world.tenant("acme", "side").await;
    side.connect(ID, json!({ "api_key": super::KEY })).await;
    send_later(&side, &third).await.is(202);
    acme.run.write("POST", &format!("{}/cancel", path(acme, &first)), "").await.is(200);
    send_later(acme, &third).await.problem(Code::WorkspaceBusy);
    let jobs = super::sweeping::jobs(&scene);
    portcullis_store::Jobs::erase(&jobs, &super::sweeping::name(&first)).await.unwrap();
    send_later(acme, &third).await.is(202);
}

#[tokio::test]
async fn a_dry_run_is_answered_at_once_whatever_is_preferred() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let before = scene.world.before().await;
    let path = format!("/run/acme/main/connector/{ID}/act?dry_run=true");
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let body = json!({ "input": { "note": "a" } }).to_string().into_bytes();
    let answer = scene.acme.run.send("POST", &path, &headers, body).await.is(200);
    assert_eq!(answer.json["dry_run"], true);
    scene.world.assert_nothing_left(&before).await;
}

#[tokio::test]
async fn an_automation_is_mapped_when_it_is_accepted_and_one_that_does_not_fire_is_skipped_at_once() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let (kept, deleted) = (automation(acme).await, automation(acme).await);
    let skipped = fire(acme, &kept, json!({ "stage": "lost", "text": "a" })).await.is(200);
    assert_eq!(skipped.json["reason"], "condition_false");
    fire(acme, &kept, json!({ "stage": "won" })).await.problem(Code::InputInvalid);
    let first = fire(acme, &kept, json!({ "stage": "won", "text": "then" })).await.is(202);
    let second = fire(acme, &deleted, json!({ "stage": "won", "text": "never" })).await.is(202);
    acme.org.delete(&format!("/org/acme/automation/{deleted}")).await.is(204);
    scene.world.engine.start_jobs();
    let run = |answer: &Answer| answer.json["run_id"].as_str().unwrap().to_owned();
    let end = ended(acme, &run(&first)).await;
    assert_eq!((&end["status"], &end["automation_id"]), (&json!("succeeded"), &json!(kept)));
    let end = ended(acme, &run(&second)).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("cancelled"), &json!("automation_deleted")));
    let received = scene.world.upstream.received_on(PATH);
    assert_eq!((received.len(), received[0].text()), (1, r#"{"note":"then"}"#));
}

/// An automation that fires for what is won.
async fn automation(acme: &Tenant) -> String {
    let automation = json!({
        "entity_name": "contact", "event_name": "created",
        "entry_conditions": [{ "path": "/stage", "eq": "won" }],
        "destination_config": {
            "connector_id": ID, "action_id": "act", "field_mapping": { "note": "{{source.text}}" },
        },
    });
    let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
    made.json["automation_id"].as_str().unwrap().to_owned()
}

/// Fires an automation, whose call is executed later.
async fn fire(acme: &Tenant, automation: &str, source: Value) -> Answer {
    let path = format!("/run/acme/main/automation/{automation}");
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let body = json!({ "source": source }).to_string().into_bytes();
    acme.run.send("POST", &path, &headers, body).await
}

#[tokio::test]
async fn a_run_of_the_future_waits_for_its_time() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let soon = portcullis_engine::clock::after(std::time::Duration::from_secs(3));
    let far = portcullis_engine::clock::after(std::time::Duration::from_secs(3600));
    let sent = async |at: &str| {
        let answer = send_later(acme, &json!({ "input": { "note": at }, "not_before": at })).await.is(202);
        assert_eq!(answer.json["not_before"], at);
        answer.json["run_id"].as_str().unwrap().to_owned()
    };
    let (later, never) = (sent(&soon).await, sent(&far).await);
    assert_eq!(ended(acme, &later).await["status"], "succeeded");
    assert!(portcullis_engine::clock::has_passed(&soon), "and not before");
    assert_eq!(acme.run.get(&path(acme, &never)).await.is(200).json["status"], "queued");
}

#[tokio::test]
async fn an_accepted_run_outlives_the_token_of_its_caller_and_not_its_workspace() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let first = accept(acme, "kept").await;
    let other = world.tenant("acme", "side").await;
    other.connect(ID, json!({ "api_key": super::KEY })).await;
    accept(&other, "never").await;
    let tokens = world.platform.get("/admin/token?limit=100").await.is(200);
    for token in tokens.json["data"].as_array().unwrap() {
        if token["role"] == "run" && token["workspace"] == "main" {
            let path = format!("/admin/token/{}", token["token_id"].as_str().unwrap());
            world.platform.delete(&path).await.is(204);
        }
    }
    world.platform.delete("/admin/org/acme/workspace/side").await.is(204);
    acme.run.get(&path(acme, &first)).await.problem(Code::Unauthorized);
    world.engine.start_jobs();
    let read = super::at_end(&acme.workspace, &path(acme, &first)).await;
    assert_eq!(read["status"], "succeeded");
    let texts: Vec<_> = world.upstream.received_on(PATH).iter().map(|one| one.text().to_owned()).collect();
    assert_eq!(texts, [r#"{"note":"kept"}"#]);
}

#[tokio::test]
async fn a_reader_who_waits_is_answered_at_the_end_and_one_who_does_not_at_once() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let answer = Box::new(Script::Json(200, "{}"));
    world.upstream.script(PATH, Script::Held(std::sync::Arc::clone(&held), answer));
    let run = accept(acme, "slow").await;
    until_status(acme, &run, "running").await;
    let waiting = {
        let (client, path) = (acme.run.clone(), path(acme, &run));
        tokio::spawn(async move { super::at_end(&client, &path).await })
    };
    let read = acme.run.get(&path(acme, &run)).await.is(200);
    assert_eq!((&read.json["status"], &read.json["tries"]), (&json!("running"), &json!(1)));
    acme.run.get(&format!("{}?wait=31", path(acme, &run))).await.problem(Code::BadRequest);
    held.add_permits(1);
    assert_eq!(waiting.await.unwrap()["status"], "succeeded");
}
