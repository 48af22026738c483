//! What can be saved as a schedule, what is refused with which hint, and what a preview shows.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{AUTOMATIONS, NINE, Scene, mondays, quick, replace, save, saved};

/// Saves an automation with this schedule; returns pointer, code and message of what is wrong.
async fn refused(scene: &Scene, schedule: Value) -> (String, String, String) {
    let answer = save(&scene.acme, &mondays(&json!({ "schedule": schedule }))).await;
    let answer = answer.problem(Code::ValidationFailed);
    let text = |name: &str| answer.json["errors"][0][name].as_str().unwrap().to_owned();
    (text("pointer"), text("code"), text("message"))
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_told_when_it_is_saved() {
    let scene = Scene::new().await;
    let globex = scene.world.tenant("globex", "theirs").await;
    assert_eq!(globex.workspace_id, "theirs");
    for (schedule, pointer, code, says) in [
        (json!({ "cron": "0 0 9 * * MON" }), "/schedule/cron", "cron_invalid", "has 6 fields"),
        (json!({ "cron": "@daily" }), "/schedule/cron", "cron_invalid", "write \"0 0 * * *\""),
        (json!({ "cron": "0 25 * * *" }), "/schedule/cron", "cron_invalid", "hour is a number from 0 to 23"),
        (json!({ "cron": "0 0 30 2 *" }), "/schedule/cron", "cron_invalid", "it would never fire"),
        (json!({ "cron": "0 0 L * *" }), "/schedule/cron", "cron_invalid", "day of month"),
        (json!({ "cron": "" }), "/schedule/cron", "too_short", ""),
        (json!({ "cron": "1,".repeat(300) }), "/schedule/cron", "too_long", ""),
        (json!({ "cron": 5 }), "/schedule/cron", "wrong_type", ""),
        (
            json!({ "timezone": "Europe/Berln" }),
            "/schedule/timezone",
            "timezone_unknown",
            "did you mean \"Europe/Berlin\"?",
        ),
        (json!({ "timezone": "CEST" }), "/schedule/timezone", "timezone_unknown", "IANA"),
        (json!({ "timezone": "+02:00" }), "/schedule/timezone", "timezone_unknown", "IANA"),
        (
            json!({ "workspaces": ["main", "theirs"] }),
            "/schedule/workspaces/1",
            "workspace_not_found",
            "theirs",
        ),
        (
            json!({ "workspaces": ["../main"] }),
            "/schedule/workspaces/0",
            "workspace_not_found",
            "no workspace",
        ),
        (json!({ "workspaces": [] }), "/schedule/workspaces", "too_few", ""),
        (json!({ "workspaces": "some" }), "/schedule/workspaces", "wrong_form", "all"),
        (json!({ "workspaces": [5] }), "/schedule/workspaces/0", "wrong_type", ""),
        (json!({ "missed": "twice" }), "/schedule/missed", "not_in_list", ""),
        (json!({ "timezon": "UTC" }), "/schedule/timezon", "unknown_field", "timezone"),
    ] {
        let (at, what, message) = refused(&scene, schedule.clone()).await;
        assert_eq!((at.as_str(), what.as_str()), (pointer, code), "{schedule}: {message}");
        assert!(message.contains(says), "{schedule}: {message}");
    }
    // Several at once, and beside them what is right.
    let wrong = json!({ "cron": "x", "timezone": "y", "workspaces": ["z"] });
    let answer =
        save(&scene.acme, &mondays(&json!({ "schedule": wrong }))).await.problem(Code::ValidationFailed);
    assert_eq!(answer.json["errors"].as_array().unwrap().len(), 3, "{}", answer.text);
    for right in [
        json!({ "cron": "*/5 0-6,22 1 JAN-MAR mon-fri" }),
        json!({ "cron": "0 0 29 2 *", "timezone": "Asia/Kathmandu" }),
        json!({ "workspaces": ["main"], "missed": "once" }),
        json!({ "workspaces": "all", "missed": "skip" }),
    ] {
        save(&scene.acme, &mondays(&json!({ "schedule": right }))).await.is(201);
    }
}

#[tokio::test]
async fn an_automation_has_an_event_or_a_schedule() {
    let scene = Scene::new().await;
    for (members, pointers) in [
        (json!({ "schedule": null }), vec!["/entity_name", "/event_name"]),
        (json!({ "entity_name": "contact" }), vec!["/event_name"]),
        (json!({ "event_name": "made", "schedule": null }), vec!["/entity_name"]),
    ] {
        let answer = save(&scene.acme, &mondays(&members)).await.problem(Code::ValidationFailed);
        let errors = answer.json["errors"].as_array().unwrap();
        let told: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers, "{}", answer.text);
        assert_eq!(errors[0]["code"], "missing_field");
    }
    let shown = save(&scene.acme, &mondays(&json!({}))).await.is(201);
    assert_eq!((shown.json.get("entity_name"), shown.json.get("event_name")), (None, None));
    let whole = json!({
        "cron": "0 9 * * MON", "timezone": "Europe/Berlin", "workspaces": "all", "missed": "skip",
    });
    assert_eq!(shown.json["schedule"], whole, "defaults are shown");
    let list = scene.acme.org.get(AUTOMATIONS).await.is(200);
    assert_eq!(list.json["data"][0]["schedule_state"]["next_at"], NINE);
}

