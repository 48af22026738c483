//! Events whose runs are executed later: accepted together, each a durable run of its own, and told again by a repeat.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{EVENT, bind, connected, connected_on, contact_created, each, of, sending, sorted};
use crate::support::{Answer, Stage, Tenant};

async fn send_later(tenant: &Tenant, event: &Value) -> Answer {
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    tenant.run.send("POST", EVENT, &headers, event.to_string().into_bytes()).await
}

async fn ended(tenant: &Tenant, run: &Value) -> Value {
    let path = format!("/run/acme/main/{}?wait=30", run["run_id"].as_str().unwrap());
    tenant.run.get(&path).await.is(200).json
}

#[tokio::test]
async fn the_runs_of_an_event_are_accepted_and_executed_later() {
    let (world, acme) = connected().await;
    let one = bind(&acme, sending("one@example.org")).await;
    let two = bind(&acme, sending("two@example.org")).await;
    let unwanted = bind(&acme, json!({ "entry_conditions": { "path": "/stage", "eq": "won" } })).await;
    let lacking = bind(&acme, sending("{{source.user.name}}@example.org")).await;
    let accepted = send_later(&acme, &contact_created(Some("later-1"))).await.is(202);
    assert_eq!(sorted(each(&accepted, "automation_id")), sorted(vec![&one, &two, &unwanted, &lacking]));
    for id in [&one, &two] {
        let run = of(&accepted, id);
        assert_eq!((&run["status"], &run["event_id"]), (&json!("queued"), &json!("later-1")), "{run}");
    }
    assert_eq!(of(&accepted, &unwanted)["reason"], "condition_false");
    assert_eq!(of(&accepted, &lacking)["code"], Code::InputInvalid.as_str());
    assert!(world.upstream.received().is_empty(), "nothing is sent before a worker begins");
    let repeated = send_later(&acme, &contact_created(Some("later-1"))).await.is(202);
    assert_eq!(of(&repeated, &one)["run_id"], of(&accepted, &one)["run_id"]);

    world.engine.start_jobs();
    for id in [&one, &two] {
        let run = ended(&acme, of(&accepted, id)).await;
        assert_eq!((&run["status"], &run["event_id"]), (&json!("succeeded"), &json!("later-1")), "{run}");
        assert_eq!(run["automation_id"], id.as_str());
    }
    let repeated = send_later(&acme, &contact_created(Some("later-1"))).await.is(200);
    assert_eq!(of(&repeated, &two)["status"], "succeeded");
    assert_eq!(world.upstream.received().len(), 2, "each was sent once");
}

#[tokio::test]
async fn an_event_that_is_delivered_now_and_later_is_one_event() {
    let (world, acme) = connected().await;
    let id = bind(&acme, json!({})).await;
    let now = acme.run.post(EVENT, &contact_created(Some("once"))).await.is(200);
    let later = send_later(&acme, &contact_created(Some("once"))).await.is(200);
    assert_eq!(of(&later, &id)["run_id"], of(&now, &id)["run_id"]);
    world.engine.start_jobs();
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn a_time_to_begin_is_for_runs_that_are_executed_later() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let mut event = contact_created(None);
    event["not_before"] = json!("2020-01-01T00:00:00Z");
    let refused = acme.run.post(EVENT, &event).await.problem(Code::ValidationFailed);
    assert_eq!(refused.json["errors"][0]["pointer"], "/not_before");
    send_later(&acme, &event).await.is(202);
    event["not_before"] = json!("soon");
    send_later(&acme, &event).await.problem(Code::ValidationFailed);
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn what_a_full_workspace_could_not_take_is_accepted_by_the_next_delivery() {
    let limits = Limits { workspace_open_jobs: 1, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    bind(&acme, sending("one@example.org")).await;
    bind(&acme, sending("two@example.org")).await;
    let lacking = bind(&acme, sending("{{source.user.name}}@example.org")).await;
    let event = contact_created(Some("full"));
    let first = send_later(&acme, &event).await.is(202);
    let at = |answer: &Answer, code: &str| each(answer, "code").iter().position(|other| *other == code);
    let busy = at(&first, "workspace_busy").unwrap();
    assert_eq!(of(&first, &lacking)["code"], "input_invalid");
    let other = each(&first, "status").iter().position(|status| *status == "queued").unwrap();
    let still = send_later(&acme, &event).await.is(202);
    assert_eq!(at(&still, "workspace_busy"), Some(busy), "it is full: {}", still.text);
    world.engine.start_jobs();
    ended(&acme, &first.json["data"][other]).await;
    let now = send_later(&acme, &event).await.is(202);
    assert_eq!(now.json["data"][busy]["status"], "queued", "{}", now.text);
    assert_eq!(now.json["data"][other]["run_id"], first.json["data"][other]["run_id"]);
    assert_eq!(of(&now, &lacking)["message"], of(&first, &lacking)["message"], "a mistake stays one");
    ended(&acme, &now.json["data"][busy]).await;
    let over = send_later(&acme, &event).await.is(200);
    assert_eq!(sorted(each(&over, "status")), ["failed", "succeeded", "succeeded"]);
    assert_eq!(world.upstream.received().len(), 2, "each was sent once");
}
