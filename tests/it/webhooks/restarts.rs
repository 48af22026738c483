//! What survives the process: what was committed, and what was being sent. A larger number with
//! `PORTCULLIS_WEBHOOK_EVENTS`.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::fault::Code;
use serde_json::json;

use super::{KEY, PATH, Scene, quick};
use crate::support::figures::{count, print_line};
use crate::support::shared_store::SharedStore;
use crate::support::{PUBLIC, SALESFORCE, Script, Stage, until};

/// Events before the process dies.
const EVENTS: usize = 20;

#[tokio::test]
async fn a_process_that_dies_between_acceptance_and_delivery_loses_none() {
    let events = count("PORTCULLIS_WEBHOOK_EVENTS", EVENTS);
    let scene = Scene::new(quick()).await;
    // Why also `run.dead`: the call that is cut off may have sent its request, and has no key to send it again with.
    scene.hook("one", &["policy.changed", "run.dead", "run.failed", "run.succeeded"]).await;
    scene.acme.connect("salesforce", json!({ "api_key": KEY })).await;
    scene.world.engine.start_jobs();
    scene.world.engine.start_webhooks();
    let held = Arc::new(tokio::sync::Semaphore::new(0));
    let silent = Script::Held(held, Box::new(Script::HangUp));
    scene.world.upstream.script(PATH, Script::turns(vec![silent, Script::json(200, &json!({}))]));
    let mut runs = BTreeSet::new();
    for _ in 0..events {
        let path = "/run/acme/main/connector/salesforce/create-contact";
        let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
        let input = json!({ "input": { "Email": "ada@example.org" } }).to_string().into_bytes();
        let answer = scene.acme.run.send("POST", path, &headers, input).await.is(202);
        runs.insert(answer.json["run_id"].as_str().unwrap().to_owned());
    }
    until("one is with the receiver", async || !scene.delivered().is_empty()).await;
    // As a process that is killed: it begins nothing more, and writes nothing of what it was doing.
    scene.world.engine.stop_jobs();
    scene.world.engine.end_all_calls(Code::CallEnded);
    let (engine, _) = scene.world.another_life(Arc::clone(&scene.store)).await;
    engine.start_jobs();
    engine.start_webhooks();
    let told = || -> BTreeSet<String> {
        let delivered = scene.delivered();
        let run = |one| super::body(one)["data"]["run_id"].as_str().map(str::to_owned);
        delivered.iter().filter_map(run).collect()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while told().len() < events && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(told(), runs, "each is told of");
    print_line(
        "webhooks, process replaced between acceptance and delivery",
        &json!({ "events": events, "lost": 0 }),
    );
}

#[tokio::test]
async fn two_processes_do_not_both_send() {
    let store = SharedStore::new();
    let stage = Stage { limits: quick(), store: Some(Arc::clone(&store) as _), ..Stage::default() };
    let world = stage.start().await;
    world.names.tell(super::HOST, &[PUBLIC]);
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    let acme = world.tenant("acme", "main").await;
    let scene = Scene { acme, store: Arc::clone(&store) as _, world };
    let (other, _) = scene.world.another_life(store.another()).await;
    scene.hook("one", &["policy.changed"]).await;
    scene.world.engine.start_webhooks();
    other.start_webhooks();
    for _ in 0..10 {
        scene.change_policy().await;
    }
    until("all are delivered", async || scene.listed("one", "?state=delivered").await.len() == 10).await;
    assert_eq!(scene.delivered().len(), 10, "each is sent once");
}
