//! A process that dies at each commit of a firing: the next life fires what is left, and nothing again.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_store::SledStore;
use serde_json::json;

use super::{NEXT_MONDAY, NINE, Scene, mondays, quick, saved};
use crate::support::crashing_store::{CrashPoint, CrashingStore, reopen};
use crate::support::until;

/// Dies at this commit with this part in a key, counted from the time when the schedule is due; then the next life fires
/// what is left.
async fn dies(key: &'static str, after: usize, point: CrashPoint) {
    let dir = tempfile::tempdir().unwrap();
    let store = CrashingStore::new(SledStore::open(dir.path()).unwrap());
    let scene = Scene::still(quick(), Arc::new(store.clone())).await;
    for name in ["side", "third"] {
        scene.workspace(name).await;
    }
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    store.crashes_at(key, after, point);
    // Why no worker of runs: what was accepted is executed by the next life, whichever accepted it.
    scene.world.engine.start_schedules();
    scene.set(NINE);
    let what = format!("it dies at {key} {after} {point:?}");
    until(&what, async || store.has_crashed()).await;
    scene.world.engine.stop_jobs();

    let (engine, address) = scene.world.another_life(reopen(dir.path()).await).await;
    engine.start_jobs();
    engine.start_schedules();
    let acme = scene.acme.at(address);
    scene.until_sent(3).await;
    let path = format!("{}/{id}", super::AUTOMATIONS);
    until("the end is noted", async || {
        acme.org.get(&path).await.is(200).json["schedule_state"]["last"]["runs"] == json!(3)
    })
    .await;
    let state = acme.org.get(&path).await.is(200).json["schedule_state"].clone();
    assert_eq!((&state["previous_at"], &state["next_at"]), (&json!(NINE), &json!(NEXT_MONDAY)), "{what}");
    scene.clock.set(&engine, NEXT_MONDAY);
    scene.until_sent(6).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in scene.sent() {
        *counts.entry(text).or_default() += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [3, 3], "{what}: {counts:?}");
}

#[tokio::test]
async fn a_death_before_or_after_the_firing_is_committed_fires_once() {
    dies("schedule/", 0, CrashPoint::Before).await;
    dies("schedule/", 0, CrashPoint::After).await;
}

#[tokio::test]
async fn a_death_among_the_runs_leaves_none_out_and_makes_none_twice() {
    for after in 0..3 {
        dies("job/", after, CrashPoint::Before).await;
        dies("job/", after, CrashPoint::After).await;
    }
}

#[tokio::test]
async fn a_death_before_or_after_the_end_is_committed_fires_once() {
    dies("schedule/", 1, CrashPoint::Before).await;
    dies("schedule/", 1, CrashPoint::After).await;
}
