//! What fires, where, with which source, and how it is seen.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{NEXT_MONDAY, NINE, Scene, mondays, quick, replace, saved};
use crate::support::until;

/// A member of each run, in order.
fn each(runs: &[Value], name: &str) -> Vec<String> {
    let mut texts: Vec<_> = runs.iter().map(|run| run[name].as_str().unwrap_or("none").to_owned()).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn a_due_schedule_fires_one_run_in_each_workspace_with_the_time_as_its_source() {
    let scene = Scene::new().await;
    let side = scene.workspace("side").await;
    let other = scene.world.tenant("globex", "main").await;
    other.connect("salesforce", json!({ "api_key": super::KEY })).await;
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    assert_eq!(scene.show(&id).await["schedule_state"], json!({ "next_at": NINE }));
    scene.set("2026-11-30T07:59:59Z");
    scene.set("2026-11-30T08:00:05Z");
    let runs = scene.runs(&id, NINE, 2).await;
    assert_eq!(each(&runs, "status"), ["succeeded", "succeeded"]);
    assert_eq!(each(&runs, "workspace"), ["main", "side"]);
    assert!(runs.iter().all(|run| run["automation_id"] == id.as_str()), "{runs:?}");
    let sent = scene.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|text| text.contains("2026-11-30T08:00:00Z|none")), "{sent:?}");
    assert_eq!(other.run.get("/run/globex/main").await.is(200).json["data"], json!([]));
    // One workspace's own list has its run by the same filter.
    let path = format!("/run/acme/side?event_id=schedule:{id}:{NINE}");
    assert_eq!(side.run.get(&path).await.is(200).json["data"].as_array().unwrap().len(), 1);

    scene.set(NEXT_MONDAY);
    scene.runs(&id, NEXT_MONDAY, 2).await;
    let sent = scene.sent();
    assert!(
        sent[2..].iter().all(|text| text.contains("2026-12-07T08:00:00Z|2026-11-30T08:00:00Z")),
        "{sent:?}"
    );
    scene.until_next(&id, "2026-12-14T08:00:00Z").await;
    until("the end is noted", async || scene.show(&id).await["schedule_state"]["last"]["at"] == NEXT_MONDAY)
        .await;
    let state = &scene.show(&id).await["schedule_state"];
    assert_eq!(state["previous_at"], NEXT_MONDAY);
    let last = json!({ "at": NEXT_MONDAY, "event_id": format!("schedule:{id}:{NEXT_MONDAY}"), "runs": 2 });
    assert_eq!(state["last"], last);
}

#[tokio::test]
async fn only_the_workspaces_that_are_named_are_fired_and_one_that_is_gone_is_left_out() {
    let scene = Scene::new().await;
    let _side = scene.workspace("side").await;
    let _gone = scene.workspace("gone").await;
    let named = json!({ "schedule": { "workspaces": ["side", "gone"] } });
    let id = saved(&scene.acme, &mondays(&named)).await;
    scene.world.platform.delete("/admin/org/acme/workspace/gone").await.is(204);
    scene.set(NINE);
    let runs = scene.runs(&id, NINE, 1).await;
    assert_eq!(each(&runs, "workspace"), ["side"]);
    until("the end is noted", async || scene.show(&id).await["schedule_state"]["last"]["runs"] == json!(1))
        .await;
}

