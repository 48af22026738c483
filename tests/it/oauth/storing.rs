//! A store that is away while a renewed token is stored: the refresh token that is stored was spent for it, so it is the
//! only one that works, and none is lost.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_store::{Records, TokenLease, TokenState, Writes};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{FAR_AHEAD, Harness, ID};
use crate::support::refusing_store::{Refused, RefusingStore};
use crate::support::{Script, Stage, until};

const PARTS: [&str; 3] = ["acme", "main", ID];
/// More than pass within a moment: with the pauses between them some seconds.
const TRIES: usize = 10;

/// A connection whose token has expired, and whose refresh token works once.
async fn expired() -> (Harness, RefusingStore) {
    let store = RefusingStore::new();
    let harness =
        Harness::with_pasted(Stage { store: Some(Arc::new(store.clone())), ..Stage::default() }).await;
    harness.server.change(|ways| ways.grace = false);
    harness.reads().await;
    harness.expire().await;
    (harness, store)
}

/// The renewed token is stored, and the next renewal uses the refresh token that came with it.
async fn assert_kept(harness: &Harness) {
    let (token, _) = harness.token().await;
    assert_eq!((token.revision, token.lease, token.failure), (2, None, None));
    assert_eq!(harness.server.asked().len(), 2, "it was asked for once");
    harness.expire().await;
    harness.reads().await;
}

#[tokio::test]
async fn a_token_is_stored_once_the_store_is_back_however_many_tries_that_takes() {
    let (harness, store) = expired().await;
    // The first is the lease.
    store.refuse(Refused::Commits, "token_state/", 1, TRIES);
    harness.reads().await;
    assert_eq!(store.left(), 0);
    assert_kept(&harness).await;
}

#[tokio::test]
async fn a_token_is_sealed_once_the_workspace_s_key_can_be_read_again() {
    let (harness, store) = expired().await;
    let permits = Arc::new(Semaphore::new(0));
    let body = r#"{"access_token":"at-new","refresh_token":"rt-new-4kQ9","expires_in":3600}"#;
    let held = Script::Held(Arc::clone(&permits), Box::new(Script::Json(200, body)));
    harness.server.change(|ways| {
        ways.instead = Some(held);
        // The API takes the token that is made up here.
        ways.stale = ways.api.clone();
    });
    let run = harness.acme.run.clone();
    let call =
        tokio::spawn(
            async move { run.post("/run/acme/main/connector/saas/list", &json!({ "input": {} })).await },
        );
    until("the token is asked for", async || harness.server.asked().len() == 2).await;
    // Each try reads it twice: for the token before, and for the new one.
    store.refuse(Refused::Reads, "workspace_key/", 0, 2 * TRIES);
    harness.world.engine.vault().forget_all();
    permits.add_permits(1);
    call.await.unwrap().is(200);
    assert_eq!(store.left(), 0);
    let (token, _) = harness.token().await;
    assert_eq!((token.revision, token.renewable, token.lease), (2, true, None));
    harness.server.know_refresh("rt-new-4kQ9");
    harness.server.change(|ways| ways.instead = None);
    harness.expire().await;
    harness.reads().await;
    assert_eq!(harness.server.asked().last().unwrap().get("refresh_token"), "rt-new-4kQ9");
}

#[tokio::test]
async fn a_token_whose_storing_was_not_confirmed_is_found_to_be_there() {
    let (harness, store) = expired().await;
    store.refuse(Refused::Answers, "token_state/", 1, 1);
    // Why a test: it says what came of the renewal, where a call uses whatever token is there.
    let trial = harness.trial().await;
    assert_eq!((&trial.json["ok"], store.left()), (&json!(true), 0), "{}", trial.text);
    assert_kept(&harness).await;
}

#[tokio::test]
async fn a_token_replaces_the_lease_that_another_node_took_meanwhile() {
    let (harness, store) = expired().await;
    let below = Records::new(store.below());
    store.refuse(Refused::Commits, "token_state/", 1, 8);
    let other = async {
        until("it is tried", async || store.left() < 6).await;
        let (mut token, commit) = below.get::<TokenState>(&PARTS).await.unwrap().unwrap();
        token.lease = Some(TokenLease { holder: "node_other".into(), until: FAR_AHEAD.to_owned() });
        below.commit(Writes::new().replace(&PARTS, &token, commit)).await.unwrap();
    };
    tokio::join!(harness.reads(), other);
    assert_kept(&harness).await;
}

/// The neighbour: a token of a connection that is gone is not stored.
#[tokio::test]
async fn a_token_whose_record_was_deleted_meanwhile_is_dropped() {
    let (harness, store) = expired().await;
    let below = Records::new(store.below());
    store.refuse(Refused::Commits, "token_state/", 1, 8);
    let other = async {
        until("it is tried", async || store.left() < 6).await;
        below.commit(Writes::new().delete::<TokenState>(&PARTS)).await.unwrap();
    };
    let (answer, ()) = tokio::join!(harness.list(), other);
    answer.problem(Code::CredentialNeedsAttention);
    assert!(below.get::<TokenState>(&PARTS).await.unwrap().is_none());
}
