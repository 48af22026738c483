//! `POST …/test`: a read request of the definition with the saved credential. The response tells whether it
//! works and for which account, and nothing else of what the third party sent.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{Case, HOST, Harness, KEY};
use crate::secrecy::found;
use crate::support::{Answer, Script};

/// A connector with a credential check, saved.
async fn connected(auth_type: &'static str, auth: Value) -> (Harness, String) {
    let harness = Harness::start().await;
    let case = Case::new(auth_type, auth, json!({ "key": KEY }));
    let mut definition = case.definition("tried");
    definition["test"] = json!({
        "request": { "action_id": "me", "http_method": "GET", "url_template": format!("https://{HOST}/v1/me") },
        "label": "/account/name",
    });
    harness.world.platform.post("/admin/connector", &definition).await.is(201);
    harness.acme.connect("tried", case.saved.clone()).await;
    (harness, "tried".to_owned())
}

async fn tried(harness: &Harness, connector: &str) -> Answer {
    let path = format!("/workspace/acme/main/settings/connector/{connector}/test");
    harness.acme.workspace.post(&path, &json!({})).await
}

#[tokio::test]
async fn a_valid_credential_is_reported_with_the_name_of_its_account() {
    let (harness, id) = connected("bearer", Value::Null).await;
    harness
        .world
        .upstream
        .script("/v1/me", Script::Json(200, r#"{"account":{"name":"Ada Ltd","plan":"secret plan"}}"#));
    let answer = tried(&harness, &id).await.is(200);
    assert_eq!((&answer.json["ok"], &answer.json["label"]), (&json!(true), &json!("Ada Ltd")));
    assert!(!answer.text.contains("secret plan"), "nothing but the label: {}", answer.text);
    let sent = harness.world.upstream.received();
    assert_eq!((sent.len(), sent[0].line()), (1, "GET /v1/me"));
    assert_eq!(sent[0].header("authorization"), [format!("Bearer {KEY}")]);
    let entry = &harness.acme.ledger().await[0];
    assert_eq!(
        (&entry["path"], &entry["status"]),
        (&json!("/v1/me"), &json!(200)),
        "recorded like any other request"
    );
}

#[tokio::test]
async fn a_wrong_credential_is_reported_without_its_echo() {
    for (auth_type, auth) in [
        ("bearer", Value::Null),
        ("basic", json!({ "username": "ada", "password": "{{cred.key}}" })),
        ("api_key", json!({ "prefix": "Token " })),
    ] {
        let (harness, id) = connected(auth_type, auth).await;
        harness.world.upstream.script("/v1/me", Script::Echo(401));
        let answer = tried(&harness, &id).await.is(200);
        assert_eq!(answer.json["ok"], false, "{}", answer.text);
        assert_eq!((&answer.json["class"], &answer.json["status"]), (&json!("auth"), &json!(401)));
        assert_eq!(answer.json["code"], Code::UpstreamStatus.as_str());
        assert_eq!(found(answer.text.as_bytes(), KEY), None, "{}", answer.text);
        assert!(!answer.text.contains("the header was"), "nothing of what it said: {}", answer.text);
        let ledger = harness.acme.ledger().await;
        assert_eq!(ledger[0]["redacted"], true, "it was in the answer");
        assert_eq!(found(&harness.acme.run.heard(), KEY), None, "in some answer of the API");
    }
}

/// The name of the account comes from the third party.
#[tokio::test]
async fn a_label_that_echoes_the_credential_does_not_show_it() {
    let (harness, id) = connected("bearer", Value::Null).await;
    let body: &'static str = Box::leak(json!({ "account": { "name": KEY } }).to_string().into_boxed_str());
    harness.world.upstream.script("/v1/me", Script::Json(200, body));
    let answer = tried(&harness, &id).await.is(200);
    assert_eq!(answer.json["ok"], true, "{}", answer.text);
    assert_eq!(found(answer.text.as_bytes(), KEY), None, "{}", answer.text);
}

#[tokio::test]
async fn without_a_test_or_a_saved_credential_there_is_nothing_to_try() {
    let (harness, id) = connected("bearer", Value::Null).await;
    harness.acme.workspace.delete(&harness.acme.setting(&id)).await.is(204);
    let before = harness.world.before().await;
    tried(&harness, &id).await.problem(Code::CredentialNeedsAttention);
    let plain = harness.upload(&Case::new("bearer", Value::Null, json!({ "key": KEY }))).await;
    harness.acme.connect(&plain, json!({ "key": KEY })).await;
    tried(&harness, &plain).await.problem(Code::NotFound);
    harness.world.assert_nothing_looked_up(&before).await;
}