#[tokio::test]
async fn more_workspaces_than_a_batch_each_get_one_run() {
    let scene = Scene::new().await;
    let id = saved(&scene.acme, &mondays(&json!({ "entry_conditions": { "path": "/x", "eq": 1 } }))).await;
    for number in 0..130 {
        let body = json!({ "workspace": format!("w{number:03}") });
        scene.world.platform.post("/admin/org/acme/workspace", &body).await.is(201);
    }
    scene.set(NINE);
    until("the end is noted", async || scene.show(&id).await["schedule_state"]["last"]["runs"] == json!(131))
        .await;
    let list = "/run/acme/w129";
    let data = scene.acme.org.get(list).await.is(200).json["data"].clone();
    assert_eq!(data.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_reason_not_to_call_is_in_the_list_of_runs() {
    let scene = Scene::new().await;
    let bare = scene.world.tenant("acme", "bare").await;
    let out = scene.workspace("out").await;
    out.workspace.put(&out.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
    let reason = async |members: Value| saved(&scene.acme, &mondays(&members)).await;
    let unfit = reason(json!({ "entry_conditions": { "path": "/schedule/at", "eq": "never" } })).await;
    let fit = reason(json!({
        "entry_conditions": { "path": "/schedule/at", "eq": NINE }, "schedule": { "workspaces": ["bare"] },
    }))
    .await;
    let opted = reason(json!({ "schedule": { "workspaces": ["out"] } })).await;
    let lacking = reason(json!({
        "schedule": { "workspaces": ["main"] },
        "destination_config": { "field_mapping": { "Email": "for {{source.user.name}}" } },
    }))
    .await;
    scene.set(NINE);
    let runs = scene.runs(&unfit, NINE, 3).await;
    assert_eq!(each(&runs, "status"), ["skipped"; 3]);
    assert_eq!(each(&runs, "reason"), ["condition_false"; 3]);
    let runs = scene.runs(&fit, NINE, 1).await;
    assert_eq!((&runs[0]["status"], &runs[0]["reason"]), (&json!("skipped"), &json!("unconfigured")));
    let runs = scene.runs(&opted, NINE, 1).await;
    assert_eq!((&runs[0]["status"], &runs[0]["reason"]), (&json!("skipped"), &json!("opted_out")));
    let runs = scene.runs(&lacking, NINE, 1).await;
    assert_eq!((&runs[0]["status"], &runs[0]["code"]), (&json!("failed"), &json!("input_invalid")));
    assert!(runs[0]["message"].as_str().unwrap().contains("source.user"), "{}", runs[0]);
    // The one that can be taken up, then the records.
    let path = "/run/acme/bare?status=skipped";
    let first = bare.run.get(path).await.is(200).json;
    let then = format!("{path}&starting_after={}", first["next"].as_str().unwrap());
    let then = bare.run.get(&then).await.is(200).json;
    let reasons = [&first, &then].map(|page| page["data"][0]["reason"].clone());
    assert_eq!(reasons, [json!("unconfigured"), json!("condition_false")]);

    scene.world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    scene.set(NEXT_MONDAY);
    let runs = scene.runs(&fit, NEXT_MONDAY, 1).await;
    assert_eq!(runs[0]["reason"], "condition_false", "its condition names the other Monday");
    let runs = scene.runs(&opted, NEXT_MONDAY, 1).await;
    assert_eq!((&runs[0]["status"], &runs[0]["reason"]), (&json!("skipped"), &json!("connector_disabled")));
    assert!(scene.sent().is_empty());
}

#[tokio::test]
async fn a_workspace_that_is_full_has_a_run_that_says_so_and_delays_no_other() {
    let limits = Limits { workspace_open_jobs: 1, ..quick() };
    let scene = Scene::still(limits, std::sync::Arc::new(portcullis_store::MemoryStore::new())).await;
    let _side = scene.workspace("side").await;
    let one = saved(&scene.acme, &mondays(&json!({ "schedule": { "workspaces": ["main"] } }))).await;
    scene.world.engine.start_schedules();
    scene.set(NINE);
    until("it fired", async || scene.show(&one).await["schedule_state"]["last"]["runs"] == json!(1)).await;
    let two = saved(&scene.acme, &mondays(&json!({ "schedule": { "cron": "5 9 * * MON" } }))).await;
    scene.set("2026-11-30T08:05:00Z");
    until("it fired", async || scene.show(&two).await["schedule_state"]["last"]["runs"] == json!(2)).await;
    let full = scene.acme.run.get("/run/acme/main?status=failed").await.is(200);
    assert_eq!(full.json["data"][0]["code"], Code::WorkspaceBusy.as_str(), "{}", full.text);
    scene.world.engine.start_jobs();
    let runs = scene.runs(&two, "2026-11-30T08:05:00Z", 2).await;
    assert_eq!(each(&runs, "status"), ["failed", "succeeded"]);
}

#[tokio::test]
async fn an_automation_with_an_event_and_a_schedule_fires_by_both() {
    let scene = Scene::new().await;
    let both = json!({
        "entity_name": "contact", "event_name": "contact.created",
        "destination_config": { "field_mapping": { "Email": "one@example.org" } },
    });
    let id = saved(&scene.acme, &mondays(&both)).await;
    let event = json!({ "entity_name": "contact", "event_name": "contact.created", "source": {} });
    let fired = scene.acme.run.post("/run/acme/main/event", &event).await.is(200);
    assert_eq!(fired.json["data"][0]["automation_id"], id.as_str());
    scene.set(NINE);
    scene.runs(&id, NINE, 1).await;
    assert_eq!(scene.sent().len(), 2);
    // One with a schedule alone is bound to no event.
    let alone = saved(&scene.acme, &mondays(&json!({}))).await;
    let fired = scene.acme.run.post("/run/acme/main/event", &event).await.is(200);
    assert_eq!(fired.json["data"].as_array().unwrap().len(), 1);
    assert!(!fired.text.contains(&alone));
}

#[tokio::test]
async fn what_is_switched_off_or_deleted_or_changed_fires_no_more() {
    let scene = Scene::new().await;
    let off = saved(&scene.acme, &mondays(&json!({}))).await;
    replace(&scene.acme, &off, &mondays(&json!({ "enabled": false }))).await;
    assert_eq!(scene.show(&off).await["schedule_state"], json!({}));
    let gone = saved(&scene.acme, &mondays(&json!({}))).await;
    scene.acme.org.delete(&format!("{}/{gone}", super::AUTOMATIONS)).await.is(204);
    let moved = saved(&scene.acme, &mondays(&json!({}))).await;
    replace(&scene.acme, &moved, &mondays(&json!({ "schedule": { "cron": "30 9 * * MON" } }))).await;
    let dropped = saved(&scene.acme, &mondays(&json!({ "entity_name": "a", "event_name": "b" }))).await;
    let without = json!({ "entity_name": "a", "event_name": "b", "schedule": null });
    replace(&scene.acme, &dropped, &mondays(&without)).await;
    let shown = scene.show(&dropped).await;
    assert_eq!((shown.get("schedule"), shown.get("schedule_state")), (None, None));
    scene.set("2026-11-30T08:00:30Z");
    scene.set("2026-11-30T08:30:00Z");
    scene.runs(&moved, "2026-11-30T08:30:00Z", 1).await;
    assert_eq!(scene.sent().len(), 1);
    // Switched on again, it misses nothing of the time when it was off.
    replace(&scene.acme, &off, &mondays(&json!({ "schedule": { "missed": "once" } }))).await;
    scene.until_next(&off, NEXT_MONDAY).await;
    assert_eq!(scene.sent().len(), 1);
}

#[tokio::test]
async fn runs_of_one_time_have_one_key_for_the_vendor_and_other_times_another() {
    let scene = Scene::new().await;
    let mut definition = crate::support::salesforce();
    definition["actions"][0]["idempotency"] = json!({ "in": "header", "name": "Idempotency-Key" });
    scene.world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    scene.set(NINE);
    scene.runs(&id, NINE, 1).await;
    scene.set(NEXT_MONDAY);
    scene.runs(&id, NEXT_MONDAY, 1).await;
    let received = scene.world.upstream.received_on(super::PATH);
    let keys: Vec<_> = received.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(!keys[0].is_empty() && keys[0] != keys[1], "{keys:?}");
}
