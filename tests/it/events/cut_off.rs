//! Events that were cut off while a call was with the third party: what may have been carried out is not sent again.

use std::sync::Arc;

use portcullis_core::limits::Limits;
use portcullis_store::{MemoryStore, Store};
use serde_json::{Value, json};

use super::{EVENT, KEY, PATH, bind, contact_created, each, of, send, sending};
use crate::support::{Script, Stage, Tenant, World, salesforce, until};

/// Sends the event with one call at a time, and has the process end while the first call is with the third party.
/// Returns the next life.
async fn cut_off(definition: &Value) -> (World, Tenant, [String; 2]) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let limits = Limits { event_calls: 1, concurrent_calls: 32, ..Limits::default() };
    let stage = Stage { limits, store: Some(Arc::clone(&store)), ..Stage::default() };
    let world = stage.start().await;
    world.platform.post("/admin/connector", definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let both = [bind(&acme, sending("1@example.org")).await, bind(&acme, sending("2@example.org")).await];
    world.upstream.script(PATH, Script::turns(vec![Script::Silence, Script::Json(201, "{}")]));
    let run = acme.run.clone();
    let first = tokio::spawn(async move { run.post(EVENT, &contact_created(Some("e1"))).await });
    until("the first call is made", async || world.upstream.received_on(PATH).len() == 1).await;
    let address = world.life_after_a_kill(store).await;
    first.abort();
    let later = acme.at(address);
    (world, later, both)
}

/// Which of the automations was called first.
fn first_sent(world: &World) -> usize {
    usize::from(!world.upstream.received_on(PATH)[0].text().contains("1@example.org"))
}

#[tokio::test]
async fn a_call_that_may_have_been_carried_out_is_told_as_interrupted_and_what_was_not_begun_is_called() {
    let (world, later, both) = cut_off(&salesforce()).await;
    let sent = first_sent(&world);
    let answer = send(&later, &contact_created(Some("e1"))).await.is(200);
    let interrupted = of(&answer, &both[sent]);
    assert_eq!((&interrupted["status"], &interrupted["reason"]), (&json!("failed"), &json!("interrupted")));
    assert_eq!(interrupted["output_kept"], false);
    assert_eq!(of(&answer, &both[1 - sent])["status"], "succeeded", "{}", answer.text);
    assert_eq!(world.upstream.received_on(PATH).len(), 2, "each automation was sent once");
    let again = send(&later, &contact_created(Some("e1"))).await.is(200);
    for name in ["automation_id", "run_id", "status", "reason"] {
        assert_eq!(each(&again, name), each(&answer, name), "{name}");
    }
    assert_eq!(world.upstream.received_on(PATH).len(), 2);
}

#[tokio::test]
async fn a_call_whose_repeat_the_vendor_recognizes_is_made_again_with_the_same_key() {
    let mut definition = salesforce();
    definition["actions"][0]["idempotency"] = json!({ "in": "header", "name": "Idempotency-Key" });
    let (world, later, _) = cut_off(&definition).await;
    let answer = send(&later, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&answer, "status"), ["succeeded", "succeeded"]);
    let received = world.upstream.received_on(PATH);
    assert_eq!(received.len(), 3);
    let key = |at: usize| received[at].header("idempotency-key").join("");
    let repeats = (1..3).filter(|at| key(*at) == key(0)).count();
    assert_eq!(repeats, 1, "the key of the call that was cut off");
}
