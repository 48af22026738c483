//! A named connection has a consent and a token of its own.

use portcullis_core::fault::Code;
use portcullis_store::TokenState;
use serde_json::json;

use super::consent::{back, start, start_at, unconsented};
use super::{Harness, ID, client};
use crate::support::{Answer, Script};

/// A read through the named connection.
async fn list_named(harness: &Harness) -> Answer {
    let path = format!("/run/acme/main/connector/{ID}/list");
    harness.acme.run.post(&path, &json!({ "input": {}, "connection": "sales" })).await
}

/// What the last request at the third party had.
fn sent(harness: &Harness) -> String {
    let received = harness.world.upstream.received_on("/v1/things");
    received.last().unwrap().header("authorization").join(",")
}

#[tokio::test]
async fn each_connection_is_consented_to_by_itself_and_uses_its_own_token() {
    let harness = unconsented().await;
    let acme = &harness.acme;
    let path = format!("/workspace/acme/main/settings/connector/{ID}/connection/sales");
    let begins = format!("/workspace/acme/main/settings/connector/{ID}/connection/sales/oauth/start");
    acme.workspace.post(&begins, &json!({})).await.problem(Code::NotFound);
    let saved = acme.workspace.put(&path, &json!({ "config": client() })).await.is(200).json;
    assert_eq!(saved["state"], "needs_attention");
    list_named(&harness).await.problem(Code::CredentialNeedsAttention);
    let begun = start_at(acme, &begins).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(list_named(&harness).await.is(200).json["status"], "succeeded");
    let own = harness.server.access();
    assert_eq!(sent(&harness), format!("Bearer {own}"));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    // The other one gets a token of its own, and neither is sent for the other. Why another script: the server's accepts
    // its newest token alone.
    harness.world.upstream.script("/v1/things", Script::json(200, &json!([])));
    let begun = start(acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    harness.reads().await;
    assert_ne!(harness.server.access(), own);
    list_named(&harness).await.is(200);
    assert_eq!(sent(&harness), format!("Bearer {own}"));
    let records = harness.world.engine.records();
    for parts in [&["acme", "main", ID][..], &["acme", "main", ID, "sales"]] {
        assert!(records.get::<TokenState>(parts).await.unwrap().unwrap().0.sealed.is_some());
    }
    // Forgetting one leaves the token of the other.
    acme.workspace.delete(&acme.setting(ID)).await.is(204);
    assert!(records.get::<TokenState>(&["acme", "main", ID]).await.unwrap().is_none());
    list_named(&harness).await.is(200);
}
