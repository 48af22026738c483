//! Restarts, clocks that jump, daylight saving, and two processes.

use std::sync::Arc;

use portcullis_core::limits::Limits;
use serde_json::json;

use super::{Clock, NEXT_MONDAY, NINE, Scene, mondays, quick, saved};
use crate::support::shared_store::SharedStore;
use crate::support::until;

#[tokio::test]
async fn a_restart_fires_nothing_again_and_loses_nothing() {
    let scene = Scene::new().await;
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    scene.set(NINE);
    scene.runs(&id, NINE, 1).await;
    scene.until_next(&id, NEXT_MONDAY).await;
    scene.world.engine.stop_jobs();
    // Still the same minute.
    let (engine, _) = scene.another_life().await;
    scene.clock.set(&engine, "2026-11-30T08:00:40Z");
    scene.clock.set(&engine, NEXT_MONDAY);
    scene.until_sent(2).await;
    let sent = scene.sent();
    assert!(sent[0].contains("2026-11-30T08:00:00Z|none"), "{sent:?}");
    assert!(sent[1].contains("2026-12-07T08:00:00Z|2026-11-30T08:00:00Z"), "{sent:?}");
}

#[tokio::test]
async fn times_that_passed_while_no_process_ran_are_dropped_or_the_newest_fires_once() {
    let scene = Scene::new().await;
    let skip = saved(&scene.acme, &mondays(&json!({}))).await;
    let once = saved(&scene.acme, &mondays(&json!({ "schedule": { "missed": "once" } }))).await;
    scene.set(NINE);
    scene.runs(&skip, NINE, 1).await;
    scene.runs(&once, NINE, 1).await;
    scene.until_next(&skip, NEXT_MONDAY).await;
    scene.until_next(&once, NEXT_MONDAY).await;
    scene.world.engine.stop_jobs();
    // Three Mondays later, in the evening.
    let (engine, _) = scene.another_life().await;
    scene.clock.set(&engine, "2026-12-21T19:00:00Z");
    scene.until_sent(3).await;
    scene.until_next(&skip, "2026-12-28T08:00:00Z").await;
    scene.until_next(&once, "2026-12-28T08:00:00Z").await;
    let sent = scene.sent();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent[2].contains("2026-12-21T08:00:00Z|2026-11-30T08:00:00Z"), "{sent:?}");
    scene.clock.set(&engine, "2026-12-28T08:00:00Z");
    scene.until_sent(5).await;
    assert_eq!(scene.sent().len(), 5);
}

#[tokio::test]
async fn a_clock_that_jumps_forward_and_back_fires_each_time_once() {
    let scene = Scene::new().await;
    let hourly = json!({ "schedule": { "cron": "0 * * * *", "timezone": "UTC" } });
    let id = saved(&scene.acme, &mondays(&hourly)).await;
    scene.set("2026-11-30T08:00:00Z");
    scene.runs(&id, NINE, 1).await;
    scene.until_next(&id, "2026-11-30T09:00:00Z").await;
    // Back by an hour: what fired does not fire again.
    scene.set("2026-11-30T07:10:00Z");
    scene.set("2026-11-30T08:00:00Z");
    scene.set("2026-11-30T09:00:00Z");
    scene.until_sent(2).await;
    scene.until_next(&id, "2026-11-30T10:00:00Z").await;
    // Years ahead by mistake, and back: none of the times between is lost.
    scene.set("2031-01-01T00:30:00Z");
    scene.until_next(&id, "2031-01-01T01:00:00Z").await;
    scene.set("2026-11-30T09:30:00Z");
    scene.until_next(&id, "2026-11-30T10:00:00Z").await;
    scene.set("2026-11-30T10:00:00Z");
    scene.until_sent(3).await;
    scene.until_next(&id, "2026-11-30T11:00:00Z").await;
    let sent = scene.sent();
    assert_eq!(sent.len(), 3, "{sent:?}");
    for (text, at) in sent.iter().zip(["T08:00:00Z|", "T09:00:00Z|", "T10:00:00Z|"]) {
        assert!(text.contains(at), "{text}");
    }
}

#[tokio::test]
async fn over_daylight_saving_each_local_time_fires_once() {
    let scene = Scene::new().await;
    scene.set("2026-10-24T12:00:00Z");
    let twice = json!({ "schedule": { "cron": "30 2 * * *" } });
    let id = saved(&scene.acme, &mondays(&twice)).await;
    // 02:30 comes at 00:30 and at 01:30; the next is on the day after.
    for (time, sent) in
        [("2026-10-25T00:30:00Z", 1), ("2026-10-25T01:30:00Z", 1), ("2026-10-26T01:30:00Z", 2)]
    {
        scene.set(time);
        scene.until_sent(sent).await;
        assert_eq!(scene.sent().len(), sent, "at {time}");
    }
    scene.until_next(&id, "2026-10-27T01:30:00Z").await;
    // In spring 02:30 does not exist, and fires at 03:00.
    scene.set("2027-03-27T12:00:00Z");
    scene.until_next(&id, "2027-03-28T01:00:00Z").await;
    scene.set("2027-03-28T01:00:00Z");
    scene.until_sent(3).await;
    scene.until_next(&id, "2027-03-29T00:30:00Z").await;
}

#[tokio::test]
async fn of_two_processes_on_one_store_one_fires() {
    let store = SharedStore::new();
    let limits = Limits { job_lease_ms: 5000, ..quick() };
    let scene = Scene::still(limits, Arc::clone(&store) as _).await;
    let ids =
        [saved(&scene.acme, &mondays(&json!({}))).await, saved(&scene.acme, &mondays(&json!({}))).await];
    for name in ["a", "b", "c"] {
        scene.workspace(name).await;
    }
    let (other, _) = scene.world.another_life(store.another() as _).await;
    // Why one of them executes the runs: each keeps the records of those that it executed.
    scene.world.engine.start_jobs();
    for engine in [&scene.world.engine, &other] {
        engine.start_schedules();
    }
    for (round, at) in [NINE, NEXT_MONDAY, "2026-12-14T08:00:00Z"].into_iter().enumerate() {
        scene.set(at);
        Clock::set(&scene.clock, &other, at);
        for id in &ids {
            scene.runs(id, at, 4).await;
        }
        assert_eq!(scene.sent().len(), (round + 1) * 8, "at {at}");
    }
    for id in &ids {
        until("the end is noted", async || {
            let last = scene.show(id).await["schedule_state"]["last"].clone();
            last["at"] == "2026-12-14T08:00:00Z" && last["runs"] == json!(4)
        })
        .await;
    }
    assert_eq!(scene.sent().len(), 24);
}
