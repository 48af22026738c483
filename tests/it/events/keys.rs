//! Events with an idempotency key of the caller's: fired once, answered as before, and never for another event.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{EVENT, bind, connected, connected_on, contact_created, each, send, sending};
use crate::support::{Answer, Stage, Tenant};

async fn keyed(tenant: &Tenant, key: &str, later: bool, event: &Value) -> Answer {
    let mut headers = vec![("idempotency-key", key), ("content-type", "application/json")];
    if later {
        headers.push(("prefer", "respond-async"));
    }
    tenant.run.send("POST", EVENT, &headers, event.to_string().into_bytes()).await
}

#[tokio::test]
async fn an_event_that_comes_again_with_its_key_is_answered_as_the_first_was_and_not_fired() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    bind(&acme, sending("{{source.user.name}}!")).await;
    let event = contact_created(None);
    let first = keyed(&acme, "k-1", false, &event).await.is(200);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = keyed(&acme, "k-1", false, &event).await.is(200);
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, Some("true")));
    assert_eq!(world.upstream.received().len(), 1);
    let mut other = event.clone();
    other["source"]["email"] = json!("other@example.org");
    keyed(&acme, "k-1", false, &other).await.problem(Code::IdempotencyKeyReused);
    let second = keyed(&acme, "k-2", false, &event).await.is(200);
    assert_ne!(second.json["event_id"], first.json["event_id"]);
    assert_eq!(world.upstream.received().len(), 2);
    // The id that was made of the key is one like any other.
    let id = first.json["event_id"].as_str().unwrap();
    let by_id = send(&acme, &contact_created(Some(id))).await.is(200);
    assert_eq!(each(&by_id, "run_id"), each(&first, "run_id"));
    assert_eq!(world.upstream.received().len(), 2);
}

#[tokio::test]
async fn an_event_with_a_mistake_of_its_caller_leaves_its_key_free() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let mut wrong = contact_created(None);
    wrong["event_id"] = json!("a\nb");
    keyed(&acme, "k-1", false, &wrong).await.problem(Code::ValidationFailed);
    let mended = keyed(&acme, "k-1", false, &contact_created(Some("e1"))).await.is(200);
    assert_eq!((mended.header("idempotency-replayed"), &mended.json["event_id"]), (None, &json!("e1")));
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn an_event_of_which_something_could_not_be_accepted_is_taken_up_with_its_key_alone() {
    let limits = Limits { workspace_open_jobs: 1, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    bind(&acme, sending("one@example.org")).await;
    bind(&acme, sending("two@example.org")).await;
    let event = contact_created(None);
    let first = keyed(&acme, "k-1", true, &event).await.is(202);
    let queued = each(&first, "status").iter().position(|status| *status == "queued").unwrap();
    assert_eq!(first.json["data"][1 - queued]["code"], "workspace_busy");
    let mut other = event.clone();
    other["source"]["email"] = json!("other@example.org");
    keyed(&acme, "k-1", true, &other).await.problem(Code::IdempotencyKeyReused);
    world.engine.start_jobs();
    let run = first.json["data"][queued]["run_id"].as_str().unwrap();
    acme.run.get(&format!("/run/acme/main/{run}?wait=30")).await.is(200);
    let now = keyed(&acme, "k-1", true, &event).await.is(202);
    assert_eq!(now.header("idempotency-replayed"), None, "it fired something");
    assert_eq!(now.json["data"][1 - queued]["status"], "queued", "{}", now.text);
    let again = keyed(&acme, "k-1", true, &event).await.is(202);
    assert_eq!((&again.text, again.header("idempotency-replayed")), (&now.text, Some("true")));
}
