//! D11: a connection is used under what it was opened under, and under nothing else.

use portcullis_core::fault::Code;
use portcullis_core::outbound::Outbound as _;
use serde_json::json;

use super::rig::{OTHER, Rig, URL, get};
use crate::support::{PRIVATE, World};

const KEY: &str = "sk-live-0123456789abcdef";

#[tokio::test]
async fn d11_another_policy_or_credential_version_is_another_connection() {
    let rig = Rig::usual().await;
    let mut sessions = 0;
    for (credential, policy) in [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)] {
        for _ in 0..2 {
            rig.guard_of(credential, policy).send(get(URL)).await.unwrap();
        }
        sessions += 1;
        assert_eq!(rig.upstream.sessions(), sessions, "one for version {credential} of policy {policy}");
    }
    let other = get(&format!("https://{OTHER}/v1/things"));
    rig.guard_of(3, 3).send(other).await.unwrap();
    assert_eq!(rig.upstream.sessions(), sessions + 1, "nothing is shared between hosts");
}

#[tokio::test]
async fn d11_a_rebound_name_is_looked_up_again_once_the_policy_changed() {
    let rig = Rig::usual().await;
    rig.guard_of(1, 1).send(get(URL)).await.unwrap();
    rig.names.tell("api.example-saas.com", &[PRIVATE]);
    rig.guard_of(1, 1).send(get(URL)).await.unwrap();
    let guard = rig.guard_of(1, 2);
    assert!(guard.send(get(URL)).await.is_err());
    assert_eq!(guard.report().failure, Some(Code::AddressForbidden));
    assert_eq!(rig.upstream.sessions(), 1);
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
