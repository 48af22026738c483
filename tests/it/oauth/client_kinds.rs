//! Which methods may share a client, and what a client is made of.

use portcullis_core::fault::Code;
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::clients::{PLATFORMS, consent};
use super::consent::consenting;
use super::{CLIENT, Harness, ID, SECRET, client, client_credentials, definition, pasted};

/// A definition with these fields called the client's.
fn marked(mut definition: Value, names: &[&str]) -> Value {
    for field in definition["auth_schema"]["fields"].as_array_mut().unwrap() {
        if names.contains(&field["name"].as_str().unwrap()) {
            field["scope"] = json!("client");
        }
    }
    definition
}

#[tokio::test]
async fn a_client_that_would_be_one_account_for_all_is_refused_and_one_that_is_meant_so_is_not() {
    for definition in [client_credentials(), pasted()] {
        let harness = Harness::of(&definition).await;
        let platform = &harness.world.platform;
        for path in ["/admin/oauth-client/saas", "/admin/oauth-client/saas?method=default"] {
            let refused = platform.put(path, &client()).await.problem(Code::ValidationFailed);
            assert_eq!(refused.violations(), [("/method", "client_not_shared")], "{}", refused.text);
        }
        platform.get(PLATFORMS).await.problem(Code::ValidationFailed);
        platform.put("/admin/oauth-client/saas?method=other", &client()).await.problem(Code::BadRequest);
        platform.put("/admin/oauth-client/nope", &client()).await.problem(Code::ConnectorNotFound);
    }
    let harness = Harness::of(&marked(client_credentials(), &["client_id", "client_secret"])).await;
    let saved = harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    assert_eq!(saved.json["redirect_uri"], Value::Null, "nobody is sent back");
    harness.acme.connect(ID, json!({})).await;
    harness.reads().await;
    let asked = &harness.server.asked()[0];
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), (CLIENT, SECRET));
    // A token that nobody has to consent to is obtained again with the client that there is now.
    let other = json!({ "client_id": "other", "client_secret": "other-secret-5Tz" });
    harness.world.platform.put(PLATFORMS, &other).await.is(200);
    harness.reads().await;
    assert_eq!(harness.server.asked()[1].get("client_secret"), "other-secret-5Tz");
    harness.world.platform.delete(PLATFORMS).await.is(204);
    let before = harness.world.before().await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn of_a_pasted_refresh_token_the_workspace_pastes_the_token_and_the_platform_has_the_client() {
    let harness = Harness::of(&marked(pasted(), &["client_id", "client_secret"])).await;
    harness.server.know_refresh("rt-pasted-5cB8nQ1z");
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.acme.connect(ID, json!({ "refresh_token": "rt-pasted-5cB8nQ1z" })).await;
    harness.reads().await;
    let asked = &harness.server.asked()[0];
    assert_eq!((asked.get("client_secret"), asked.get("refresh_token")), (SECRET, "rt-pasted-5cB8nQ1z"));
}

#[tokio::test]
async fn a_field_of_the_client_goes_to_token_requests_alone() {
    let harness = Harness::of(&consenting(&json!({}))).await;
    let platform = &harness.world.platform;
    let mut key = definition("api_key", &json!({ "token_url": null }), &["key"]);
    key["auth"] = json!({});
    key["connector_id"] = json!("keyed");
    let refused = platform.post("/admin/connector", &marked(key, &["key"])).await;
    let refused = refused.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/auth_schema/fields/0/scope", "field_scope")]);
    let placed = json!([{ "in": "header", "name": "X-Partner", "value": "{{cred.partner_key}}" }]);
    let mut partner = consenting(&json!({ "places": placed }));
    partner["connector_id"] = json!("partner");
    let field = json!({ "name": "partner_key", "type": "password", "required": true, "scope": "client" });
    partner["auth_schema"]["fields"].as_array_mut().unwrap().push(field);
    let refused = platform.post("/admin/connector", &partner).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/auth_schema/fields/2/scope", "field_scope")]);
    let mut config = consenting(&json!({}));
    config["connector_id"] = json!("configured");
    config["config_fields"] = json!([{ "name": "region", "scope": "client" }]);
    let refused = platform.post("/admin/connector", &config).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/config_fields/0/scope", "field_scope")]);
}

