//! Accepted runs of one key: one after the other, in the order of their acceptance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ID, KEY, PATH, Scene, ended, keyed, path, quick, until_status};
use crate::support::{Answer, Script, Tenant, until};

/// An automation whose runs are ordered by `source.key`, and whose call says `<key>:<n>`.
async fn automation(tenant: &Tenant) -> String {
    let automation = json!({
        "entity_name": "contact", "event_name": "saved", "order_by": "{{source.key}}",
        "destination_config": {
            "connector_id": ID, "action_id": "act", "field_mapping": { "note": "{{source.name}}:{{source.n}}" },
        },
    });
    let made = tenant.org.post(&format!("/org/{}/automation", tenant.org_id), &automation).await.is(201);
    made.json["automation_id"].as_str().unwrap().to_owned()
}

async fn send(tenant: &Tenant, automation: &str, body: &Value) -> Answer {
    let path = format!("/run/{}/{}/automation/{automation}", tenant.org_id, tenant.workspace_id);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    tenant.run.send("POST", &path, &headers, body.to_string().into_bytes()).await
}

fn source(key: &str, n: usize) -> Value {
    json!({ "source": { "key": key, "name": key, "n": n } })
}

/// Has a run of a key accepted; returns its id.
async fn accept(tenant: &Tenant, automation: &str, key: &str, n: usize) -> String {
    let answer = send(tenant, automation, &source(key, n)).await.is(202);
    answer.json["run_id"].as_str().unwrap().to_owned()
}

/// What the vendor received, in order.
fn received(scene: &Scene) -> Vec<String> {
    let all = scene.world.upstream.received_on(PATH);
    let note = |text: &str| serde_json::from_str::<Value>(text).unwrap()["note"].as_str().unwrap().to_owned();
    all.iter().map(|one| note(one.text())).collect()
}

/// The numbers that the vendor received of a key, each once for all its tries.
fn numbers(scene: &Scene, key: &str) -> Vec<usize> {
    let own = format!("{key}:");
    let found = received(scene);
    let mut numbers: Vec<usize> =
        found.iter().filter_map(|note| note.strip_prefix(&own)).map(|n| n.parse().unwrap()).collect();
    numbers.dedup();
    numbers
}

/// A vendor that is busy for requests with this note, and wants no other try for two hours.
fn refusing(note: &'static str) -> Script {
    Script::made(move |request| {
        let asks = b"HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 2\r\n\r\n{}".to_vec();
        let wanted = format!("\"{note}\"");
        if request.text().contains(&wanted) { Script::Kept(asks) } else { Script::Json(200, "{}") }
    })
}

#[tokio::test]
async fn two_hundred_events_of_ten_keys_arrive_in_order_though_the_vendor_fails_sometimes() {
    let scene = Scene::working(quick(), &keyed()).await;
    let acme = &scene.acme;
    let count = AtomicUsize::new(0);
    scene.world.upstream.script(
        PATH,
        Script::made(move |_| {
            let fails = count.fetch_add(1, Ordering::SeqCst) % 7 == 3;
            if fails { Script::Json(503, "{}") } else { Script::Json(200, "{}") }
        }),
    );
    let automation = automation(acme).await;
    let mut runs = Vec::new();
    for n in 0..20 {
        for key in 0..10 {
            runs.push(accept(acme, &automation, &format!("k{key}"), n).await);
        }
    }
    for run in &runs {
        let end = ended(acme, run).await;
        assert_eq!((&end["status"], end.get("out_of_order")), (&json!("succeeded"), None), "{end}");
    }
    for key in 0..10 {
        let expected: Vec<usize> = (0..20).collect();
        assert_eq!(numbers(&scene, &format!("k{key}")), expected, "{key}");
    }
    assert!(received(&scene).len() > 200, "some were tried again");
}

