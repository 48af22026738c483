//! OAuth clients of the platform and of an org: saved once, used by every workspace's consent and renewal, rotated,
//! deleted.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::consent::{Begun, back, consenting, start};
use super::{CLIENT, Harness, ID, SECRET, client};
use crate::support::world::PUBLIC_URL;
use crate::support::{Answer, Script, Tenant};

/// Where the platform saves its client.
pub(super) const PLATFORMS: &str = "/admin/oauth-client/saas";
/// Where the org of these tests saves its own.
const ORGS: &str = "/org/acme/oauth-client/saas";
/// Another client.
const OTHER: &str = "client-of-acme-91";

/// A connector that asks a person, and no client.
pub(super) async fn unsaved() -> Harness {
    let harness = Harness::of(&consenting(&json!({}))).await;
    harness.server.change(|ways| ways.rotates = true);
    harness
}

/// The same with the client of the platform.
pub(super) async fn shared() -> Harness {
    let harness = unsaved().await;
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness
}

/// A person of a workspace consents.
pub(super) async fn consent(harness: &Harness, tenant: &Tenant) -> Begun {
    let begun = start(tenant).await;
    back(harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    begun
}

/// The platform's client, and a workspace that is connected with it.
pub(super) async fn connected() -> Harness {
    let harness = shared().await;
    harness.acme.connect(ID, json!({})).await;
    consent(&harness, &harness.acme).await;
    harness
}

/// What the workspace's call is refused with, and that it made no request of any kind and opened nothing.
async fn refused(harness: &Harness) -> Answer {
    let before = harness.world.before().await;
    let answer = harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.world.assert_nothing_looked_up(&before).await;
    answer
}

/// The connection says that its client is gone, calls are refused, and a test says the same.
async fn assert_client_gone(harness: &Harness) {
    let setting = harness.setting().await;
    assert_eq!(setting["state"], "needs_attention", "{setting}");
    assert_eq!(setting["reason"], "client_gone", "{setting}");
    assert_eq!(setting["attention"]["class"], "missing", "{setting}");
    assert!(setting["attention"]["message"].as_str().unwrap().contains("OAuth client"), "{setting}");
    assert_eq!(setting["token"], Value::Null, "{setting}");
    let answer = refused(harness).await;
    assert!(answer.json["detail"].as_str().unwrap().starts_with("client_gone"), "{}", answer.text);
    let before = harness.world.before().await;
    let trial = harness.trial().await;
    assert_eq!(trial.json["ok"], false);
    assert_eq!(trial.json["code"], "credential_needs_attention");
    harness.world.assert_nothing_looked_up(&before).await;
    let listed = harness.acme.org.get("/org/acme/connection?state=needs_attention").await.is(200);
    assert_eq!(listed.json["data"][0]["reason"], "client_gone", "{}", listed.text);
}

#[tokio::test]
async fn two_workspaces_connect_with_one_client_and_are_not_asked_for_it() {
    let harness = unsaved().await;
    let globex = harness.world.tenant("globex", "main").await;
    let platform = &harness.world.platform;
    platform.get(PLATFORMS).await.problem(Code::NotFound);
    let before = harness.acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    assert_eq!(before.json["data"][0]["form"].as_array().unwrap().len(), 2, "{}", before.text);
    let saved = platform.put("/admin/oauth-client/saas", &client()).await.is(200);
    let redirect_uri = format!("{PUBLIC_URL}/oauth/callback");
    for (member, value) in [
        ("connector_id", json!(ID)),
        ("method_id", json!("default")),
        ("client_id", json!(CLIENT)),
        ("secret_set", json!(true)),
        ("redirect_uri", json!(redirect_uri)),
        ("allowed_hosts", json!(["login.salesforce.com"])),
    ] {
        assert_eq!(saved.json[member], value, "{}", saved.text);
    }
    assert!(saved.json["updated_at"].is_string() && !saved.text.contains("s3cr3t"), "{}", saved.text);
    let shown = platform.get("/admin/oauth-client/saas").await.is(200);
    assert_eq!(shown.json, saved.json);
    assert_eq!(platform.get("/admin/oauth-client/saas?method=default").await.is(200).json, saved.json);
    for tenant in [&globex, &harness.acme] {
        let list = tenant.setting(ID).replace("/saas", "");
        let offered = tenant.workspace.get(&list).await.is(200);
        assert_eq!(offered.json["data"][0]["form"], json!([]), "{}", offered.text);
        let own = json!({ "config": { "client_id": "own", "client_secret": "own" } });
        let refused = tenant.workspace.put(&tenant.setting(ID), &own).await.problem(Code::ValidationFailed);
        let expected =
            [("/config/client_id", "field_of_client"), ("/config/client_secret", "field_of_client")];
        assert_eq!(refused.violations(), expected);
        let connected = tenant.connect(ID, json!({})).await;
        assert_eq!(
            (&connected.json["state"], &connected.json["fields"]),
            (&json!("needs_attention"), &json!({}))
        );
        let begun = consent(&harness, tenant).await;
        assert_eq!(begun.pairs["client_id"], CLIENT);
        let asked = harness.server.asked().last().unwrap().clone();
        assert_eq!((asked.get("client_id"), asked.get("client_secret")), (CLIENT, SECRET));
        tenant.call(ID, "list", json!({})).await.is(200);
    }
    harness.expire().await;
    harness.reads().await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("grant_type"), asked.get("client_secret")), ("refresh_token", SECRET));
    assert_eq!(harness.setting().await["state"], "connected");
}

