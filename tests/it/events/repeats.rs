//! Deliveries of one event that come again: later, at the same time, after a restart, and after one that was cut off.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, RunId};
use portcullis_core::limits::Limits;
use portcullis_store::{EventLease, EventOrder, EventRecord, FiredAutomation, MemoryStore, Store, Writes};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    EVENT, KEY, PATH, bind, connected, connected_on, contact_created, each, of, send, sending, sorted,
};
use crate::support::shared_store::SharedStore;
use crate::support::{Script, Stage, Tenant, World, salesforce, until};

/// SHA-256 of `e1`, hexadecimal.
fn hash() -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"e1");
    hex::encode(digest.as_ref())
}

/// Ids of runs as the product makes them.
const RUN_2: &str = "run_019adc1000027abc8def000000000002";
const RUN_3: &str = "run_019adc1000037abc8def000000000003";
const RUN_4: &str = "run_019adc1000047abc8def000000000004";

fn waiting(ms: u64) -> Limits {
    Limits { event_wait_ms: ms, concurrent_calls: 32, ..Limits::default() }
}

#[tokio::test]
async fn an_event_that_comes_again_is_told_what_came_of_the_first_and_sends_nothing() {
    let (world, acme) = connected().await;
    let fine = bind(&acme, json!({})).await;
    let lacking = bind(&acme, sending("{{source.user.name}}!")).await;
    bind(&acme, json!({ "enabled": false })).await;
    let first = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(sorted(each(&first, "status")), ["failed", "skipped", "succeeded"]);
    // Another source and an automation that was made since: it is the first delivery that counts.
    bind(&acme, json!({})).await;
    let mut event = contact_created(Some("e1"));
    event["source"] = json!({ "email": "other@example.org" });
    let before = world.before().await;
    let again = send(&acme, &event).await.is(200);
    world.assert_untouched(&before).await;
    assert_eq!(again.json["event_id"], "e1");
    for name in ["automation_id", "run_id", "status", "code", "reason"] {
        assert_eq!(each(&again, name), each(&first, name), "{name}");
    }
    let kept = of(&again, &fine);
    assert_eq!((kept.get("output"), &kept["output_kept"]), (None, &json!(false)));
    assert_eq!(of(&again, &lacking)["message"], of(&first, &lacking)["message"]);
    assert_eq!(each(&send(&acme, &contact_created(Some("e2"))).await.is(200), "status").len(), 4);
    assert_eq!(world.upstream.received().len(), 3, "another id is another event");
    let side = world.tenant("acme", "side").await;
    side.connect("salesforce", json!({ "api_key": KEY })).await;
    let elsewhere = send(&side, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(of(&elsewhere, &fine)["status"], "succeeded", "ids are a workspace's own");
    assert_eq!(world.upstream.received().len(), 5);
}

#[tokio::test]
async fn an_id_that_was_made_is_one_that_can_be_repeated() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let first = send(&acme, &contact_created(None)).await.is(200);
    let id = first.json["event_id"].as_str().unwrap();
    let again = send(&acme, &contact_created(Some(id))).await.is(200);
    assert_eq!(each(&again, "run_id"), each(&first, "run_id"));
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn an_event_that_fired_nothing_fires_nothing_when_it_comes_again() {
    let (world, acme) = connected().await;
    assert_eq!(send(&acme, &contact_created(Some("e1"))).await.is(200).json["data"], json!([]));
    bind(&acme, json!({})).await;
    assert_eq!(send(&acme, &contact_created(Some("e1"))).await.is(200).json["data"], json!([]));
    assert_eq!(world.upstream.received().len(), 0);
    assert_eq!(each(&send(&acme, &contact_created(Some("e2"))).await.is(200), "status"), ["succeeded"]);
}

/// Sends the event while the upstream holds its answer; returns the task and what lets the upstream answer.
async fn held(
    world: &World,
    acme: &Tenant,
) -> (tokio::task::JoinHandle<crate::support::Answer>, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let answer = Box::new(Script::Json(201, "{}"));
    world.upstream.script(PATH, Script::Held(Arc::clone(&permits), answer));
    let run = acme.run.clone();
    let sent = tokio::spawn(async move { run.post(EVENT, &contact_created(Some("e1"))).await });
    until("the call", async || world.upstream.received().len() == 1).await;
    (sent, permits)
}

#[tokio::test]
async fn deliveries_at_the_same_time_make_one_call_and_have_one_answer() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    let (first, permits) = held(&world, &acme).await;
    let others: Vec<_> = (0..3)
        .map(|_| {
            let run = acme.run.clone();
            tokio::spawn(async move { run.post(EVENT, &contact_created(Some("e1"))).await })
        })
        .collect();
    until("all are admitted", async || world.engine.scheduler().calls() == 4).await;
    permits.add_permits(4);
    let first = first.await.unwrap().is(200);
    for other in others {
        let other = other.await.unwrap().is(200);
        assert_eq!(each(&other, "run_id"), each(&first, "run_id"));
        assert_eq!(each(&other, "status"), ["succeeded"]);
    }
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn a_delivery_that_waited_too_long_for_the_first_is_told_to_come_again() {
    let (world, acme) = connected_on(Stage { limits: waiting(1), ..Stage::default() }).await;
    bind(&acme, json!({})).await;
    let (first, permits) = held(&world, &acme).await;
    let answer = send(&acme, &contact_created(Some("e1"))).await.problem(Code::IdempotencyInFlight);
    assert_eq!(answer.json["pointer"], "/event_id");
    assert!(answer.json["detail"].as_str().unwrap().contains("limits.event_wait_ms"), "{}", answer.text);
    permits.add_permits(2);
    let first = first.await.unwrap().is(200);
    let again = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&again, "run_id"), each(&first, "run_id"));
    send(&acme, &contact_created(Some("e2"))).await.is(200);
    assert_eq!(world.upstream.received().len(), 2);
}

