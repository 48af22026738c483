//! Where a shared client may go: to the hosts it was saved for, whatever a workspace fills in and whatever the definition
//! says later.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::clients::{PLATFORMS, connected, consent};
use super::consent::{back, consenting, start};
use super::{Harness, ID, client};
use crate::support::{PUBLIC, World};

/// A connector whose workspaces name the host of the token endpoint.
async fn tenants_choose() -> Harness {
    let mut definition =
        consenting(&json!({ "token_url": "https://{{config.tenant}}.salesforce.com/oauth/token" }));
    let tenant = json!({ "name": "tenant", "type": "text", "secret": false, "required": true });
    definition["auth_schema"]["fields"].as_array_mut().unwrap().push(tenant);
    let harness = Harness::of(&definition).await;
    // Why known: if it were asked, it would answer.
    harness.world.names.tell("evil.salesforce.com", &[PUBLIC]);
    harness
}

/// The client with hosts of token endpoints.
fn listing(hosts: Value) -> Value {
    let mut client = client();
    client["token_hosts"] = hosts;
    client
}

#[tokio::test]
async fn a_host_that_a_workspace_chooses_must_be_listed() {
    let harness = tenants_choose().await;
    let platform = &harness.world.platform;
    let refused = platform.put(PLATFORMS, &client()).await.problem(Code::TokenHostChosenByTenant);
    assert_eq!(refused.json["pointer"], "/token_hosts");
    for (hosts, violation) in [
        (json!(["*.herokuapp.com"]), ("/token_hosts/0", "token_host_shared")),
        (json!(["login.example.net"]), ("/token_hosts", "token_host_elsewhere")),
        (json!(["https://login.salesforce.com"]), ("/token_hosts/0", "allowed_domain_scheme")),
    ] {
        let answer = platform.put(PLATFORMS, &listing(hosts)).await.problem(Code::ValidationFailed);
        assert!(answer.violations().contains(&violation), "{}", answer.text);
    }
    platform.get(PLATFORMS).await.problem(Code::NotFound);
    let saved = platform.put(PLATFORMS, &listing(json!(["login.salesforce.com"]))).await.is(200);
    assert_eq!(saved.json["allowed_hosts"], json!(["login.salesforce.com"]));
    platform.put(PLATFORMS, &listing(json!(["*.salesforce.com"]))).await.is(200);
}

#[tokio::test]
async fn a_hostile_host_of_a_workspace_gets_no_request_and_opens_nothing() {
    let harness = tenants_choose().await;
    harness.world.platform.put(PLATFORMS, &listing(json!(["login.salesforce.com"]))).await.is(200);
    harness.acme.connect(ID, json!({ "tenant": "evil" })).await;
    let before = harness.world.before().await;
    let path = format!("{}/oauth/start", harness.acme.setting(ID));
    let refused = harness.acme.workspace.post(&path, &json!({})).await.problem(Code::CredentialNotBound);
    assert!(refused.json["detail"].as_str().unwrap().contains("token_hosts"), "{}", refused.text);
    harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.world.assert_nothing_looked_up(&before).await;
    assert!(harness.server.asked().is_empty());
    harness.acme.connect(ID, json!({ "tenant": "login" })).await;
    consent(&harness, &harness.acme).await;
    harness.reads().await;
    // What was consented to at one host is not renewed at another.
    harness.acme.connect(ID, json!({ "tenant": "evil" })).await;
    let before = harness.world.before().await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_host_that_changes_during_a_consent_gets_no_code() {
    let harness = connected().await;
    harness.world.names.tell("evil.salesforce.com", &[PUBLIC]);
    let begun = start(&harness.acme).await;
    let asked = harness.server.asked().len();
    let moved = consenting(&json!({ "token_url": "https://evil.salesforce.com/oauth/token" }));
    harness.world.platform.put("/admin/connector/saas", &moved).await.is(200);
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::CredentialNeedsAttention);
    assert_eq!(harness.server.asked().len(), asked);
    assert!(!harness.world.names.asked().iter().any(|name| name.contains("evil")));
}