#[tokio::test]
async fn a_connector_that_only_an_orgs_client_uses_is_in_use_and_one_of_the_platforms_client_is_not() {
    let harness = shared().await;
    let platform = &harness.world.platform;
    harness.acme.org.put(ORGS, &client()).await.is(200);
    let refused = platform.delete("/admin/connector/saas").await.problem(Code::InUse);
    assert!(refused.json["detail"].as_str().unwrap().contains("1 OAuth clients of orgs"), "{}", refused.text);
    platform.delete("/admin/connector/saas?force=true").await.is(204);
    let told = harness.acme.org.get("/org/acme/audit?action=deleteConnector").await.is(200);
    assert_eq!(told.json["data"][0]["target"], "connector/saas", "{}", told.text);
    let alone = shared().await;
    alone.world.platform.delete("/admin/connector/saas").await.is(204);
    alone.world.platform.get(PLATFORMS).await.problem(Code::ConnectorNotFound);
}

#[tokio::test]
async fn a_workspace_with_nothing_to_fill_in_is_saved_by_saying_that_it_is_on() {
    let harness = unsaved().await;
    let on = json!({ "enabled": true });
    let path = harness.acme.setting(ID);
    let missing = harness.acme.workspace.put(&path, &on).await.problem(Code::ValidationFailed);
    assert_eq!(missing.violations().len(), 2, "{}", missing.text);
    let start_path = format!("{path}/oauth/start");
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.acme.workspace.post(&start_path, &json!({})).await.problem(Code::CredentialNeedsAttention);
    harness.acme.workspace.put(&path, &on).await.is(200);
    consent(&harness, &harness.acme).await;
    harness.reads().await;
}

#[tokio::test]
async fn the_orgs_client_wins_over_the_platforms_in_that_org_alone() {
    let harness = shared().await;
    let globex = harness.world.tenant("globex", "main").await;
    let own = json!({ "client_id": OTHER, "client_secret": "other-secret-5Tz", "scopes": ["read", "write"] });
    let saved = harness.acme.org.put("/org/acme/oauth-client/saas", &own).await.is(200);
    assert_eq!((&saved.json["client_id"], &saved.json["scopes"]), (&json!(OTHER), &json!(["read", "write"])));
    assert_eq!(harness.acme.org.get("/org/acme/oauth-client/saas").await.is(200).json, saved.json);
    globex.org.get("/org/globex/oauth-client/saas").await.problem(Code::NotFound);
    harness.acme.connect(ID, json!({})).await;
    globex.connect(ID, json!({})).await;
    let begun = consent(&harness, &harness.acme).await;
    assert_eq!((begun.pairs["client_id"].as_str(), begun.pairs["scope"].as_str()), (OTHER, "read write"));
    assert_eq!(harness.server.asked().last().unwrap().get("client_secret"), "other-secret-5Tz");
    harness.reads().await;
    let begun = consent(&harness, &globex).await;
    assert_eq!(begun.pairs["client_id"], CLIENT);
    assert_eq!(begun.pairs.get("scope"), None);
    harness.acme.org.delete("/org/acme/oauth-client/saas").await.is(204);
    harness.acme.org.delete("/org/acme/oauth-client/saas").await.problem(Code::NotFound);
    assert_client_gone(&harness).await;
    globex.call(ID, "list", json!({})).await.is(200);
    let begun = consent(&harness, &harness.acme).await;
    assert_eq!(begun.pairs["client_id"], CLIENT, "the platform's is there");
    harness.reads().await;
}