#[tokio::test]
async fn an_event_is_known_after_a_restart() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (world, acme) = connected_on(Stage { store: Some(Arc::clone(&store)), ..Stage::default() }).await;
    let fine = bind(&acme, json!({})).await;
    bind(&acme, sending("{{source.user.name}}!")).await;
    let first = send(&acme, &contact_created(Some("e1"))).await.is(200);
    let (engine, address) = world.another_life(store).await;
    let later = acme.at(address);
    let again = send(&later, &contact_created(Some("e1"))).await.is(200);
    // That life has no records of runs: the event's own record says how they ended.
    for name in ["automation_id", "run_id", "status", "code", "message"] {
        assert_eq!(each(&again, name), each(&first, name), "{name}");
    }
    assert_eq!(of(&again, &fine)["output_kept"], false);
    assert_eq!(world.upstream.received().len(), 1);
    let other = send(&later, &contact_created(Some("e2"))).await.is(200);
    assert_eq!(of(&other, &fine)["status"], "succeeded");
    drop(engine);
}

/// Writes the record of an event that another process was firing: `made` has a run already, `open` has none.
async fn cut_off(world: &World, automations: &[(&str, &str)], until: &str) {
    let fired = automations.iter().map(|(automation, run)| FiredAutomation {
        automation_id: AutomationId::parse(automation).unwrap(),
        run_id: RunId::parse(run).unwrap(),
        status: None,
        interrupted: false,
        problem: None,
    });
    let record = EventRecord {
        event_id: "e1".to_owned(),
        created_at: portcullis_engine::clock::now(),
        order: EventOrder::part(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap(), &hash()),
        lease: Some(EventLease { holder: "proc_other".to_owned(), until: until.to_owned() }),
        fired: fired.collect(),
    };
    let writes = Writes::new()
        .create(&["acme", "main", &hash()], &record)
        .put(&["acme", "main", &record.order], &EventOrder {});
    world.engine.records().commit(writes).await.unwrap();
}

