//! A process that dies while it renews a token: the state it leaves behind, and that the next one recovers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_engine::Engine;
use portcullis_store::{MemoryStore, SledStore, Store, TokenLease, TokenState};
use serde_json::json;

use super::{Harness, ID, LONG_AGO};
use crate::support::crashing_store::{CrashPoint, CrashingStore, reopen};
use crate::support::{Stage, until};

const CALL: &str = "/run/acme/main/connector/saas/list";

/// A harness on a sled store that will crash, with an expired token.
async fn about_to_crash() -> (Harness, CrashingStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = CrashingStore::new(SledStore::open(dir.path()).unwrap());
    let harness =
        Harness::with_pasted(Stage { store: Some(Arc::new(store.clone())), ..Stage::default() }).await;
    harness.server.change(|ways| ways.grace = true);
    harness.reads().await;
    harness.expire().await;
    (harness, store, dir)
}

/// Starts a run without waiting for it: its process is about to die.
fn abandon(harness: &Harness) {
    let run = harness.acme.run.clone();
    tokio::spawn(async move { run.post(CALL, &json!({ "input": {} })).await });
}

async fn stored(engine: &Engine) -> TokenState {
    engine.records().get::<TokenState>(&["acme", "main", ID]).await.unwrap().unwrap().0
}

async fn another(harness: &Harness, dir: &std::path::Path) -> (Arc<Engine>, SocketAddr) {
    harness.world.another_life(reopen(dir).await).await
}

#[tokio::test]
async fn a_death_between_answer_and_store_asks_again_with_the_stored_refresh_token() {
    let (harness, store, dir) = about_to_crash().await;
    store.crashes_at("token_state/", 1, CrashPoint::Before);
    abandon(&harness);
    until("it died with the answer in its hands", async || store.has_crashed()).await;
    let (engine, address) = another(&harness, dir.path()).await;
    let left = stored(&engine).await;
    assert!(left.lease.is_some(), "the lease is found");
    assert_eq!((left.revision, harness.server.asked().len()), (1, 2), "the answer was never stored");
    let started = Instant::now();
    let answer = harness.acme.at(address).call(ID, "list", json!({})).await.is(200);
    assert!(started.elapsed() < Duration::from_secs(10), "a dead process's lease is not waited for");
    assert_eq!(answer.json["status"], "succeeded");
    let sent: Vec<String> =
        harness.server.asked().iter().map(|a| a.get("refresh_token").to_owned()).collect();
    assert_eq!(sent[1], sent[2], "asked again with the refresh token that is stored");
    let now = stored(&engine).await;
    assert_eq!((now.revision, now.lease, now.failure), (2, None, None));
    end(&harness, &engine, address).await;
}

#[tokio::test]
async fn a_death_after_the_store_loses_nothing_and_asks_nothing() {
    let (harness, store, dir) = about_to_crash().await;
    store.crashes_at("token_state/", 1, CrashPoint::After);
    abandon(&harness);
    until("it died after the commit", async || store.has_crashed()).await;
    let (engine, address) = another(&harness, dir.path()).await;
    harness.acme.at(address).call(ID, "list", json!({})).await.is(200);
    assert_eq!(harness.server.asked().len(), 2, "the token was there");
    end(&harness, &engine, address).await;
}

#[tokio::test]
async fn a_death_between_lease_and_request_is_no_reason_to_wait_either() {
    let (harness, store, dir) = about_to_crash().await;
    store.crashes_at("token_state/", 0, CrashPoint::After);
    abandon(&harness);
    until("it died with the lease", async || store.has_crashed()).await;
    assert_eq!(harness.server.asked().len(), 1, "it had sent nothing");
    let (engine, address) = another(&harness, dir.path()).await;
    assert!(stored(&engine).await.lease.is_some());
    harness.acme.at(address).call(ID, "list", json!({})).await.is(200);
    assert_eq!(harness.server.asked().len(), 2);
    end(&harness, &engine, address).await;
}

/// The connection continues to work when its token expires again.
async fn end(harness: &Harness, engine: &Engine, address: SocketAddr) {
    for _ in 0..3 {
        let parts = ["acme", "main", ID];
        let (mut token, commit) = engine.records().get::<TokenState>(&parts).await.unwrap().unwrap();
        token.expires_at = Some(LONG_AGO.to_owned());
        let writes = portcullis_store::Writes::new().replace(&parts, &token, commit);
        engine.records().commit(writes).await.unwrap();
        harness.acme.at(address).call(ID, "list", json!({})).await.is(200);
    }
    let sent = harness.world.upstream.received_on("/v1/things");
    let sent = sent.last().unwrap().header("authorization").join(",");
    assert_eq!(sent, format!("Bearer {}", harness.server.access()));
}

#[tokio::test]
async fn without_a_grace_rule_the_loss_is_seen_and_saving_anew_mends_it() {
    let (harness, store, dir) = about_to_crash().await;
    harness.server.change(|ways| ways.grace = false);
    store.crashes_at("token_state/", 1, CrashPoint::Before);
    abandon(&harness);
    until("it died", async || store.has_crashed()).await;
    let (_engine, address) = another(&harness, dir.path()).await;
    let acme = harness.acme.at(address);
    acme.call(ID, "list", json!({})).await.problem(Code::CredentialNeedsAttention);
    let setting = acme.workspace.get(&acme.setting(ID)).await.is(200);
    let reason = setting.json["reason"].as_str().unwrap();
    assert!(reason.starts_with("the token endpoint answered 400 invalid_grant"), "{reason}");
    harness.server.know_refresh("rt-pasted-5cB8nQ1z");
    acme.connect(ID, super::pasted_values()).await;
    acme.call(ID, "list", json!({})).await.is(200);
}

/// If several processes share a store, another one's lease is respected until it expires.
#[tokio::test]
async fn a_lease_in_a_shared_store_is_waited_for_and_taken_over_after_its_end() {
    let store = CrashingStore::new(MemoryStore::new()).shared();
    let harness = Harness::with_pasted(Stage { store: Some(Arc::new(store)), ..Stage::default() }).await;
    harness.reads().await;
    harness.expire().await;
    let lease = |until: jiff::Timestamp| TokenLease { holder: "node_other".into(), until: until.to_string() };
    let until_then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    harness.let_time_change(|token| token.lease = Some(lease(until_then))).await;
    let started = Instant::now();
    harness.reads().await;
    assert!(jiff::Timestamp::now() >= until_then, "after {:?}", started.elapsed());
    assert_eq!(harness.server.asked().len(), 2);
}

#[tokio::test]
async fn two_processes_on_one_store_renew_once() {
    let store: Arc<dyn Store> = Arc::new(CrashingStore::new(MemoryStore::new()).shared());
    let harness = Harness::with_pasted(Stage { store: Some(Arc::clone(&store)), ..Stage::default() }).await;
    harness.reads().await;
    let (_engine, address) = harness.world.another_life(store).await;
    let there = harness.acme.at(address);
    for end in 1..=5 {
        harness.expire().await;
        let calls: Vec<_> = (0..10)
            .map(|n| {
                let run = if n % 2 == 0 { harness.acme.run.clone() } else { there.run.clone() };
                tokio::spawn(async move { run.post(CALL, &json!({ "input": {} })).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().is(200);
        }
        assert_eq!(harness.server.asked().len(), 1 + end);
    }
}
