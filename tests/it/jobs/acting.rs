//! Cancelling runs, running them again, and taking up those that were given up.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::sweeping::given_up;
use super::{ID, PATH, Scene, accept, definition, ended, keyed, path, quick, until_status};
use crate::support::shared_store::SharedStore;
use crate::support::{Script, Tenant};

async fn cancel(tenant: &Tenant, run: &str) -> Value {
    tenant.run.write("POST", &format!("{}/cancel", path(tenant, run)), "").await.is(200).json
}

#[tokio::test]
async fn a_queued_run_is_cancelled_and_never_sent() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let (first, second) = (accept(acme, "first").await, accept(acme, "second").await);
    let end = cancel(acme, &first).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(cancel(acme, &first).await["status"], "cancelled", "a second time changes nothing");
    scene.world.engine.start_jobs();
    assert_eq!(ended(acme, &second).await["status"], "succeeded");
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
    assert_eq!(cancel(acme, &second).await["status"], "succeeded", "what has ended stays");
    acme.run.write("POST", "/run/acme/main/run_none/cancel", "").await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_running_run_is_ended_where_it_is() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    scene.world.upstream.script(PATH, Script::Silence);
    let run = accept(&scene.acme, "long").await;
    until_status(&scene.acme, &run, "running").await;
    cancel(&scene.acme, &run).await;
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["code"]), (&json!("cancelled"), &json!("call_ended")));
    assert_eq!(scene.world.engine.active_calls(), 0);
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_is_prepared_is_not_sent() {
    let store = SharedStore::new();
    let scene = Scene::on(Arc::clone(&store) as _, quick(), &definition(&json!({}))).await;
    let run = accept(&scene.acme, "late").await;
    let (prepared, go_on) = store.delay_read(format!("job_input/acme/main/{run}/00000"));
    scene.world.engine.start_jobs();
    prepared.await.unwrap();
    assert_eq!(cancel(&scene.acme, &run).await["status"], "running", "it is told");
    go_on.send(()).unwrap();
    assert_eq!(ended(&scene.acme, &run).await["status"], "cancelled");
    assert!(scene.world.upstream.received_on(PATH).is_empty());
}

async fn rerun(tenant: &Tenant, run: &str, definition: &str) -> crate::support::Answer {
    let path = format!("/run/{}/{}/{run}/rerun", tenant.org_id, tenant.workspace_id);
    tenant.run.post(&path, &json!({ "definition": definition })).await
}