#[tokio::test]
async fn a_token_endpoint_that_moves_gets_neither_secret_nor_request_until_the_client_is_saved_again() {
    let harness = connected().await;
    harness.world.names.tell("evil.salesforce.com", &[PUBLIC]);
    let moved = consenting(&json!({ "token_url": "https://evil.salesforce.com/oauth/token" }));
    harness.world.platform.put("/admin/connector/saas", &moved).await.is(200);
    harness.reads().await;
    harness.expire().await;
    let before = harness.world.before().await;
    let refused = harness.list().await.problem(Code::CredentialNeedsAttention);
    assert!(refused.json["detail"].as_str().unwrap().contains("credential_not_bound"), "{}", refused.text);
    harness.world.assert_nothing_looked_up(&before).await;
    let setting = harness.setting().await;
    assert_eq!(setting["state"], "needs_attention", "{setting}");
    assert!(setting["reason"].as_str().unwrap().contains("credential_not_bound"), "{setting}");
    let entries = harness.acme.ledger().await;
    let told = entries.iter().any(|entry| entry.to_string().contains("credential_not_bound"));
    assert!(told, "the ledger has the refusal");
    let path = format!("{}/oauth/start", harness.acme.setting(ID));
    harness.acme.workspace.post(&path, &json!({})).await.problem(Code::CredentialNotBound);
    harness.world.assert_nothing_looked_up(&before).await;
    // Whoever owns the client says that it may go there.
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.reads().await;
}

/// A client id of the form that the vendor's have.
fn client_id_of(entry: &str) -> &'static str {
    match entry {
        "microsoft-outlook" | "microsoft-teams" => "00000000-0000-4000-8000-000000000000",
        "slack" => "123456789.987654321",
        _ => "client-7f3a",
    }
}

/// The host of a URL with a variable in its first label, as a pattern.
fn pattern(url: &str) -> Option<String> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    let rest = host.split_once("}}")?.1;
    Some(format!("*{rest}"))
}

#[tokio::test]
async fn every_entry_of_the_catalog_that_asks_a_person_takes_a_shared_client() {
    let world = World::start().await;
    let acme = world.tenant("acme", "main").await;
    let listed = world.platform.get("/admin/catalog?limit=100").await.is(200);
    let mut taken = 0;
    for entry in listed.json["data"].as_array().unwrap() {
        let id = entry["connector_id"].as_str().unwrap();
        let definition = world.platform.get(&format!("/admin/catalog/{id}")).await.is(200).json;
        let mut methods = vec![("default", &definition)];
        let others = definition["auth_methods"].as_array().into_iter().flatten();
        methods.extend(others.map(|method| (method["id"].as_str().unwrap(), method)));
        methods.retain(|(_, method)| method["auth_type"] == "oauth2_authorization_code");
        if methods.is_empty() {
            continue;
        }
        world.platform.post(&format!("/admin/catalog/{id}"), &json!({})).await.is(201);
        for (method, written) in methods {
            let hosts = written["auth"]["token_url"].as_str().and_then(pattern);
            let mut body = listing(hosts.map_or_else(|| json!([]), |host| json!([host])));
            body["client_id"] = json!(client_id_of(id));
            let path = format!("/admin/oauth-client/{id}?method={method}");
            let saved = world.platform.put(&path, &body).await.is(200);
            assert_eq!(saved.json["method_id"], method, "{id}");
            let offers =
                acme.workspace.get("/workspace/acme/main/settings/connector?limit=100").await.is(200);
            let offer = offers.json["data"].as_array().unwrap().iter().find(|o| o["connector_id"] == id);
            let offer = offer.unwrap();
            let form = match method {
                "default" => &offer["form"],
                _ => {
                    let methods = offer["auth_methods"].as_array().unwrap();
                    &methods.iter().find(|own| own["id"] == method).unwrap()["form"]
                }
            };
            let text = form.to_string();
            assert!(!text.contains("client_id") && !text.contains("client_secret"), "{id} {method}: {text}");
            taken += 1;
        }
        let chosen = world.platform.get(&format!("/admin/oauth-client/{id}")).await.is(200);
        assert_ne!(chosen.json["client_id"], Value::Null, "the first that asks a person is the default");
    }
    assert!(taken >= 25, "{taken} methods");
}
