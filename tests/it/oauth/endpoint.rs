//! Where a token request may go: through the gate, like any other.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{Harness, ID, LOGIN, client, client_credentials, definition};
use crate::support::{PRIVATE, PUBLIC, Script};

/// No token, no packet, no credential opened; and the reason.
async fn assert_not_sent(harness: &Harness, reason: &str, looks_up: bool) {
    let before = harness.world.before().await;
    let answer = harness.list().await.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains(reason), "{}", answer.text);
    if looks_up {
        harness.world.assert_nothing_left(&before).await;
    } else {
        harness.world.assert_nothing_looked_up(&before).await;
    }
    let entry = &harness.acme.ledger().await[0];
    assert_eq!(entry["action_id"], "oauth-token", "{entry}");
    assert_eq!((&entry["verdict"], &entry["origin"]), (&json!("refuse"), &json!(format!("https://{LOGIN}"))));
}

#[tokio::test]
async fn an_endpoint_outside_allowed_domains_is_refused_when_the_definition_is_uploaded() {
    let harness = Harness::of(&client_credentials()).await;
    for (url, code) in [
        ("https://login.example-evil.com/token", "template_host_outside_allowed_domains"),
        ("https://{{config.tenant}}.example.net/token", "template_host_outside_allowed_domains"),
        ("https://{{config.tenant}}.example-evil.com/token", "template_host_outside_allowed_domains"),
        ("https://{{cred.client_secret}}.salesforce.com/token", "template_unknown_variable"),
        ("http://login.salesforce.com/token", "template_invalid"),
        ("https://login.salesforce.com:8443/token", "port_not_listed"),
    ] {
        let mut definition = client_credentials();
        definition["auth"]["token_url"] = json!(url);
        definition["config_fields"] = json!([{ "name": "tenant" }]);
        let answer = harness.world.platform.put("/admin/connector/saas", &definition).await;
        let answer = answer.problem(Code::ValidationFailed);
        assert!(answer.violations().contains(&("/auth/token_url", code)), "{url}: {}", answer.text);
    }
    let steps = json!({ "steps": [{
        "request": { "url": "https://login.example-evil.com/session" }, "capture": { "access_token": "/t" },
    }] });
    let definition = definition("token_exchange", &steps, &["user"]);
    let answer = harness.world.platform.put("/admin/connector/saas", &definition).await;
    assert_eq!(
        answer.problem(Code::ValidationFailed).violations(),
        [("/auth/steps/0/request/url", "template_host_outside_allowed_domains")]
    );
}

#[tokio::test]
async fn an_endpoint_outside_the_orgs_list_is_refused_and_nothing_is_sent() {
    let harness = Harness::connected().await;
    harness.acme.allow(json!(["api.salesforce.com"]), "enforce").await;
    assert_not_sent(&harness, Code::HostNotInOrg.title(), false).await;
    harness.acme.allow(json!(["*.salesforce.com"]), "enforce").await;
    assert_eq!(harness.trial().await.json["ok"], true);
    harness.reads().await;
}

#[tokio::test]
async fn an_endpoint_with_a_private_address_is_refused_and_nothing_is_sent() {
    let harness = Harness::connected().await;
    for addresses in [vec![PRIVATE], vec![PUBLIC, PRIVATE], vec!["169.254.169.254".parse().unwrap()]] {
        harness.world.names.tell(LOGIN, &addresses);
        harness.acme.connect(ID, client()).await;
        assert_not_sent(&harness, Code::AddressForbidden.title(), true).await;
        let setting = harness.setting().await;
        assert!(!setting.to_string().contains("10.0.0.5"), "{setting}");
    }
    harness.world.names.tell(LOGIN, &[PUBLIC]);
    assert_eq!(harness.trial().await.json["ok"], true);
}

#[tokio::test]
async fn a_credential_that_was_not_sealed_for_the_endpoint_is_not_sent_there() {
    let mut narrow = client_credentials();
    narrow["auth"]["token_url"] = json!("https://api.salesforce.com/oauth/token");
    narrow["allowed_domains"] = json!(["api.salesforce.com"]);
    let harness = Harness::of(&narrow).await;
    harness.acme.connect(ID, client()).await;
    harness.world.platform.put("/admin/connector/saas", &client_credentials()).await.is(200);
    assert_not_sent(&harness, Code::CredentialNotBound.title(), false).await;
    harness.acme.connect(ID, client()).await;
    harness.reads().await;
}

#[tokio::test]
async fn an_endpoint_that_redirects_is_not_followed() {
    let mut definition = client_credentials();
    definition["egress"] = json!({ "redirects": { "follow": "allowed_hosts", "max": 3 } });
    let harness = Harness::of(&definition).await;
    harness.acme.connect(ID, client()).await;
    for status in [301, 302, 303, 307, 308] {
        let to = [("location", "https://api.salesforce.com/steal")];
        let answer = crate::support::token_server::answer_with(status, &to, "{}");
        harness.server.change(|ways| ways.instead = Some(answer));
        let trial = harness.trial().await;
        assert_eq!(
            trial.json["message"],
            format!("no token could be obtained: the token endpoint answered {status}")
        );
    }
    assert!(harness.world.upstream.received_on("/steal").is_empty());
}

#[tokio::test]
async fn an_answer_of_the_endpoint_is_bounded() {
    let harness = Harness::connected().await;
    let long = "x".repeat(17 * 1024);
    let answer = Script::json(200, &json!({ "access_token": long }));
    harness.server.change(|ways| ways.instead = Some(answer));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    let setting: Value = harness.setting().await;
    assert!(setting["reason"].as_str().unwrap().contains("no access_token"), "{setting}");
}