#[tokio::test]
async fn an_event_that_was_cut_off_is_taken_up_without_what_has_a_run() {
    let mut definition = salesforce();
    definition["actions"][0]["idempotency"] = json!({ "in": "header", "name": "Idempotency-Key" });
    let world = World::start().await;
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let (made, open) = (bind(&acme, json!({})).await, bind(&acme, json!({})).await);
    let gone = bind(&acme, json!({})).await;
    let earlier = acme.fire(&made, json!({ "email": "ada@example.org" })).await.is(200);
    let run = earlier.json["run_id"].as_str().unwrap();
    cut_off(&world, &[(&made, run), (&open, RUN_2), (&gone, RUN_3)], "2099-01-01T00:00:00Z").await;
    acme.org.delete(&format!("/org/acme/automation/{gone}")).await.is(204);
    let answer = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&answer, "run_id"), [run, RUN_2, "none"]);
    assert_eq!(each(&answer, "status"), ["succeeded", "succeeded", "failed"]);
    assert_eq!(answer.json["data"][2]["code"], "automation_not_found");
    let received = world.upstream.received();
    assert_eq!(received.len(), 2, "the first automation was not called again");
    let again = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&again, "status"), each(&answer, "status"));
    assert_eq!(world.upstream.received().len(), 2);
    // A third delivery, as if the second was cut off as well: the vendor gets the same key.
    let parts = ["acme", "main", &hash()];
    let (record, commit) = world.engine.records().get::<EventRecord>(&parts).await.unwrap().unwrap();
    let mut fired = record.fired.clone();
    fired.truncate(2);
    (fired[1].run_id, fired[1].status) = (RunId::parse(RUN_4).unwrap(), None);
    let lease = EventLease { holder: "proc_other".to_owned(), until: "2099-01-01T00:00:00Z".to_owned() };
    let record = EventRecord { lease: Some(lease), fired, ..record };
    world.engine.records().commit(Writes::new().replace(&parts, &record, commit)).await.unwrap();
    send(&acme, &contact_created(Some("e1"))).await.is(200);
    let received = world.upstream.received();
    let key = |at: usize| received[at].header("idempotency-key").join("");
    assert_eq!((received.len(), key(2)), (3, key(1)));
    assert!(key(1).starts_with("pc_") && key(0) != key(1), "{} {}", key(0), key(1));
}

#[tokio::test]
async fn an_event_of_another_process_is_waited_for_as_long_as_its_lease_holds() {
    let store = SharedStore::new();
    let stage = Stage { store: Some(Arc::clone(&store) as _), limits: waiting(1), ..Stage::default() };
    let (world, acme) = connected_on(stage).await;
    let automation = bind(&acme, json!({})).await;
    cut_off(&world, &[(&automation, RUN_2)], "2099-01-01T00:00:00Z").await;
    send(&acme, &contact_created(Some("e1"))).await.problem(Code::IdempotencyInFlight);
    assert_eq!(world.upstream.received().len(), 0);
    let parts = ["acme", "main", &hash()];
    let (record, commit) = world.engine.records().get::<EventRecord>(&parts).await.unwrap().unwrap();
    let lease = EventLease { holder: "proc_other".to_owned(), until: "2020-01-01T00:00:00Z".to_owned() };
    let ended = EventRecord { lease: Some(lease), ..record };
    world.engine.records().commit(Writes::new().replace(&parts, &ended, commit)).await.unwrap();
    let answer = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&answer, "run_id"), [RUN_2]);
    assert_eq!(world.upstream.received().len(), 1);
}

async fn remembered(world: &World) -> (usize, usize) {
    let records = world.engine.records();
    let events = records.list::<EventRecord>(&["acme", "main"], None, 1000).await.unwrap();
    let orders = records.list::<EventOrder>(&["acme", "main"], None, 1000).await.unwrap();
    (events.len(), orders.len())
}