#[tokio::test]
async fn a_rerun_is_a_new_run_with_the_same_input_and_another_key() {
    let scene = Scene::working(quick(), &keyed()).await;
    let acme = &scene.acme;
    let run = accept(acme, "twice").await;
    ended(acme, &run).await;
    let again = rerun(acme, &run, "same").await.is(202);
    assert_eq!(again.json["rerun_of"], run.as_str());
    let second = again.json["run_id"].as_str().unwrap();
    assert_eq!(ended(acme, second).await["status"], "succeeded");
    let received = scene.world.upstream.received_on(PATH);
    assert_eq!((received[0].text(), received[0].text()), (r#"{"note":"twice"}"#, received[1].text()));
    assert_ne!(received[0].header("idempotency-key"), received[1].header("idempotency-key"));
    rerun(acme, "run_none", "same").await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_rerun_of_an_automation_s_run_maps_its_source_as_then_or_as_now() {
    let scene = Scene::working(quick(), &keyed()).await;
    let acme = &scene.acme;
    let automation = |mapping: &str| {
        json!({
            "entity_name": "contact", "event_name": "created", "destination_config": {
                "connector_id": ID, "action_id": "act", "field_mapping": { "note": mapping },
            },
        })
    };
    let made = acme.org.post("/org/acme/automation", &automation("old {{source.x}}")).await.is(201);
    let id = made.json["automation_id"].as_str().unwrap();
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let call = format!("/run/acme/main/automation/{id}");
    let body = json!({ "source": { "x": "1" } }).to_string().into_bytes();
    let answer = acme.run.send("POST", &call, &headers, body).await.is(202);
    let run = answer.json["run_id"].as_str().unwrap().to_owned();
    ended(acme, &run).await;
    acme.org.put(&format!("/org/acme/automation/{id}"), &automation("new {{source.x}}")).await.is(200);
    for (definition, expected) in [("same", r#"{"note":"old 1"}"#), ("newest", r#"{"note":"new 1"}"#)] {
        let again = rerun(acme, &run, definition).await.is(202);
        ended(acme, again.json["run_id"].as_str().unwrap()).await;
        assert_eq!(scene.world.upstream.received_on(PATH).pop().unwrap().text(), expected);
    }
}

#[tokio::test]
async fn a_sensitive_input_is_erased_at_the_end_and_cannot_be_run_again() {
    let secret = json!({ "body_schema": [{ "name": "note", "required": true, "sensitive": true }] });
    let scene = Scene::new(quick(), &definition(&secret)).await;
    let acme = &scene.acme;
    let run = accept(acme, "whisper").await;
    rerun(acme, &run, "same").await.problem(Code::InUse);
    scene.world.engine.start_jobs();
    ended(acme, &run).await;
    rerun(acme, &run, "same").await.problem(Code::InputNotKept);
    let waited = acme.call(ID, "act", json!({ "note": "now" })).await.is(200);
    let waited = waited.json["run_id"].as_str().unwrap();
    rerun(acme, waited, "same").await.problem(Code::InputNotKept);
}

async fn redrive(tenant: &Tenant, wish: Value) -> u64 {
    tenant.org.post("/org/acme/run/redrive", &wish).await.is(200).json["count"].as_u64().unwrap()
}

#[tokio::test]
async fn what_was_given_up_or_skipped_is_taken_up_again_with_the_key_it_had() {
    let limits = Limits { job_deadline_hours: 1, ..quick() };
    let scene = Scene::working(limits, &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let asks = b"HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    world.upstream.script(PATH, Script::Kept(asks));
    let dead = accept(acme, "dead").await;
    assert_eq!(ended(acme, &dead).await["status"], "dead");
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    let skipped = accept(acme, "skipped").await;
    assert_eq!(ended(acme, &skipped).await["status"], "skipped");
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    world.upstream.script(PATH, Script::Json(200, "{}"));
    for none in [
        json!({ "connector_id": "other" }),
        json!({ "code": "connect_failed" }),
        json!({ "reason": "interrupted" }),
        json!({ "workspace": "side" }),
        json!({ "until": "2020-01-01T00:00:00Z" }),
        json!({ "status": "dead", "reason": "connector_disabled" }),
    ] {
        assert_eq!(redrive(acme, none.clone()).await, 0, "{none}");
    }
    let wrong = acme.org.post("/org/acme/run/redrive", &json!({ "since": "noon" })).await;
    wrong.problem(Code::ValidationFailed);
    assert_eq!(redrive(acme, json!({ "status": "dead", "since": "2020-01-01T00:00:00Z" })).await, 1);
    assert_eq!(redrive(acme, json!({ "reason": "connector_disabled", "action_id": "act" })).await, 1);
    assert_eq!(ended(acme, &dead).await["status"], "succeeded");
    assert_eq!(ended(acme, &skipped).await["status"], "succeeded");
    assert_eq!(redrive(acme, json!({})).await, 0, "they have ended");
    let keys: Vec<_> = world
        .upstream
        .received_on(PATH)
        .iter()
        .filter(|one| one.text().contains("dead"))
        .map(|one| one.header("idempotency-key").join(","))
        .collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

#[tokio::test]
async fn a_redrive_with_a_new_key_sends_another_one() {
    let limits = Limits { job_deadline_hours: 1, ..quick() };
    let scene = Scene::working(limits, &keyed()).await;
    let asks = b"HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    scene.world.upstream.script(PATH, Script::turns(vec![Script::Kept(asks), Script::Json(200, "{}")]));
    let run = accept(&scene.acme, "anew").await;
    assert_eq!(ended(&scene.acme, &run).await["status"], "dead");
    assert_eq!(redrive(&scene.acme, json!({ "new_key": true })).await, 1);
    assert_eq!(ended(&scene.acme, &run).await["status"], "succeeded");
    let received = scene.world.upstream.received_on(PATH);
    assert_ne!(received[0].header("idempotency-key"), received[1].header("idempotency-key"));
}

#[tokio::test]
async fn a_redrive_passes_one_that_cannot_be_read_and_ends_where_there_is_no_room() {
    let scene = Scene::new(Limits { workspace_open_jobs: 3, ..quick() }, &keyed()).await;
    for (note, detail) in
        [("broken", json!({ "accepted_at": 7 })), ("first", json!({})), ("second", json!({}))]
    {
        given_up(&scene, note, 90_000_000_000_000, &detail).await;
    }
    // Another process, which has counted nothing yet.
    let (engine, address) = scene.world.another_life(Arc::clone(&scene.store)).await;
    let acme = scene.acme.at(address);
    let waits = accept(&acme, "waits").await;
    accept(&acme, "waits too").await;
    assert_eq!(redrive(&acme, json!({})).await, 1, "there is room for one");
    acme.org.post("/org/acme/run/redrive", &json!({})).await.problem(Code::WorkspaceBusy);
    cancel(&acme, &waits).await;
    assert_eq!(redrive(&acme, json!({})).await, 1);
    assert_eq!(redrive(&acme, json!({})).await, 0, "nothing is left that can be taken up");
    drop(engine);
}

#[tokio::test]
async fn another_org_finds_none_of_it() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let run = accept(&scene.acme, "mine").await;
    let other = scene.world.tenant("globex", "main").await;
    other.run.get(&path(&scene.acme, &run)).await.problem(Code::OrgNotFound);
    other.run.get(&format!("/run/globex/main/{run}")).await.problem(Code::NotFound);
    other.run.write("POST", &format!("/run/globex/main/{run}/cancel"), "").await.problem(Code::NotFound);
    other.org.post("/org/acme/run/redrive", &json!({})).await.problem(Code::OrgNotFound);
    assert_eq!(cancel(&scene.acme, &run).await["status"], "cancelled");
}