#[tokio::test]
async fn an_org_has_no_more_schedules_than_the_limit() {
    let scene = Scene::with(Limits { schedules: 2, schedule_workspaces: 1, ..quick() }).await;
    let first = saved(&scene.acme, &mondays(&json!({}))).await;
    saved(&scene.acme, &mondays(&json!({ "enabled": false }))).await;
    let answer = save(&scene.acme, &mondays(&json!({}))).await.problem(Code::ValidationFailed);
    assert_eq!(answer.json["errors"][0]["pointer"], "/schedule");
    assert!(answer.messages().contains("limits.schedules"), "{}", answer.text);
    replace(&scene.acme, &first, &mondays(&json!({ "schedule": { "cron": "0 8 * * *" } }))).await;
    let (pointer, code, message) = refused(&scene, json!({ "workspaces": ["main", "main"] })).await;
    assert_eq!((pointer.as_str(), code.as_str()), ("/schedule/workspaces", "too_many"), "{message}");
    scene.acme.org.delete(&format!("{AUTOMATIONS}/{first}")).await.is(204);
    saved(&scene.acme, &mondays(&json!({}))).await;
    // Another org has its own.
    let globex = scene.world.tenant("globex", "main").await;
    globex.org.post("/org/globex/automation", &mondays(&json!({}))).await.is(201);
    // And an automation without a schedule needs no place.
    let without = json!({ "entity_name": "a", "event_name": "b", "schedule": null });
    save(&scene.acme, &mondays(&without)).await.is(201);
}

#[tokio::test]
async fn a_preview_shows_the_next_times() {
    let scene = Scene::new().await;
    scene.set("2026-10-16T12:00:00Z");
    let source = json!({ "schedule": { "at": NINE, "previous_at": null } });
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    let body = json!({ "source": source });
    let shown = scene.acme.org.post(&format!("{AUTOMATIONS}/{id}/preview"), &body).await.is(200);
    let times = json!([
        "2026-10-19T07:00:00Z",
        "2026-10-26T08:00:00Z",
        "2026-11-02T08:00:00Z",
        "2026-11-09T08:00:00Z",
        "2026-11-16T08:00:00Z",
    ]);
    assert_eq!(shown.json["next_times"], times, "over the end of summer time");
    assert!(shown.json["input"]["Email"].as_str().unwrap().ends_with("|none"));
    let draft = json!({ "automation": mondays(&json!({})), "source": source });
    let shown = scene.acme.org.post(&format!("{AUTOMATIONS}/preview"), &draft).await.is(200);
    assert_eq!(shown.json["next_times"], times);
    let wrong = mondays(&json!({ "schedule": { "cron": "0 0 30 2 *" } }));
    let draft = json!({ "automation": wrong, "source": source });
    let refused = scene.acme.org.post(&format!("{AUTOMATIONS}/preview"), &draft).await;
    let refused = refused.problem(Code::ValidationFailed);
    assert_eq!(refused.json["errors"][0]["pointer"], "/automation/schedule/cron");
    let without = mondays(&json!({ "entity_name": "a", "event_name": "b", "schedule": null }));
    let draft = json!({ "automation": without, "source": source });
    let shown = scene.acme.org.post(&format!("{AUTOMATIONS}/preview"), &draft).await.is(200);
    assert_eq!(shown.json.get("next_times"), None);
}

#[tokio::test]
async fn only_the_org_saves_its_schedules() {
    let scene = Scene::new().await;
    let globex = scene.world.tenant("globex", "main").await;
    globex.org.post(AUTOMATIONS, &mondays(&json!({}))).await.problem(Code::OrgNotFound);
    scene.acme.workspace.post(AUTOMATIONS, &mondays(&json!({}))).await.problem(Code::RoleNotAllowed);
    scene.acme.run.post(AUTOMATIONS, &mondays(&json!({}))).await.problem(Code::RoleNotAllowed);
    let id = saved(&scene.acme, &mondays(&json!({}))).await;
    globex.org.get(&format!("{AUTOMATIONS}/{id}")).await.problem(Code::OrgNotFound);
}