#[tokio::test]
async fn what_else_the_definition_calls_the_clients_is_saved_with_it() {
    let extra = json!({ "extra_params": { "partner": "{{cred.partner_key}}" } });
    let mut definition = consenting(&extra);
    let field = json!({ "name": "partner_key", "type": "password", "required": true, "scope": "client" });
    definition["auth_schema"]["fields"].as_array_mut().unwrap().push(field);
    let harness = Harness::of(&definition).await;
    let platform = &harness.world.platform;
    let refused = platform.put(PLATFORMS, &client()).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/fields/partner_key", "missing_field")]);
    let mut with = client();
    with["fields"] = json!({ "partner_key": "partner-4Hs", "nothing": "x" });
    let refused = platform.put(PLATFORMS, &with).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/fields/nothing", "unknown_field")]);
    with["fields"] = json!({ "partner_key": "partner-4Hs" });
    platform.put(PLATFORMS, &with).await.is(200);
    harness.acme.connect(ID, json!({})).await;
    consent(&harness, &harness.acme).await;
    assert_eq!(harness.server.asked()[0].get("partner"), "partner-4Hs");
    harness.reads().await;
}

#[tokio::test]
async fn a_client_with_a_private_key_signs_the_requests_of_all_workspaces() {
    let auth = json!({ "client_auth": "private_key_jwt", "alg": "ES256", "key_field": "key",
        "authorize_url": "https://login.salesforce.com/authorize" });
    let harness = Harness::of(&definition("oauth2_authorization_code", &auth, &["client_id", "key"])).await;
    let platform = &harness.world.platform;
    let refused = platform.put(PLATFORMS, &client()).await.problem(Code::ValidationFailed);
    let expected = [("/client_secret", "unknown_field"), ("/private_key", "missing_field")];
    assert_eq!(refused.violations(), expected, "{}", refused.text);
    let no_key = json!({ "client_id": CLIENT, "private_key": "not a key" });
    platform.put(PLATFORMS, &no_key).await.problem(Code::ValidationFailed);
    let key = KeyPair::generate().unwrap().serialize_pem();
    let saved = platform.put(PLATFORMS, &json!({ "client_id": CLIENT, "private_key": key })).await.is(200);
    assert!(!saved.text.contains("PRIVATE"), "{}", saved.text);
    harness.acme.connect(ID, json!({})).await;
    consent(&harness, &harness.acme).await;
    let asked = &harness.server.asked()[0];
    assert_eq!(asked.get("client_assertion").split('.').count(), 3);
    assert!(!asked.request.text().contains("PRIVATE"));
    harness.reads().await;
}

#[tokio::test]
async fn values_that_cannot_be_used_are_refused_with_their_members() {
    let harness = Harness::of(&consenting(&json!({ "client_auth": "basic" }))).await;
    let platform = &harness.world.platform;
    for (body, violation) in [
        (json!({ "client_id": CLIENT }), ("/client_secret", "missing_field")),
        (json!({ "client_id": "", "client_secret": SECRET }), ("/client_id", "too_short")),
        (json!({ "client_id": " ", "client_secret": SECRET }), ("/client_id", "missing_field")),
        (json!({ "client_id": CLIENT, "client_secret": "a\nb" }), ("/client_secret", "control_character")),
        (
            json!({ "client_id": CLIENT, "client_secret": SECRET, "private_key": "x" }),
            ("/private_key", "unknown_field"),
        ),
        (
            json!({ "client_id": CLIENT, "client_secret": SECRET, "scopes": ["a b"] }),
            ("/scopes/0", "wrong_form"),
        ),
        (
            json!({ "client_id": CLIENT, "client_secret": SECRET, "fields": { "client_id": "x" } }),
            ("/fields/client_id", "wrong_place"),
        ),
    ] {
        let refused = platform.put(PLATFORMS, &body).await.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [violation], "{}", refused.text);
        assert!(!refused.text.contains("s3cr3t"), "{}", refused.text);
    }
    platform.get(PLATFORMS).await.problem(Code::NotFound);
    platform.put(PLATFORMS, &client()).await.is(200);
}
