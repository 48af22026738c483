//! Which automations an event fires, and what is told of each.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{EVENT, PATH, bind, connected, connected_on, contact_created, each, of, send, sending, sorted};
use crate::support::shared_store::SharedStore;
use crate::support::world::contact_automation;
use crate::support::{Script, Stage, until};

const STAGES: [&str; 2] = ["before", "after"];
const OPTYPES: [&str; 3] = ["create", "update", "delete"];

#[tokio::test]
async fn an_event_fires_what_is_bound_to_its_entity_name_stage_and_operation_and_nothing_else() {
    let (world, acme) = connected().await;
    let mut bound = Vec::new();
    for stage in STAGES {
        for optype in OPTYPES {
            let members = json!({ "event_stage": stage, "event_optype": optype });
            bound.push((stage, optype, bind(&acme, members).await));
        }
    }
    bind(&acme, json!({ "entity_name": "deal" })).await;
    bind(&acme, json!({ "event_name": "contact.left" })).await;
    for (stage, optype, id) in &bound {
        let mut event = contact_created(None);
        event["event_stage"] = json!(stage);
        event["event_optype"] = json!(optype);
        let answer = send(&acme, &event).await.is(200);
        assert_eq!(each(&answer, "automation_id"), [id.as_str()], "{stage} {optype}");
        assert_eq!(each(&answer, "status"), ["succeeded"]);
        assert!(answer.json["event_id"].as_str().unwrap().starts_with("evt_"), "{}", answer.text);
    }
    assert_eq!(world.upstream.received().len(), bound.len());
    let mut event = contact_created(None);
    event.as_object_mut().unwrap().remove("event_optype");
    let answer = send(&acme, &event).await.is(200);
    let after_create = bound.iter().find(|(stage, optype, _)| (*stage, *optype) == ("after", "create"));
    assert_eq!(each(&answer, "automation_id"), [after_create.unwrap().2.as_str()], "the defaults");
    event["event_name"] = json!("contact.never");
    let before = world.before().await;
    assert_eq!(send(&acme, &event).await.is(200).json["data"], json!([]));
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn an_event_is_answered_whole_when_one_of_its_calls_fails_and_another_succeeds() {
    let (world, acme) = connected().await;
    let fine = bind(&acme, sending("fine@example.org")).await;
    let bad = bind(&acme, sending("bad@example.org")).await;
    let lacking = bind(&acme, sending("{{source.user.name}}@example.org")).await;
    let unwanted = bind(&acme, json!({ "entry_conditions": [{ "path": "/stage", "eq": "won" }] })).await;
    let off = bind(&acme, json!({ "enabled": false })).await;
    world.upstream.script(
        PATH,
        Script::made(|request| match request.text().contains("bad@") {
            true => Script::Json(400, r#"{"message":"no"}"#),
            false => Script::Json(201, r#"{"id":"003"}"#),
        }),
    );
    let answer = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(answer.json["event_id"], "e1");
    let all = sorted(vec![&fine, &bad, &lacking, &unwanted, &off]);
    assert_eq!(sorted(each(&answer, "automation_id")), all);
    assert_eq!(of(&answer, &fine)["status"], "succeeded");
    assert_eq!(of(&answer, &fine)["output"], json!({ "id": "003" }));
    let failed = of(&answer, &bad);
    assert_eq!((&failed["status"], &failed["code"]), (&json!("failed"), &json!("upstream_status")));
    assert_eq!(failed["class"], "validation");
    assert!(failed["message"].is_string());
    let problem = of(&answer, &lacking);
    assert_eq!((&problem["status"], &problem["code"]), (&json!("failed"), &json!("input_invalid")));
    assert_eq!(problem["errors"][0]["pointer"], "/source/user/name");
    assert_eq!(problem.get("run_id"), None, "nothing ran");
    for skipped in [&unwanted, &off] {
        let skipped = of(&answer, skipped);
        let told = (&skipped["status"], &skipped["reason"]);
        assert_eq!(told, (&json!("skipped"), &json!("condition_false")));
    }
    assert_eq!(world.upstream.received().len(), 2);
    let runs = acme.run.get("/run/acme/main").await.is(200);
    let runs = runs.json["data"].as_array().unwrap();
    assert_eq!(runs.len(), 4, "what was no run has no record");
    assert!(runs.iter().all(|run| run["event_id"] == "e1" && run["automation_id"].is_string()), "{runs:?}");
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    let answer = send(&acme, &contact_created(Some("e2"))).await.is(200);
    for skipped in [&fine, &bad] {
        assert_eq!(of(&answer, skipped)["reason"], "connector_disabled");
    }
    assert_eq!(world.upstream.received().len(), 2);
}

#[tokio::test]
async fn what_is_bound_follows_every_change_of_an_automation() {
    let (_world, acme) = connected().await;
    let first = bind(&acme, json!({})).await;
    let event = contact_created(None);
    assert_eq!(each(&send(&acme, &event).await.is(200), "automation_id"), [first.as_str()]);
    let second = bind(&acme, json!({})).await;
    let both = send(&acme, &event).await.is(200);
    assert_eq!(sorted(each(&both, "automation_id")), sorted(vec![&first, &second]));
    let path = format!("/org/acme/automation/{first}");
    let mut moved = contact_automation();
    moved["event_name"] = json!("contact.left");
    acme.org.put(&path, &moved).await.is(200);
    assert_eq!(each(&send(&acme, &event).await.is(200), "automation_id"), [second.as_str()]);
    acme.org.delete(&format!("/org/acme/automation/{second}")).await.is(204);
    assert_eq!(send(&acme, &event).await.is(200).json["data"], json!([]));
}

#[tokio::test]
async fn an_automation_that_another_process_wrote_is_fired_at_once() {
    let store = SharedStore::new();
    let stage = Stage { store: Some(Arc::clone(&store) as _), ..Stage::default() };
    let (world, acme) = connected_on(stage).await;
    let event = contact_created(None);
    assert_eq!(send(&acme, &event).await.is(200).json["data"], json!([]));
    let (other, address) = world.another_life(store.another()).await;
    // Not told of by the feed yet: the first event asks for it.
    let made = bind(&acme.at(address), json!({})).await;
    assert_eq!(each(&send(&acme, &event).await.is(200), "automation_id"), [made.as_str()]);
    acme.at(address).org.delete(&format!("/org/acme/automation/{made}")).await.is(204);
    assert_eq!(send(&acme, &event).await.is(200).json["data"], json!([]));
    drop(other);
}

#[tokio::test]
async fn an_event_that_would_fire_too_many_automations_fires_none_of_them() {
    let limits = Limits { automations_per_event: 2, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    for _ in 0..2 {
        let made = acme.org.post("/org/acme/automation", &contact_automation()).await.is(201);
        assert_eq!(made.json.get("warnings"), None);
    }
    let made = acme.org.post("/org/acme/automation", &contact_automation()).await.is(201);
    assert_eq!(made.json["warnings"][0]["code"], "too_many_automations", "{}", made.text);
    let last = made.json["automation_id"].as_str().unwrap();
    let answer = send(&acme, &contact_created(Some("e1"))).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/event_name", "too_many_automations")]);
    assert!(answer.messages().contains("limits.automations_per_event"), "{}", answer.messages());
    assert_eq!(world.upstream.received().len(), 0);
    acme.org.delete(&format!("/org/acme/automation/{last}")).await.is(204);
    let answer = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&answer, "status"), ["succeeded", "succeeded"], "the refused one left nothing behind");
}

#[tokio::test]
async fn an_event_makes_a_few_calls_at_once_and_no_more_than_its_workspace_may() {
    for (event_calls, workspace_calls, together) in [(2, 32, 2), (8, 3, 3), (8, 1, 1)] {
        let limits = Limits {
            event_calls,
            workspace_concurrent_calls: workspace_calls,
            concurrent_calls: 32,
            ..Limits::default()
        };
        let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
        for _ in 0..5 {
            bind(&acme, json!({})).await;
        }
        let permits = Arc::new(Semaphore::new(0));
        let answer = Box::new(Script::Json(201, "{}"));
        world.upstream.script(PATH, Script::Held(Arc::clone(&permits), answer));
        let (run, event) = (acme.run.clone(), contact_created(None));
        let sent = tokio::spawn(async move { run.post(EVENT, &event).await });
        until("as many calls as may", async || world.upstream.received().len() == together).await;
        assert_eq!(world.engine.active_calls(), together, "{event_calls} {workspace_calls}");
        assert_eq!(world.engine.scheduler().calls(), together);
        permits.add_permits(5);
        let answer = sent.await.unwrap().is(200);
        assert_eq!(each(&answer, "status"), ["succeeded"; 5]);
        until("every place is given back", async || world.engine.scheduler().calls() == 0).await;
    }
}

#[tokio::test]
async fn an_event_is_a_run_token_s_of_its_own_tenant() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let globex = world.tenant("globex", "main").await;
    let event = contact_created(None);
    globex.run.post(EVENT, &event).await.problem(Code::OrgNotFound);
    for other in [&acme.org, &acme.workspace, &world.platform] {
        other.post(EVENT, &event).await.problem(Code::RoleNotAllowed);
    }
    acme.run.anonymous().post(EVENT, &event).await.problem(Code::Unauthorized);
    assert_eq!(send(&globex, &event).await.is(200).json["data"], json!([]), "another org's automations");
    assert_eq!(world.upstream.received().len(), 0);
    assert_eq!(each(&send(&acme, &event).await.is(200), "status"), ["succeeded"]);
}

#[tokio::test]
async fn a_wrong_event_is_refused_with_what_is_wrong_and_fires_nothing() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let before = world.before().await;
    let with = |name: &str, value: Value| {
        let mut event = contact_created(None);
        event[name] = value;
        event
    };
    for (event, pointer) in [
        (with("evnet_id", json!("1")), "/evnet_id"),
        (with("event_stage", json!("during")), "/event_stage"),
        (with("event_optype", json!("upsert")), "/event_optype"),
        (with("event_id", json!("")), "/event_id"),
        (with("event_id", json!("a".repeat(256))), "/event_id"),
        (with("event_id", json!("ä".repeat(128))), "/event_id"),
        (with("event_id", json!("a\nb")), "/event_id"),
        (with("entity_name", json!("")), "/entity_name"),
        (with("source", json!([])), "/source"),
        (json!({ "entity_name": "contact", "event_name": "contact.created" }), "/source"),
    ] {
        let answer = send(&acme, &event).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations()[0].0, pointer, "{}", answer.text);
    }
    let event = contact_created(None);
    let dry = acme.run.post(&format!("{EVENT}?dry_run=true"), &event).await;
    dry.problem(Code::UnknownParameter);
    let long = "k".repeat(256);
    for key in ["", &long] {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        let answer = acme.run.send("POST", EVENT, &headers, event.to_string().into_bytes()).await;
        answer.problem(Code::BadRequest);
    }
    world.assert_untouched(&before).await;
    send(&acme, &with("event_id", json!("a".repeat(255)))).await.is(200);
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn outputs_for_which_an_answer_has_no_room_are_left_out() {
    let limits = Limits { event_answer_bytes: 12_000, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    for _ in 0..4 {
        bind(&acme, json!({})).await;
    }
    world.upstream.script(PATH, Script::json(201, &json!({ "text": "x".repeat(5000) })));
    let answer = send(&acme, &contact_created(None)).await.is(200);
    assert_eq!(each(&answer, "status"), ["succeeded"; 4]);
    let entries = answer.json["data"].as_array().unwrap();
    let (short, whole): (Vec<&Value>, Vec<&Value>) =
        entries.iter().partition(|entry| entry["output_kept"] == false);
    assert!(!whole.is_empty() && !short.is_empty(), "{}", answer.text);
    assert!(whole.iter().all(|entry| entry["output"]["text"].is_string()));
    assert!(short.iter().all(|entry| entry.get("output").is_none() && entry["upstream"]["status"] == 201));
}

#[tokio::test]
async fn a_source_that_too_many_accepted_runs_would_keep_is_refused_before_any_is_accepted() {
    let limits = Limits { event_source_bytes: 2000, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    bind(&acme, json!({})).await;
    let mut event = contact_created(Some("large"));
    event["source"]["note"] = json!("x".repeat(1200));
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let later =
        async |event: &Value| acme.run.send("POST", EVENT, &headers, event.to_string().into_bytes()).await;
    later(&event).await.is(202);
    bind(&acme, json!({})).await;
    event["event_id"] = json!("larger");
    let before = world.before().await;
    let refused = later(&event).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations()[0].0, "/source", "{}", refused.text);
    assert!(refused.text.contains("limits.event_source_bytes"), "{}", refused.text);
    world.assert_untouched(&before).await;
    send(&acme, &event).await.is(200);
}
