//! How long a request that may have been carried out is sent again: as long as the vendor knows its key.

use portcullis_core::limits::Limits;
use portcullis_store::Jobs;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::sweeping::{jobs, lease, name};
use super::{PATH, Scene, accept, definition, ended, quick, until_status};
use crate::support::{Script, lay};

/// A vendor that knows keys for a day.
fn keyed_for_a_day() -> Value {
    let key = json!({ "in": "header", "name": "Idempotency-Key", "ttl_s": 86_400 });
    definition(&json!({ "idempotency": key }))
}

/// A run whose first try was made this many hours ago, and may have been carried out or not; then workers begin.
async fn tried_before(hours: i64, maybe_done: bool) -> (Scene, Value) {
    let scene = Scene::new(quick(), &keyed_for_a_day()).await;
    let run = accept(&scene.acme, "again").await;
    let jobs = jobs(&scene);
    let (job, lease) = lease(&jobs).await;
    let mut detail: Value = serde_json::from_str(job.detail.get()).unwrap();
    let first = jiff::Timestamp::now().as_millisecond() - hours * 3_600_000;
    lay(&mut detail, &json!({ "first_try_ms": first, "maybe_done": maybe_done }));
    jobs.reschedule(&lease, 1, true, to_raw_value(&detail).unwrap()).await.unwrap();
    scene.world.engine.start_jobs();
    let end = ended(&scene.acme, &run).await;
    (scene, end)
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again_once_the_vendor_has_forgotten_its_key() {
    let (scene, end) = tried_before(30, true).await;
    assert_eq!((&end["status"], &end["reason"]), (&json!("dead"), &json!("deadline")));
    assert!(scene.world.upstream.received_on(PATH).is_empty());
    for (hours, maybe_done) in [(20, true), (30, false)] {
        let (scene, end) = tried_before(hours, maybe_done).await;
        assert_eq!(end["status"], "succeeded", "{hours} {maybe_done}");
        assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
    }
}

#[tokio::test]
async fn a_try_that_may_have_been_carried_out_is_remembered_through_tries_that_send_nothing() {
    let limits = Limits { job_retry_base_ms: 3_600_000, ..quick() };
    let scene = Scene::working(limits, &keyed_for_a_day()).await;
    scene.world.upstream.script(PATH, Script::HangUp);
    let run = accept(&scene.acme, "unclear").await;
    until_status(&scene.acme, &run, "waiting").await;
    let job = jobs(&scene).get(&name(&run)).await.unwrap().unwrap();
    let detail: Value = serde_json::from_str(job.detail.get()).unwrap();
    assert_eq!((&detail["maybe_done"], job.sent), (&json!(true), false));
    assert!(detail["first_try_ms"].is_u64());
}

#[tokio::test]
async fn what_may_have_been_done_is_taken_up_again_only_with_a_new_key_once_the_old_one_is_forgotten() {
    let (scene, end) = tried_before(30, true).await;
    let run = end["run_id"].as_str().unwrap();
    let redrive = async |wish: Value| scene.acme.org.post("/org/acme/run/redrive", &wish).await.is(200).json;
    let answer = redrive(json!({})).await;
    assert_eq!((&answer["count"], &answer["not_repeatable"]), (&json!(0), &json!(1)));
    assert!(scene.world.upstream.received_on(PATH).is_empty());
    assert_eq!(redrive(json!({ "new_key": true })).await["count"], 1);
    assert_eq!(ended(&scene.acme, run).await["status"], "succeeded");
    assert_eq!(scene.world.upstream.received_on(PATH).len(), 1);
}