#[tokio::test]
async fn behind_a_dead_one_the_next_go_on_and_say_so_until_it_was_done() {
    let scene = Scene::new(Limits { job_deadline_hours: 1, ..quick() }, &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    world.upstream.script(PATH, refusing("a:0"));
    let automation = automation(acme).await;
    let first = accept(acme, &automation, "a", 0).await;
    let second = accept(acme, &automation, "a", 1).await;
    let waits = acme.run.get(&path(acme, &second)).await.is(200).json;
    assert_eq!(
        (&waits["status"], waits.get("next_try_at")),
        (&json!("queued"), None),
        "it waits for its turn"
    );
    world.engine.start_jobs();
    let dead = ended(acme, &first).await;
    assert_eq!((&dead["status"], dead.get("out_of_order")), (&json!("dead"), None));
    let end = ended(acme, &second).await;
    assert_eq!((&end["status"], &end["out_of_order"]), (&json!("succeeded"), &json!(true)));
    let third = accept(acme, &automation, "a", 2).await;
    assert_eq!(ended(acme, &third).await["out_of_order"], true, "the first one is still not done");
    let other = accept(acme, &automation, "b", 0).await;
    assert_eq!(ended(acme, &other).await.get("out_of_order"), None, "another key");
    world.upstream.script(PATH, Script::Json(200, "{}"));
    let answer = acme.org.post("/org/acme/run/redrive", &json!({ "status": "dead" })).await.is(200);
    assert_eq!(answer.json["count"], 1);
    let end = ended(acme, &first).await;
    assert_eq!((&end["status"], &end["out_of_order"]), (&json!("succeeded"), &json!(true)));
    let last = accept(acme, &automation, "a", 3).await;
    assert_eq!(ended(acme, &last).await.get("out_of_order"), None, "all before it are done");
    assert_eq!(numbers(&scene, "a"), [0, 1, 2, 0, 3]);
    let listed = acme.run.get("/run/acme/main?limit=100").await.is(200).json;
    let mut all = listed["data"].as_array().unwrap().iter();
    let of_second = all.find(|one| one["run_id"] == second.as_str()).unwrap();
    assert_eq!(of_second["out_of_order"], true, "lists say so, too");
}

#[tokio::test]
async fn a_cancelled_one_has_ended_and_a_held_one_is_cancelled_where_it_waits() {
    let scene = Scene::new(quick(), &keyed()).await;
    let acme = &scene.acme;
    let automation = automation(acme).await;
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(accept(acme, &automation, "a", n).await);
    }
    for n in [0, 2] {
        let answer = acme.run.write("POST", &format!("{}/cancel", path(acme, &runs[n])), "").await.is(200);
        assert_eq!(answer.json["status"], "cancelled");
    }
    let next = acme.run.get(&path(acme, &runs[1])).await.is(200).json;
    assert!(next["next_try_at"].is_string(), "it is its turn");
    scene.world.engine.start_jobs();
    for n in [1, 3] {
        let end = ended(acme, &runs[n]).await;
        assert_eq!((&end["status"], end.get("out_of_order")), (&json!("succeeded"), None));
    }
    assert_eq!(numbers(&scene, "a"), [1, 3]);
}

#[tokio::test]
async fn a_restart_in_the_middle_keeps_the_order() {
    let scene = Scene::working(quick(), &keyed()).await;
    let acme = &scene.acme;
    let held = Arc::new(Semaphore::new(0));
    let silent = Script::Held(Arc::clone(&held), Box::new(Script::HangUp));
    scene
        .world
        .upstream
        .script(PATH, Script::turns(vec![Script::Json(200, "{}"), silent, Script::Json(200, "{}")]));
    let automation = automation(acme).await;
    let mut runs = Vec::new();
    for n in 0..6 {
        runs.push(accept(acme, &automation, "a", n).await);
    }
    until("the second one is with the vendor", async || received(&scene).len() == 2).await;
    // As a process that is killed: it takes no further job, ends its calls, and writes nothing of them.
    scene.world.engine.stop_jobs();
    scene.world.engine.end_all_calls(Code::CallEnded);
    scene.world.engine.all_calls_ended().await;
    let (engine, address) = scene.world.another_life(Arc::clone(&scene.store)).await;
    engine.start_jobs();
    let acme = scene.acme.at(address);
    for run in &runs {
        assert_eq!(ended(&acme, run).await["status"], "succeeded");
    }
    let notes = received(&scene);
    let expected = ["a:0", "a:1", "a:1", "a:2", "a:3", "a:4", "a:5"];
    assert_eq!(notes, expected, "the interrupted one again, and then the others");
    drop(engine);
}

