//! D11: a pooled connection is used only under the workspace, credential and policy that it was opened under.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::Outbound as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::harness::{Harness, OTHER, Setup, URL, get};
use crate::support::{PRIVATE, Script, World, until};

const KEY: &str = "sk-live-0123456789abcdef";

#[tokio::test]
async fn d11_another_policy_or_credential_version_is_another_connection() {
    let harness = Harness::usual().await;
    let mut sessions = 0;
    for (credential, policy) in [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)] {
        for _ in 0..2 {
            harness.guard_of(credential, policy).send(get(URL)).await.unwrap();
        }
        sessions += 1;
        assert_eq!(harness.upstream.sessions(), sessions, "one for version {credential} of policy {policy}");
    }
    let other = get(&format!("https://{OTHER}/v1/things"));
    harness.guard_of(3, 3).send(other).await.unwrap();
    assert_eq!(harness.upstream.sessions(), sessions + 1, "nothing is shared between hosts");
}

/// A workspace at its limit of concurrent calls gets all its connections from the pool again.
#[tokio::test]
async fn d11_as_many_connections_are_kept_as_a_workspace_uses_at_once() {
    let harness = Harness::usual().await;
    let calls = usize::try_from(Limits::default().workspace_concurrent_calls).unwrap();
    for _ in 0..2 {
        let held = Arc::new(Semaphore::new(0));
        let answer = Script::Json(200, "{}");
        harness.upstream.script("/v1/things", Script::Held(Arc::clone(&held), Box::new(answer)));
        let before = harness.upstream.received().len();
        let mut running = JoinSet::new();
        for _ in 0..calls {
            let guard = harness.guard_of(1, 1);
            running.spawn(async move { guard.send(get(URL)).await.map(|answer| answer.status) });
        }
        until("all wait for their answers", async || harness.upstream.received().len() == before + calls)
            .await;
        held.add_permits(calls);
        while let Some(sent) = running.join_next().await {
            assert_eq!(sent.unwrap().unwrap(), 200);
        }
        assert_eq!(harness.upstream.sessions(), calls);
    }
}

/// A tenant that opens many connections (here with new credentials; new hosts would be the same) does not
/// keep the file descriptors that other calls need.
#[tokio::test]
async fn d11_a_workspace_keeps_no_more_idle_connections_than_it_may() {
    let limits = Limits { pool_connections_per_workspace: 3, ..Limits::default() };
    let harness = Setup { limits, ..Setup::default() }.start().await;
    for credential in 1..=10 {
        harness.guard_of(credential, 1).send(get(URL)).await.unwrap();
    }
    until("older ones were closed", async || harness.upstream.open() == 3).await;
    for credential in [8, 9, 10] {
        harness.guard_of(credential, 1).send(get(URL)).await.unwrap();
    }
    assert_eq!(
        (harness.upstream.sessions(), harness.upstream.open()),
        (10, 3),
        "the last ones are used again"
    );
    harness.guard_of(1, 1).send(get(URL)).await.unwrap();
    assert_eq!(harness.upstream.sessions(), 11, "the first was closed");
}

#[tokio::test]
async fn d11_a_rebound_name_is_looked_up_again_once_the_policy_changed() {
    let harness = Harness::usual().await;
    harness.guard_of(1, 1).send(get(URL)).await.unwrap();
    harness.names.tell("api.example-saas.com", &[PRIVATE]);
    harness.guard_of(1, 1).send(get(URL)).await.unwrap();
    let guard = harness.guard_of(1, 2);
    assert!(guard.send(get(URL)).await.is_err());
    assert_eq!(guard.report().failure, Some(Code::AddressForbidden));
    assert_eq!(harness.upstream.sessions(), 1);
}

#[tokio::test]
async fn d11_in_the_product_every_change_opens_a_new_connection() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let mut sessions = 0;
    let mut twice = async |what: &str, new: bool| {
        acme.create_contact().await.is(200);
        acme.create_contact().await.is(200);
        sessions += usize::from(new);
        assert_eq!(world.upstream.sessions(), sessions, "{what}");
    };
    twice("first", true).await;
    acme.connect("salesforce", json!({ "api_key": "sk-live-another-one" })).await;
    twice("another credential", true).await;
    acme.allow(json!(["*.salesforce.com"]), "enforce").await;
    twice("a list", true).await;
    acme.allow(json!(["*.salesforce.com"]), "report").await;
    twice("another mode", true).await;
    let mut definition = crate::support::salesforce();
    definition["display_name"] = json!("Another name");
    world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    twice("another definition", true).await;
    acme.allow(json!(["*.salesforce.com", "api.hubapi.com"]), "report").await;
    twice("a longer list", true).await;
    let globex = world.tenant("globex", "main").await;
    globex.connect("salesforce", json!({ "api_key": KEY })).await;
    twice("another org's connection", false).await;
    globex.create_contact().await.is(200);
    assert_eq!(world.upstream.sessions(), sessions + 1, "another org has its own");
}