#[tokio::test]
async fn a_workspace_remembers_so_many_events_and_the_oldest_go_first() {
    let limits = Limits { event_ids: 2, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    bind(&acme, json!({})).await;
    for id in ["e1", "e2", "e3"] {
        send(&acme, &contact_created(Some(id))).await.is(200);
    }
    assert_eq!(remembered(&world).await, (2, 2));
    for (id, received) in [("e3", 3), ("e2", 3), ("e1", 4)] {
        send(&acme, &contact_created(Some(id))).await.is(200);
        assert_eq!(world.upstream.received().len(), received, "{id}");
    }
}

#[tokio::test]
async fn no_event_is_forgotten_for_those_that_another_process_has_forgotten() {
    let limits = Limits { event_ids: 2, concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }).await;
    bind(&acme, json!({})).await;
    for id in ["e1", "e2"] {
        send(&acme, &contact_created(Some(id))).await.is(200);
    }
    let records = world.engine.records();
    let orders = records.list::<EventOrder>(&["acme", "main"], None, 9).await.unwrap();
    let gone = orders.iter().fold(Writes::new(), |writes, (order, _, _)| {
        let (_, hash) = EventOrder::parse(order).unwrap();
        writes
            .delete::<EventOrder>(&["acme", "main", order.as_str()])
            .delete::<EventRecord>(&["acme", "main", hash])
    });
    records.commit(gone).await.unwrap();
    send(&acme, &contact_created(Some("e3"))).await.is(200);
    assert_eq!(remembered(&world).await, (1, 1), "there was room for it");
}

#[tokio::test]
async fn an_event_is_held_for_a_short_time_again_and_again_while_its_calls_run() {
    let store = SharedStore::new();
    let limits = Limits { job_lease_ms: 200, concurrent_calls: 32, ..Limits::default() };
    let stage = Stage { store: Some(Arc::clone(&store) as _), limits, ..Stage::default() };
    let (world, acme) = connected_on(stage).await;
    bind(&acme, json!({})).await;
    let (first, permits) = held(&world, &acme).await;
    let lease = async || {
        let parts = ["acme", "main", &hash()];
        let (record, _) = world.engine.records().get::<EventRecord>(&parts).await.unwrap().unwrap();
        record.lease.unwrap()
    };
    let begun = lease().await;
    until("the lease is renewed", async || lease().await.until > begun.until).await;
    permits.add_permits(1);
    assert_eq!(each(&first.await.unwrap().is(200), "status"), ["succeeded"]);
    let again = send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(each(&again, "status"), ["succeeded"]);
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn an_event_is_forgotten_after_a_day_and_with_its_workspace() {
    let (world, acme) = connected().await;
    bind(&acme, json!({})).await;
    send(&acme, &contact_created(Some("e1"))).await.is(200);
    let parts = ["acme", "main", &hash()];
    let records = world.engine.records();
    let (record, commit) = records.get::<EventRecord>(&parts).await.unwrap().unwrap();
    let old = EventRecord { order: EventOrder::part(1000, &hash()), ..record.clone() };
    let writes = Writes::new()
        .replace(&parts, &old, commit)
        .delete::<EventOrder>(&["acme", "main", &record.order])
        .put(&["acme", "main", &old.order], &EventOrder {});
    records.commit(writes).await.unwrap();
    send(&acme, &contact_created(Some("e1"))).await.is(200);
    assert_eq!(world.upstream.received().len(), 2, "a day later it is another event");
    assert_eq!(remembered(&world).await, (1, 1));
    let put_back = Writes::new()
        .put(&["acme", "main", &old.order], &EventOrder {})
        .put(&["acme", "main", &hash()], &old);
    records.commit(put_back).await.unwrap();
    portcullis_engine::events::sweep(&world.engine).await.unwrap();
    assert!(records.get::<EventRecord>(&parts).await.unwrap().is_none(), "swept");
    send(&acme, &contact_created(Some("e2"))).await.is(200);
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    assert_eq!(remembered(&world).await, (0, 0));
    let again = world.tenant("acme", "main").await;
    again.connect("salesforce", json!({ "api_key": KEY })).await;
    let answer = send(&again, &contact_created(Some("e2"))).await.is(200);
    assert!(answer.json["data"][0].get("output_kept").is_none(), "another workspace: {}", answer.text);
}
