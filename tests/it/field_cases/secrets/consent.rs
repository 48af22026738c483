//! S10: a code is redeemed only at the authorization server that gave it.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, Scene, client, definition};
use crate::support::token_server::unescaped;
use crate::support::{Answer, Script};

/// A connector that requires consent.
fn consenting(auth: &Value) -> Value {
    let mut definition = definition(auth, &json!({ "auth_type": "oauth2_authorization_code" }));
    if definition["auth"]["authorize_url"].is_null() {
        definition["auth"]["authorize_url"] = json!("https://login.salesforce.com/authorize");
    }
    definition
}

/// Starts a consent; returns its state and the browser's cookie.
async fn start(scene: &Scene, connector: &str) -> (String, String) {
    let path = format!("{}/oauth/start", scene.acme.setting(connector));
    let answer = scene.acme.workspace.post(&path, &json!({})).await.is(200);
    let url = answer.json["authorize_url"].as_str().unwrap();
    let state = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap();
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (unescaped(state), cookie)
}

/// A person consents, and the browser comes back with these further pairs.
pub(super) async fn finish(scene: &Scene, connector: &str, more: &str) -> Answer {
    let (state, cookie) = start(scene, connector).await;
    come_back(scene, &state, &cookie, more).await
}

/// The browser comes back from a consent that was started.
async fn come_back(scene: &Scene, state: &str, cookie: &str, more: &str) -> Answer {
    let path = format!("/oauth/callback?state={state}&code=code-4Rt6Lm2Qz9{more}");
    scene.world.platform.anonymous().send("GET", &path, &[("cookie", cookie)], Vec::new()).await
}

#[tokio::test]
async fn s10_an_answer_of_another_issuer_is_refused_before_anything_is_sent() {
    let scene = Scene::of(&consenting(&json!({}))).await;
    scene.acme.connect(ID, client()).await;
    for iss in [
        "https%3A%2F%2Flogin.example-evil.com",
        "https%3A%2F%2Flogin.salesforce.com.example-evil.com",
        "https%3A%2F%2Flogin.salesforce.com%40example-evil.com",
        "https%3A%2F%2Fexample-evil.com%2Flogin.salesforce.com",
        "https%3A%2F%2Fother.salesforce.com",
        "https%3A%2F%2Flogin.salesforce.com%3A8443",
        "http%3A%2F%2Flogin.salesforce.com",
        "login.salesforce.com",
        "",
    ] {
        // Why started before: the page's URL needs the client id, which is opened for it.
        let (state, cookie) = start(&scene, ID).await;
        let before = scene.world.before().await;
        let answer = come_back(&scene, &state, &cookie, &format!("&iss={iss}")).await;
        assert_eq!(answer.json["code"], Code::ConsentInvalid.as_str(), "{iss:?}: {}", answer.text);
        scene.world.assert_nothing_looked_up(&before).await;
        assert!(scene.server.asked().is_empty(), "{iss}");
        assert!(!answer.text.contains("code-4Rt6"));
    }
    let answer =
        finish(&scene, ID, "&iss=https%3A%2F%2Flogin.salesforce.com&iss=https%3A%2F%2Fb.example.com").await;
    assert!(answer.status >= 400 && scene.server.asked().is_empty(), "{}", answer.text);
    finish(&scene, ID, "&iss=https%3A%2F%2Flogin.salesforce.com").await.is(200);
    finish(&scene, ID, "&iss=https%3A%2F%2Flogin.salesforce.com%2Foauth%2Ftenant-1&session_state=1")
        .await
        .is(200);
    finish(&scene, ID, "").await.is(200);
    assert_eq!(scene.server.asked().len(), 3);
}

