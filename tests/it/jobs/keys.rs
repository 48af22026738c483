//! Idempotency keys of callers: made once, answered as before, and never for another request.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ID, PATH, Scene, definition, ended, keyed, quick};
use crate::support::{Answer, Script, Tenant, until};

async fn send(tenant: &Tenant, key: &str, later: bool, note: &str) -> Answer {
    let path = format!("/run/{}/{}/connector/{ID}/act", tenant.org_id, tenant.workspace_id);
    let mut headers = vec![("idempotency-key", key), ("content-type", "application/json")];
    if later {
        headers.push(("prefer", "respond-async"));
    }
    let body = json!({ "input": { "note": note } }).to_string().into_bytes();
    tenant.run.send("POST", &path, &headers, body).await
}

#[tokio::test]
async fn a_repeat_with_its_key_is_answered_as_the_first_was_and_not_sent() {
    let scene = Scene::new(quick(), &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    world.upstream.script(PATH, Script::Json(201, r#"{"id":"7"}"#));
    let first = send(acme, "k-1", false, "a").await.is(200);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = send(acme, "k-1", false, "a").await.is(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((&again.text, &again.json["output"]), (&first.text, &json!({ "id": "7" })));
    let other = send(acme, "k-1", false, "b").await.problem(Code::IdempotencyKeyReused);
    assert!(!other.text.contains("\"7\""), "{}", other.text);
    let second = send(acme, "k-2", false, "a").await.is(200);
    assert_ne!(second.json["run_id"], first.json["run_id"]);
    let received = world.upstream.received_on(PATH);
    let keys: Vec<_> = received.iter().map(|one| one.header("idempotency-key").join(",")).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1], "the key that goes to the vendor is made of the caller's");
}

#[tokio::test]
async fn a_key_is_its_workspace_s_own_and_of_bounded_length() {
    let scene = Scene::new(quick(), &keyed()).await;
    let other = scene.world.tenant("acme", "side").await;
    other.connect(ID, json!({ "api_key": super::KEY })).await;
    let one = send(&scene.acme, "same", false, "a").await.is(200);
    let two = send(&other, "same", false, "b").await.is(200);
    assert_ne!(one.json["run_id"], two.json["run_id"]);
    let longest = "k".repeat(255);
    send(&scene.acme, &longest, false, "a").await.is(200);
    for wrong in ["", &"k".repeat(256)] {
        send(&scene.acme, wrong, false, "a").await.problem(Code::BadRequest);
    }
}

#[tokio::test]
async fn a_failure_with_a_run_is_repeated_and_a_mistake_of_the_caller_is_not() {
    let scene = Scene::new(quick(), &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    world
        .upstream
        .script(PATH, Script::turns(vec![Script::Json(400, r#"{"e":1}"#), Script::Json(200, "{}")]));
    let first = send(acme, "k-1", false, "a").await.problem(Code::UpstreamStatus);
    // Why not as a problem of its own: it has the request id of the first.
    let again = send(acme, "k-1", false, "a").await.is(502);
    assert_eq!((&first.text, again.header("idempotency-replayed")), (&again.text, Some("true")));
    let path = format!("/run/acme/main/connector/{ID}/act");
    let headers = [("idempotency-key", "k-2"), ("content-type", "application/json")];
    let wrong = acme.run.send("POST", &path, &headers, br#"{"input":{}}"#.to_vec()).await;
    wrong.problem(Code::InputInvalid);
    let mended = send(acme, "k-2", false, "a").await.is(200);
    assert_eq!(mended.header("idempotency-replayed"), None, "nothing had run");
}

#[tokio::test]
async fn a_twin_waits_for_the_answer_of_the_first_and_not_for_ever() {
    let limits = Limits { idempotency_wait_ms: 2000, ..quick() };
    let scene = Scene::new(limits, &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let held = Arc::new(Semaphore::new(0));
    world.upstream.script(PATH, Script::Held(Arc::clone(&held), Box::new(Script::Json(200, r#"{"n":1}"#))));
    let call = |key: &'static str| {
        let acme = acme.at(acme.run.address());
        tokio::spawn(async move { send(&acme, key, false, "a").await })
    };
    let first = call("twin");
    until("the first is with the vendor", async || world.upstream.received_on(PATH).len() == 1).await;
    send(acme, "twin", false, "a").await.problem(Code::IdempotencyInFlight);
    send(acme, "twin", false, "b").await.problem(Code::IdempotencyKeyReused);
    let second = call("twin");
    held.add_permits(1);
    let (first, second) = (first.await.unwrap().is(200), second.await.unwrap().is(200));
    assert_eq!(first.text, second.text);
    assert_eq!(world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn an_accepted_run_is_accepted_once() {
    let scene = Scene::new(quick(), &keyed()).await;
    let acme = &scene.acme;
    let first = send(acme, "later", true, "a").await.is(202);
    let again = send(acme, "later", true, "a").await.is(202);
    assert_eq!((&first.text, first.header("location")), (&again.text, again.header("location")));
    scene.world.engine.start_jobs();
    ended(acme, first.json["run_id"].as_str().unwrap()).await;
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn a_long_answer_is_repeated_without_its_output() {
    let limits = Limits { idempotency_answer_bytes: 2000, ..quick() };
    let scene = Scene::new(limits, &keyed()).await;
    let long = json!({ "text": "x".repeat(5000) });
    scene.world.upstream.script(PATH, Script::json(200, &long));
    let first = send(&scene.acme, "long", false, "a").await.is(200);
    assert_eq!(first.json["output"], long);
    let again = send(&scene.acme, "long", false, "a").await.is(200);
    assert_eq!((&again.json["output_kept"], &again.json["output"]), (&json!(false), &Value::Null));
    assert_eq!(again.json["run_id"], first.json["run_id"]);
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn a_request_that_was_cut_off_is_not_made_again_by_itself() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    world.upstream.script(PATH, Script::Silence);
    let call = {
        let acme = acme.at(acme.run.address());
        tokio::spawn(async move { send(&acme, "cut", false, "a").await })
    };
    until("it is with the vendor", async || world.upstream.received_on(PATH).len() == 1).await;
    // The next life of the process, which knows nothing of the call.
    let (_engine, address) = world.another_life(Arc::clone(&scene.store)).await;
    let there = acme.at(address);
    let answer = send(&there, "cut", false, "a").await.problem(Code::IdempotencyInFlight);
    assert!(answer.text.contains("another key"), "{}", answer.text);
    assert_eq!(world.upstream.received_on(PATH).len(), 1);
    call.abort();
}