#[tokio::test]
async fn a_key_whose_vendor_is_silent_delays_no_other_key_workspace_or_run() {
    let scene = Scene::new(quick(), &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let side = world.tenant("acme", "side").await;
    side.connect(ID, json!({ "api_key": KEY })).await;
    let automation = automation(acme).await;
    let held = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&held);
    world.upstream.script(
        PATH,
        Script::made(move |request| {
            let answer = Script::Json(200, "{}");
            let is_slow = request.text().contains("\"a:0\"");
            if is_slow { Script::Held(Arc::clone(&gate), Box::new(answer)) } else { answer }
        }),
    );
    let mut slow = Vec::new();
    for n in 0..50 {
        slow.push(accept(acme, &automation, "a", n).await);
    }
    world.engine.start_jobs();
    until("the first one is with the vendor", async || received(&scene).len() == 1).await;
    for n in 0..5 {
        let other = accept(acme, &automation, "b", n).await;
        assert_eq!(ended(acme, &other).await["status"], "succeeded");
    }
    let same =
        send(&side, &automation, &json!({ "source": { "key": "a", "name": "side", "n": 0 } })).await.is(202);
    assert_eq!(ended(&side, same.json["run_id"].as_str().unwrap()).await["status"], "succeeded");
    let unordered = super::accept(acme, "free").await;
    assert_eq!(ended(acme, &unordered).await["status"], "succeeded");
    assert_eq!(numbers(&scene, "a"), [0], "of the others of that key none has begun");
    held.add_permits(1);
    for run in &slow {
        ended(acme, run).await;
    }
    let expected: Vec<usize> = (0..50).collect();
    assert_eq!(numbers(&scene, "a"), expected);
}

#[tokio::test]
async fn a_later_time_of_the_first_one_holds_the_others_back() {
    let scene = Scene::working(quick(), &keyed()).await;
    let acme = &scene.acme;
    let automation = automation(acme).await;
    let mut body = source("a", 0);
    body["not_before"] = json!(portcullis_engine::clock::after(std::time::Duration::from_secs(3600)));
    let first = send(acme, &automation, &body).await.is(202);
    let first = first.json["run_id"].as_str().unwrap();
    let second = accept(acme, &automation, "a", 1).await;
    let other = accept(acme, &automation, "b", 0).await;
    assert_eq!(ended(acme, &other).await["status"], "succeeded");
    until_status(acme, &second, "queued").await;
    // A run that a caller waits for is made at once.
    let waited =
        acme.run.post(&format!("/run/acme/main/automation/{automation}"), &source("a", 2)).await.is(200);
    assert_eq!(waited.json["status"], "succeeded");
    acme.run.write("POST", &format!("{}/cancel", path(acme, first)), "").await.is(200);
    assert_eq!(ended(acme, &second).await["status"], "succeeded");
    assert_eq!(numbers(&scene, "a"), [2, 1]);
}