#[tokio::test]
async fn s10_an_issuer_that_the_definition_names_must_be_named_letter_by_letter() {
    let definition = consenting(&json!({ "issuer": "https://id.salesforce.com/acme" }));
    let scene = Scene::of(&definition).await;
    scene.acme.connect(ID, client()).await;
    for more in [
        "",
        "&iss=",
        "&iss=https%3A%2F%2Flogin.salesforce.com",
        "&iss=https%3A%2F%2Fid.salesforce.com",
        "&iss=https%3A%2F%2Fid.salesforce.com%2Facme%2F",
        "&iss=https%3A%2F%2FID.salesforce.com%2Facme",
    ] {
        finish(&scene, ID, more).await.problem(Code::ConsentInvalid);
        assert!(scene.server.asked().is_empty(), "{more}");
    }
    finish(&scene, ID, "&iss=https%3A%2F%2Fid.salesforce.com%2Facme").await.is(200);
    for (issuer, code) in [
        ("http://id.salesforce.com", "wrong_form"),
        ("https://id.salesforce.com?x=1", "wrong_form"),
        ("https://{{cred.client_id}}.salesforce.com", "template_unknown_variable"),
    ] {
        let answer = scene
            .world
            .platform
            .put("/admin/connector/saas", &consenting(&json!({ "issuer": issuer })))
            .await;
        assert_eq!(answer.problem(Code::ValidationFailed).violations(), [("/auth/issuer", code)]);
    }
}

/// One callback serves all connectors: the state says which.
#[tokio::test]
async fn s10_a_state_leads_to_its_own_connector_alone() {
    let scene = Scene::of(&consenting(&json!({}))).await;
    let mut other = consenting(&json!({
        "authorize_url": "https://files.salesforce.com/authorize",
        "token_url": "https://files.salesforce.com/other/token",
    }));
    other["connector_id"] = json!("other");
    scene.world.platform.post("/admin/connector", &other).await.is(201);
    scene.world.upstream.script("/other/token", Script::Json(200, r#"{"access_token":"other-9Lq2Xw"}"#));
    scene.acme.connect(ID, client()).await;
    scene.acme.connect("other", client()).await;
    // The answer of one server, said to be of the other.
    finish(&scene, "other", "&iss=https%3A%2F%2Flogin.salesforce.com").await.problem(Code::ConsentInvalid);
    assert!(scene.world.upstream.received().is_empty());
    finish(&scene, "other", "&iss=https%3A%2F%2Ffiles.salesforce.com&connector=saas").await.is(200);
    assert!(scene.server.asked().is_empty());
    assert_eq!(scene.world.upstream.received_on("/other/token").len(), 1);
    assert_eq!(scene.setting().await.json["state"], "needs_attention", "the other one stays unconnected");
}

#[tokio::test]
async fn s10_endpoints_of_different_companies_are_warned_about() {
    let scene = Scene::of(&consenting(&json!({}))).await;
    for (authorize, more, warned) in [
        ("https://login.salesforce.com/authorize", json!({}), false),
        ("https://consent.salesforce.com/authorize", json!({}), false),
        ("https://login.example-evil.com/authorize", json!({}), true),
        ("https://salesforce.com.example-evil.com/authorize", json!({}), true),
        ("https://{{config.site}}.salesforce.com/authorize", json!({}), false),
        ("https://{{config.site}}.example-evil.com/authorize", json!({}), true),
        (
            "https://login.example-evil.com/authorize",
            json!({ "issuer": "https://login.example-evil.com" }),
            false,
        ),
    ] {
        let mut document = consenting(&json!({ "authorize_url": authorize }));
        document["config_fields"] = json!([{ "name": "site" }]);
        super::lay(&mut document["auth"], &more);
        let answer = scene.world.platform.post("/admin/connector/validate", &document).await.is(200);
        let warnings = answer.json["warnings"].as_array().unwrap().clone();
        let found: Vec<(&str, &str)> =
            warnings.iter().map(|w| (w["pointer"].as_str().unwrap(), w["code"].as_str().unwrap())).collect();
        let expected: &[(&str, &str)] =
            if warned { &[("/auth/token_url", "oauth_endpoints_apart")] } else { &[] };
        assert_eq!(found, expected, "{authorize}: {}", answer.text);
    }
}
