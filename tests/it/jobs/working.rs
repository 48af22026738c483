//! What becomes of a run that fails: tried again under the same key, given up at its deadline, or ended for good.

use portcullis_core::limits::Limits;
use serde_json::json;

use super::{ID, KEY, PATH, Scene, accept, definition, ended, keyed, path, quick, until_status};
use crate::support::Script;

const BUSY: Script = Script::Json(503, "{}");
const DONE: Script = Script::Json(200, "{}");

#[tokio::test]
async fn a_run_is_tried_again_after_a_503_with_the_same_key_and_under_the_same_id() {
    let scene = Scene::working(quick(), &keyed()).await;
    scene.world.upstream.script(PATH, Script::turns(vec![BUSY, BUSY, DONE]));
    let run = accept(&scene.acme, "again").await;
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["tries"]), (&json!("succeeded"), &json!(3)));
    assert_eq!(end["run_id"], run.as_str());
    let received = scene.world.upstream.received_on(PATH);
    let keys: Vec<_> = received.iter().map(|one| one.header("idempotency-key").join(",")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].starts_with("pc_") && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let other = accept(&scene.acme, "other").await;
    ended(&scene.acme, &other).await;
    let last = scene.world.upstream.received_on(PATH).pop().unwrap();
    assert_ne!(last.header("idempotency-key").join(","), keys[0], "another run has another key");
    let ledger = scene.acme.ledger().await;
    assert!(ledger.iter().filter(|entry| entry["run_id"] == run.as_str()).count() >= 3);
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_repeated_without_a_key() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    scene.world.upstream.script(PATH, Script::HangUp);
    let run = accept(&scene.acme, "once").await;
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["tries"]), (&json!("failed"), &json!(1)));
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn what_the_vendor_refuses_for_good_is_failed_at_once() {
    let scene = Scene::working(quick(), &keyed()).await;
    scene.world.upstream.script(PATH, Script::Json(400, r#"{"error":"no"}"#));
    let run = accept(&scene.acme, "wrong").await;
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["code"]), (&json!("failed"), &json!("upstream_status")));
    assert_eq!((&end["tries"], &end["upstream"]["status"]), (&json!(1), &json!(400)));
}

#[tokio::test]
async fn a_run_that_waits_says_why_and_until_when() {
    let limits = Limits { job_retry_base_ms: 3_600_000, ..quick() };
    let scene = Scene::working(limits, &keyed()).await;
    let asks = b"HTTP/1.1 503 Busy\r\nretry-after: 20\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    scene.world.upstream.script(PATH, Script::Kept(asks));
    let run = accept(&scene.acme, "patient").await;
    let waiting = until_status(&scene.acme, &run, "waiting").await;
    assert_eq!((&waiting["code"], &waiting["tries"]), (&json!("upstream_status"), &json!(1)));
    let next = waiting["next_try_at"].as_str().unwrap();
    assert!(!portcullis_engine::clock::has_passed(next), "not before the vendor wants it: {next}");
    assert!(waiting["deadline"].as_str().unwrap() > next);
}

#[tokio::test]
async fn a_run_is_given_up_at_its_deadline_with_what_the_last_try_said() {
    // Why one hour: the vendor asks for two.
    let limits = Limits { job_deadline_hours: 1, ..quick() };
    let scene = Scene::working(limits, &keyed()).await;
    let asks = b"HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    scene.world.upstream.script(PATH, Script::Kept(asks));
    let run = accept(&scene.acme, "late").await;
    let end = ended(&scene.acme, &run).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("dead"), &json!("deadline")));
    assert_eq!((&end["code"], &end["tries"]), (&json!("upstream_status"), &json!(1)));
    let read = scene.acme.org.get(&path(&scene.acme, &run)).await.is(200);
    assert_eq!(read.json["status"], "dead", "it is kept");
}

#[tokio::test]
async fn a_due_run_of_a_connector_that_may_not_be_called_is_skipped_with_the_reason() {
    let scene = Scene::new(quick(), &keyed()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let off = accept(acme, "off").await;
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    world.engine.start_jobs();
    let end = ended(acme, &off).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("skipped"), &json!("connector_disabled")));
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    acme.workspace.put(&acme.setting(ID), &json!({ "enabled": false })).await.is(200);
    let out = accept(acme, "out").await;
    assert_eq!(ended(acme, &out).await["reason"], "opted_out");
    acme.workspace.delete(&acme.setting(ID)).await.is(204);
    let none = accept(acme, "none").await;
    assert_eq!(ended(acme, &none).await["reason"], "unconfigured");
    assert!(world.upstream.received_on(PATH).is_empty());
    acme.connect(ID, json!({ "api_key": KEY })).await;
    let sent = accept(acme, "sent").await;
    assert_eq!(ended(acme, &sent).await["status"], "succeeded");
}

#[tokio::test]
async fn tries_after_the_first_are_a_fifth_of_the_first_ones_while_a_vendor_is_down() {
    // Why no spare tries and no breaker: only the share counts here.
    let limits = Limits { job_retry_spare_ms: 3_600_000, breaker_failures: 10_000, ..quick() };
    let scene = Scene::new(limits, &keyed()).await;
    scene.world.upstream.script(PATH, BUSY);
    let mut runs = Vec::new();
    for number in 0..50 {
        runs.push(accept(&scene.acme, &number.to_string()).await);
    }
    scene.world.engine.start_jobs();
    for run in &runs {
        until_status(&scene.acme, run, "waiting").await;
    }
    let received = scene.world.upstream.received_on(PATH).len();
    assert!((50..=60).contains(&received), "{received} requests for 50 runs");
}
