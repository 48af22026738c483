//! Refusals: saving a key that cannot be used, uploading a definition that sets something where the
//! credential goes, and calls that do the same.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{Case, HOST, Harness, KEY};
use super::signed::{p256, rsa};
use crate::secrecy::found;

/// Asserts that saving is refused with all of these words and without the value, and that nothing is stored.
async fn assert_not_saved(harness: &Harness, case: &Case, saved: Value, words: &[&str]) {
    let id = harness.upload(case).await;
    let before = harness.world.before().await;
    let path = harness.acme.setting(&id);
    let answer = harness.acme.workspace.put(&path, &json!({ "config": saved })).await;
    let answer = answer.problem(Code::ValidationFailed);
    assert_eq!(answer.status, 422);
    for word in words {
        assert!(answer.text.contains(word), "{word} in {}", answer.text);
    }
    for (name, value) in saved.as_object().unwrap() {
        for line in value.as_str().unwrap().lines().filter(|line| line.len() > 8 && !line.starts_with("---"))
        {
            assert_eq!(found(answer.text.as_bytes(), line), None, "the value of {name}: {}", answer.text);
        }
    }
    harness.world.assert_untouched(&before).await;
    let state = harness.acme.workspace.get(&path).await.is(200);
    assert_eq!(state.json["state"], "unconfigured");
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_refused_when_it_is_saved() {
    let harness = Harness::start().await;
    let ((rsa, rsa_public), (ec, _)) = (rsa(), p256());
    for (kind, alg, key) in [
        ("pem", "RS256", KEY.to_owned()),
        ("textarea", "RS256", KEY.to_owned()),
        ("textarea", "RS256", format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----")),
        ("pem", "RS256", rsa_public),
        ("pem", "RS256", ec),
        ("pem", "ES256", rsa.clone()),
        ("pem", "ES256", rsa.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
    ] {
        let auth = json!({ "alg": alg, "key_field": "private_key" });
        let mut case = Case::new("jwt", auth, json!({}));
        case.fields = json!([{ "name": "private_key", "type": kind, "required": true }]);
        assert_not_saved(&harness, &case, json!({ "private_key": key }), &["private_key"]).await;
    }
}

#[tokio::test]
async fn a_key_that_cannot_stand_in_its_place_is_refused_when_it_is_saved() {
    let harness = Harness::start().await;
    let saved = json!({ "key": "-" });
    let api_key = |auth: Value| Case::new("api_key", auth, saved.clone());
    for bad in ["\r\nX-Admin: 1", "\n", "\r", "\0"] {
        let value = format!("{KEY}{bad}{KEY}");
        let case = api_key(json!({ "name": "X-Api-Key" }));
        assert_not_saved(&harness, &case, json!({ "key": value }), &["/config/key", "control character"])
            .await;
        let mut case = api_key(json!({ "name": "X-Api-Key" }));
        case.fields = json!([{ "name": "key", "type": "textarea" }]);
        assert_not_saved(&harness, &case, json!({ "key": value }), &["/config"]).await;
    }
    let cookie = api_key(json!({ "in": "cookie", "name": "sid" }));
    for bad in ["; admin=1", ",", "\"", " ", "\\", "é"] {
        assert_not_saved(&harness, &cookie, json!({ "key": format!("{KEY}{bad}{KEY}") }), &["cookie"]).await;
    }
    let auth = json!({ "username": "{{cred.user}}", "password": "{{cred.key}}" });
    let both = json!({ "user": format!("u:{KEY}"), "key": KEY });
    let case = Case::new("basic", auth, both.clone());
    assert_not_saved(&harness, &case, both, &["user name", "colon"]).await;
}

#[tokio::test]
async fn a_member_of_the_body_where_the_credential_goes_is_refused_when_it_is_uploaded() {
    let harness = Harness::start().await;
    let refused = async |path: &str, action: Value| {
        let auth = json!({ "in": "body", "path": path });
        let case = Case::new("api_key", auth, json!({ "key": KEY })).action(action, json!({}));
        harness.refused(&case).await
    };
    let named = |name: &str| json!({ "body_schema": [{ "name": name }] });
    let body = |body: Value| json!({ "body_schema": [{ "name": "title" }], "body": body });
    let input = ("/actions/0/body_schema/0/name".to_owned(), "body_forbidden".to_owned());
    let document = ("/actions/0/body".to_owned(), "body_forbidden".to_owned());
    for (path, action, expected) in [
        ("/key", named("key"), &input),
        ("/key", json!({ "body_schema": [{ "name": "k", "as": "key" }] }), &input),
        ("/auth/key", named("auth"), &input),
        ("/auth/key", json!({ "body_schema": [{ "name": "k", "path": "auth.key.x" }] }), &input),
        ("/m/title", body(json!({ "type": "json", "wrap": "m" })), &input),
        ("/variables/title", body(json!({ "type": "graphql", "query": "{ me }" })), &input),
        ("/key", body(json!({ "type": "json", "template": { "key": "{{input.title}}" } })), &document),
        ("/a/key", body(json!({ "type": "form", "template": { "a": "x" } })), &document),
        ("/m", json!({ "body_schema": [], "body": { "type": "json", "wrap": "m" } }), &document),
        ("/query", body(json!({ "type": "graphql", "query": "{ me }" })), &document),
    ] {
        assert_eq!(refused(path, action.clone()).await, vec![expected.clone()], "{path} {action}");
    }
}

/// Regression: an action without a body was accepted, and sent without the credential.
#[tokio::test]
async fn an_action_without_a_body_for_the_credential_is_refused_when_it_is_uploaded() {
    let harness = Harness::start().await;
    for action in [
        json!({ "http_method": "GET" }),
        json!({ "body": { "type": "none" }, "body_schema": [] }),
        json!({ "body": { "type": "text", "template": "x" }, "body_schema": [] }),
        json!({ "body": { "type": "multipart" } }),
    ] {
        let auth = json!({ "in": "body", "path": "/key" });
        let case = Case::new("api_key", auth, json!({ "key": KEY })).action(action.clone(), json!({}));
        let found = harness.refused(&case).await;
        assert!(found.iter().any(|(_, code)| code == "credential_no_place"), "{action}: {found:?}");
    }
}

#[tokio::test]
async fn a_query_pair_where_the_credential_goes_is_refused_when_it_is_uploaded() {
    let harness = Harness::start().await;
    let url = |query: &str| format!("https://{HOST}/v1/things{query}");
    for (action, at) in [
        (json!({ "body_schema": [{ "name": "key" }] }), "/actions/0/body_schema/0/name"),
        (json!({ "body_schema": [{ "name": "KEY" }] }), "/actions/0/body_schema/0/name"),
        (json!({ "body_schema": [{ "name": "k", "as": "Key" }] }), "/actions/0/body_schema/0/name"),
        (json!({ "query": { "key": "1" } }), "/actions/0/query/key"),
        (json!({ "url_template": url("?key=1") }), "/actions/0/url_template"),
    ] {
        let auth = json!({ "in": "query", "name": "key" });
        let mut case = Case::new("api_key", auth, json!({ "k": KEY })).action(action, json!({}));
        case.action["http_method"] = json!("GET");
        assert_eq!(harness.refused(&case).await, [(at.to_owned(), "query_forbidden".to_owned())]);
    }
}

#[tokio::test]
async fn a_query_pair_where_the_credential_goes_is_refused_when_an_input_makes_it() {
    let harness = Harness::start().await;
    let auth = json!({ "in": "query", "name": "auth[key]" });
    let filter = json!({ "name": "auth", "type": "object", "array_format": "brackets" });
    let action = json!({ "http_method": "GET", "body_schema": [filter] });
    let case = Case::new("api_key", auth, json!({ "key": KEY })).action(action, json!({}));
    let id = harness.upload(&case).await;
    harness.acme.connect(&id, case.saved.clone()).await;
    harness.acme.call(&id, "act", json!({ "auth": { "other": "1" } })).await.is(200);
    let before = harness.world.before().await;
    for name in ["key", "KEY"] {
        let answer = harness.acme.call(&id, "act", json!({ "auth": { name: "mine" } })).await;
        answer.problem(Code::QueryForbidden);
        harness.world.assert_nothing_looked_up(&before).await;
    }
    assert_eq!(harness.acme.ledger().await[0]["code"], Code::QueryForbidden.as_str());
}

/// Regression: members without effect were accepted; a JWT that should go into the query went into a header.
#[tokio::test]
async fn a_member_of_auth_that_its_type_does_not_read_is_refused_when_it_is_uploaded() {
    let harness = Harness::start().await;
    let jwt = json!({ "alg": "HS256", "key_field": "key" });
    for (auth_type, auth, member) in [
        ("jwt", super::harness::with(&jwt, json!({ "in": "query" })), "in"),
        ("jwt", super::harness::with(&jwt, json!({ "value": "{{cred.key}}" })), "value"),
        ("bearer", json!({ "token": "{{cred.key}}" }), "token"),
        ("bearer", json!({ "token_secret": "{{cred.key}}" }), "token_secret"),
        ("basic", json!({ "username": "u", "password": "", "consumer_secret": "x" }), "consumer_secret"),
        ("api_key", json!({ "path": "/key" }), "path"),
        ("api_key", json!({ "in": "body", "path": "/k", "name": "X-Key" }), "name"),
    ] {
        let case = Case::new(auth_type, auth, json!({ "key": KEY }));
        let expected = (format!("/auth/{member}"), "auth_unused".to_owned());
        let found = harness.refused(&case).await;
        assert!(found.contains(&expected), "{auth_type} {member}: {found:?}");
    }
}
