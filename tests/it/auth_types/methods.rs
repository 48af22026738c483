//! Several auth methods of one connector: the workspace's choice decides the form, the credential and the
//! URL.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{Harness, KEY, header, places};
use super::second;

/// Bearer at one host by default, Basic at another.
fn definition() -> Value {
    json!({
        "connector_id": "two-ways", "display_name": "Two ways", "auth_type": "bearer",
        "auth_schema": { "fields": [{ "name": "token", "type": "password", "required": true }] },
        "auth_methods": [{
            "id": "classic", "label": "User and password", "auth_type": "basic",
            "auth": { "username": "{{cred.user}}", "password": "{{cred.password}}" },
            "fields": [{ "name": "user", "required": true }, { "name": "password", "required": true }],
            "base_url": "https://basic.salesforce.com/classic",
        }],
        "base_url": "https://api.example-saas.com/v2",
        "actions": [{ "action_id": "act", "http_method": "POST", "url_template": "/things",
                      "body_schema": [{ "name": "title" }] }],
        "allowed_domains": ["api.example-saas.com", "basic.salesforce.com"],
    })
}

#[tokio::test]
async fn the_chosen_method_has_its_own_fields_credential_and_url() {
    let harness = Harness::start().await;
    harness.world.platform.post("/admin/connector", &definition()).await.is(201);
    let path = harness.acme.setting("two-ways");
    let put = async |body: Value| harness.acme.workspace.put(&path, &body).await;
    let saved = put(json!({ "config": { "token": KEY } })).await.is(200);
    assert_eq!(saved.json["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["token"]);
    assert_eq!(saved.json.get("auth_method"), None);
    let answer = harness.acme.call("two-ways", "act", json!({ "title": "t" })).await.is(200);
    assert_eq!(answer.json["status"], "succeeded");
    let classic = json!({ "user": "cnry-user-0042", "password": KEY });
    let saved = put(json!({ "auth_method": "classic", "config": classic })).await.is(200);
    assert_eq!(saved.json["auth_method"], "classic");
    assert_eq!(saved.json["fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["user", "password"]);
    let shown = harness.dry_run("two-ways", &json!({ "title": "t" })).await;
    assert_eq!(shown.json["request"]["url"], "https://basic.salesforce.com/classic/things");
    let basic = "Basic base64(<credential user>:<credential password>)";
    assert_eq!(shown.json["request"]["headers"]["authorization"], basic);
    harness.acme.call("two-ways", "act", json!({ "title": "t" })).await.is(200);
    let sent = harness.world.upstream.received();
    assert_eq!((sent[0].line(), header(&sent[0], "host")), ("POST /v2/things", "api.example-saas.com"));
    assert_eq!((sent[1].line(), header(&sent[1], "host")), ("POST /classic/things", "basic.salesforce.com"));
    second::check("bearer", &sent[0], &json!({ "token": KEY }));
    second::check("basic", &sent[1], &json!({ "username": "cnry-user-0042", "password": KEY }));
    for request in &sent {
        assert_eq!(places(request, KEY), ["header authorization"]);
    }
    put(json!({ "config": { "token": format!("2{KEY}") } })).await.is(200);
    harness.acme.call("two-ways", "act", json!({ "title": "t" })).await.is(200);
    let sent = harness.world.upstream.received().pop().unwrap();
    assert_eq!((sent.line(), header(&sent, "host")), ("POST /v2/things", "api.example-saas.com"));
    second::check("bearer", &sent, &json!({ "token": format!("2{KEY}") }));
}

#[tokio::test]
async fn an_unknown_method_and_fields_of_another_method_are_refused() {
    let harness = Harness::start().await;
    harness.world.platform.post("/admin/connector", &definition()).await.is(201);
    let path = harness.acme.setting("two-ways");
    let before = harness.world.before().await;
    for (body, at, word) in [
        (json!({ "auth_method": "nope", "config": { "token": KEY } }), "/auth_method", "[classic]"),
        (json!({ "auth_method": "Classic", "config": { "token": KEY } }), "/auth_method", "[classic]"),
        (json!({ "auth_method": 1, "config": { "token": KEY } }), "/auth_method", "is number"),
        (json!({ "auth_method": "classic" }), "/config", "its own config"),
        (json!({ "auth_method": "classic", "config": { "token": KEY } }), "/config/user", "user is required"),
        (json!({ "config": { "user": "u", "password": KEY } }), "/config/token", "token is required"),
    ] {
        let answer = harness.acme.workspace.put(&path, &body).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations()[0].0, at, "{}", answer.text);
        assert!(answer.messages().contains(word), "{word} in {}", answer.text);
        assert!(!answer.text.contains(KEY), "{}", answer.text);
        harness.world.assert_untouched(&before).await;
    }
}

#[tokio::test]
async fn opting_out_and_in_again_keeps_the_chosen_method() {
    let harness = Harness::start().await;
    harness.world.platform.post("/admin/connector", &definition()).await.is(201);
    let path = harness.acme.setting("two-ways");
    let classic = json!({ "user": "cnry-user-0042", "password": KEY });
    let body = json!({ "auth_method": "classic", "config": classic });
    harness.acme.workspace.put(&path, &body).await.is(200);
    for enabled in [false, true] {
        let answer = harness.acme.workspace.put(&path, &json!({ "enabled": enabled })).await.is(200);
        assert_eq!(answer.json["auth_method"], "classic", "{}", answer.text);
    }
    harness.acme.call("two-ways", "act", json!({ "title": "t" })).await.is(200);
    let sent = harness.world.upstream.received().pop().unwrap();
    second::check("basic", &sent, &json!({ "username": "cnry-user-0042", "password": KEY }));
}