#[tokio::test]
async fn a_token_keeps_the_client_it_was_obtained_with_while_another_is_saved_above_it() {
    let harness = connected().await;
    let own = json!({ "client_id": OTHER, "client_secret": "other-secret-5Tz" });
    harness.acme.org.put(ORGS, &own).await.is(200);
    harness.expire().await;
    harness.reads().await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), (CLIENT, SECRET));
    assert_eq!(harness.setting().await["state"], "connected");
}

#[tokio::test]
async fn a_connection_with_a_client_of_its_own_goes_on_with_that_one() {
    let harness = unsaved().await;
    harness.acme.connect(ID, json!({ "client_id": "own-client", "client_secret": "own-secret-3Km" })).await;
    consent(&harness, &harness.acme).await;
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.expire().await;
    harness.reads().await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), ("own-client", "own-secret-3Km"));
    harness.world.platform.delete("/admin/oauth-client/saas").await.is(204);
    harness.reads().await;
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    let begun = consent(&harness, &harness.acme).await;
    assert_eq!(begun.pairs["client_id"], CLIENT, "a new consent is asked with the shared one");
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), (CLIENT, SECRET));
    harness.reads().await;
}

#[tokio::test]
async fn a_new_secret_of_the_same_client_goes_on_working() {
    let harness = connected().await;
    let rotated = json!({ "client_id": CLIENT, "client_secret": "rotated-8Wq" });
    harness.world.platform.put(PLATFORMS, &rotated).await.is(200);
    assert_eq!(harness.setting().await["state"], "connected");
    harness.reads().await;
    harness.expire().await;
    harness.reads().await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("grant_type"), asked.get("client_secret")), ("refresh_token", "rotated-8Wq"));
}

#[tokio::test]
async fn a_mended_secret_is_tried_at_once_although_the_last_renewal_failed() {
    let harness = connected().await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(401, r#"{"error":"invalid_client"}"#)));
    harness.expire().await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.prolong_pause().await;
    let setting = harness.setting().await;
    assert!(setting["reason"].as_str().unwrap().contains("invalid_client"), "{setting}");
    let asked = harness.server.asked().len();
    harness.list().await.problem(Code::CredentialNeedsAttention);
    assert_eq!(harness.server.asked().len(), asked, "it is too early");
    harness.server.change(|ways| ways.instead = None);
    let mended = json!({ "client_id": CLIENT, "client_secret": "mended-2Lp" });
    harness.world.platform.put(PLATFORMS, &mended).await.is(200);
    harness.reads().await;
    assert_eq!(harness.server.asked().last().unwrap().get("client_secret"), "mended-2Lp");
    assert_eq!(harness.setting().await["state"], "connected");
}

#[tokio::test]
async fn a_deleted_client_or_one_of_another_id_leaves_nothing_to_call_with() {
    let harness = connected().await;
    harness.reads().await;
    harness.world.platform.delete(PLATFORMS).await.is(204);
    assert_client_gone(&harness).await;
    let other = json!({ "client_id": OTHER, "client_secret": "other-secret-5Tz" });
    harness.world.platform.put(PLATFORMS, &other).await.is(200);
    assert_client_gone(&harness).await;
    harness.expire().await;
    assert_client_gone(&harness).await;
    // The same id again is the same client, with a new secret.
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.reads().await;
    assert_eq!(harness.setting().await["state"], "connected");
    harness.world.platform.put(PLATFORMS, &other).await.is(200);
    assert_client_gone(&harness).await;
    consent(&harness, &harness.acme).await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), (OTHER, "other-secret-5Tz"));
    harness.reads().await;
}

#[tokio::test]
async fn a_client_that_changes_during_a_consent_ends_it_unless_only_its_secret_does() {
    let harness = shared().await;
    harness.acme.connect(ID, json!({})).await;
    let other = json!({ "client_id": OTHER, "client_secret": "other-secret-5Tz" });
    let begun = start(&harness.acme).await;
    harness.world.platform.put(PLATFORMS, &other).await.is(200);
    let before = harness.world.before().await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    harness.world.assert_nothing_looked_up(&before).await;
    let begun = start(&harness.acme).await;
    harness.world.platform.delete(PLATFORMS).await.is(204);
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    assert!(harness.server.asked().is_empty());
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    let begun = start(&harness.acme).await;
    let rotated = json!({ "client_id": CLIENT, "client_secret": "rotated-8Wq" });
    harness.world.platform.put(PLATFORMS, &rotated).await.is(200);
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(harness.server.asked()[0].get("client_secret"), "rotated-8Wq");
    harness.reads().await;
}
