//! What survives the process: what was accepted, and the rule for what was interrupted.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::{PATH, Scene, accept, definition, ended, keyed, quick, until_status};
use crate::support::Script;

#[tokio::test]
async fn what_was_accepted_is_executed_by_the_next_life_of_the_process() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let run = accept(&scene.acme, "later").await;
    let (engine, address) = scene.world.another_life(Arc::clone(&scene.store)).await;
    let acme = scene.acme.at(address);
    assert_eq!(acme.run.get(&super::path(&acme, &run)).await.is(200).json["status"], "queued");
    engine.start_jobs();
    assert_eq!(ended(&acme, &run).await["status"], "succeeded");
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
}

/// A run whose process goes silent while its request is with the vendor; another life takes it up.
async fn interrupted(definition: &serde_json::Value) -> (Scene, String, serde_json::Value) {
    let scene = Scene::working(quick(), definition).await;
    let held = Arc::new(Semaphore::new(0));
    let silent = Script::Held(Arc::clone(&held), Box::new(Script::HangUp));
    scene.world.upstream.script(PATH, Script::turns(vec![silent, Script::Json(200, "{}")]));
    let run = accept(&scene.acme, "cut").await;
    until_status(&scene.acme, &run, "running").await;
    crate::support::until("the request is with the vendor", async || {
        scene.world.upstream.received_on(PATH).len() == 1
    })
    .await;
    // As a process that is killed: it takes no further job, ends its calls, and writes nothing of them.
    scene.world.engine.stop_jobs();
    scene.world.engine.end_all_calls(portcullis_core::fault::Code::CallEnded);
    scene.world.engine.all_calls_ended().await;
    let (engine, address) = scene.world.another_life(Arc::clone(&scene.store)).await;
    engine.start_jobs();
    let end = ended(&scene.acme.at(address), &run).await;
    drop(engine);
    (scene, run, end)
}

#[tokio::test]
async fn an_interrupted_run_whose_vendor_knows_its_key_is_made_again_with_it() {
    let (scene, run, end) = interrupted(&keyed()).await;
    assert_eq!((&end["status"], &end["run_id"]), (&json!("succeeded"), &json!(run)));
    let received = scene.world.upstream.received_on(PATH);
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("idempotency-key"), received[1].header("idempotency-key"));
}

#[tokio::test]
async fn an_interrupted_run_that_may_have_been_carried_out_is_given_up() {
    let (scene, _, end) = interrupted(&definition(&json!({}))).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("dead"), &json!("interrupted")));
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1, "nobody knows whether it was carried out");
    let answer = scene.acme.org.post("/org/acme/run/redrive", &json!({})).await.is(200);
    assert_eq!((&answer.json["count"], &answer.json["not_repeatable"]), (&json!(0), &json!(1)), "it is told");
    let answer = scene.acme.org.post("/org/acme/run/redrive", &json!({ "new_key": true })).await.is(200);
    assert_eq!((&answer.json["count"], answer.json.get("not_repeatable")), (&json!(1), None));
}

#[tokio::test]
async fn an_interrupted_run_that_sent_nothing_is_made_again() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let run = accept(&scene.acme, "unsent").await;
    // A worker that took the run and never came to its call.
    let jobs = portcullis_store::RecordJobs::new(Arc::clone(&scene.store));
    let (org, workspace) = (
        portcullis_core::id::OrgId::parse("acme").unwrap(),
        portcullis_core::id::WorkspaceId::parse("main").unwrap(),
    );
    let leased = portcullis_store::Jobs::lease(&jobs, &org, &workspace, 1).await.unwrap();
    assert!(leased.is_some_and(|leased| !leased.job.sent));
    scene.world.engine.start_jobs();
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["tries"]), (&json!("succeeded"), &json!(2)));
}