#[tokio::test]
async fn a_key_that_is_null_orders_nothing_and_one_that_is_missing_refuses_the_run() {
    let scene = Scene::new(quick(), &keyed()).await;
    let acme = &scene.acme;
    let automation = automation(acme).await;
    for key in [json!(null), json!("")] {
        for n in 0..2 {
            let body = json!({ "source": { "key": key, "name": "none", "n": n } });
            let answer = send(acme, &automation, &body).await.is(202);
            assert!(answer.json["next_try_at"].is_string(), "it waits for nobody: {}", answer.text);
        }
    }
    let without = json!({ "source": { "name": "a", "n": 0 } });
    let refused = send(acme, &automation, &without).await.problem(Code::InputInvalid);
    assert!(refused.messages().contains("order_by is made of source.key"), "{}", refused.text);
    for wrong in [json!({ "a": 1 }), json!([1]), json!("k".repeat(1025))] {
        let body = json!({ "source": { "key": wrong, "name": "a", "n": 0 } });
        let refused = send(acme, &automation, &body).await.problem(Code::InputInvalid);
        assert!(!refused.text.contains("kkkk"), "the key is not told");
    }
    let longest = json!({ "source": { "key": "k".repeat(1024), "name": "a", "n": 0 } });
    send(acme, &automation, &longest).await.is(202);
    // Of an event only that one has no run.
    let event = json!({ "entity_name": "contact", "event_name": "saved", "source": { "name": "a", "n": 1 } });
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let answer =
        acme.run.send("POST", "/run/acme/main/event", &headers, event.to_string().into_bytes()).await;
    assert_eq!(answer.is(200).json["data"][0]["code"], "input_invalid");
    // One that is made now has no key to order by.
    acme.run.post(&format!("/run/acme/main/automation/{automation}"), &without).await.is(200);
}

#[tokio::test]
async fn a_template_that_is_none_is_refused_and_a_sample_shows_what_the_key_lacks() {
    let scene = Scene::new(quick(), &keyed()).await;
    let acme = &scene.acme;
    let with = |order_by: &str, sample: Value| {
        json!({
            "entity_name": "contact", "event_name": "saved", "order_by": order_by, "sample": sample,
            "destination_config": { "connector_id": ID, "action_id": "act", "field_mapping": { "note": "x" } },
        })
    };
    let wrong = acme.org.post("/org/acme/automation", &with("{{source.key", json!({}))).await;
    assert!(wrong.problem(Code::ValidationFailed).text.contains("/order_by"));
    let saved = acme.org.post("/org/acme/automation", &with("{source.key}", json!({}))).await.is(201);
    assert_eq!(saved.json["warnings"][0]["pointer"], "/order_by");
    let saved = acme.org.post("/org/acme/automation", &with("{{source.key}}", json!({}))).await.is(201);
    assert_eq!(saved.json["warnings"][0]["code"], "missing_source", "{}", saved.text);
    let saved =
        acme.org.post("/org/acme/automation", &with("{{source.key}}", json!({ "key": 7 }))).await.is(201);
    assert_eq!((&saved.json["order_by"], saved.json.get("warnings")), (&json!("{{source.key}}"), None));
}

#[tokio::test]
async fn a_run_that_is_made_again_joins_the_end_of_its_line() {
    let scene = Scene::working(quick(), &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let automation = automation(acme).await;
    let first = accept(acme, &automation, "a", 0).await;
    ended(acme, &first).await;
    let held = Arc::new(Semaphore::new(0));
    let slow = Script::Held(Arc::clone(&held), Box::new(Script::Json(200, "{}")));
    world.upstream.script(PATH, Script::turns(vec![slow, Script::Json(200, "{}")]));
    let second = accept(acme, &automation, "a", 1).await;
    until("the second one is with the vendor", async || received(&scene).len() == 2).await;
    let mut again = Vec::new();
    for definition in ["same", "newest"] {
        let wish = json!({ "definition": definition });
        let answer = acme.run.post(&format!("{}/rerun", path(acme, &first)), &wish).await.is(202).json;
        assert_eq!(answer.get("next_try_at"), None, "it waits for its turn: {answer}");
        again.push(answer["run_id"].as_str().unwrap().to_owned());
    }
    held.add_permits(1);
    for run in again.iter().chain([&second]) {
        let end = ended(acme, run).await;
        assert_eq!((&end["status"], end.get("out_of_order")), (&json!("succeeded"), None));
    }
    assert_eq!(received(&scene), ["a:0", "a:1", "a:0", "a:0"]);
}
