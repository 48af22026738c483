//! Tokens as servers really give them, and where they go.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::answers::typed;
use super::calls::{ID, KEY, definition};
use crate::support::token_server::{API, TOKEN, TokenServer};
use crate::support::{PUBLIC, Script, Tenant, World};

/// A world whose connector needs a token of client credentials; `auth` is merged into its auth.
async fn with_auth(auth: &Value, secret: &str) -> (World, Tenant, TokenServer) {
    let fields = ["client_id", "client_secret", "extra"]
        .map(|n| json!({ "name": n, "type": "password", "required": n != "extra" }));
    let mut own = json!({ "token_url": format!("https://login.salesforce.com{TOKEN}") });
    for (name, value) in auth.as_object().unwrap() {
        own[name] = value.clone();
    }
    let top =
        json!({ "auth_type": "oauth2_client_credentials", "auth": own, "auth_schema": { "fields": fields } });
    let definition = definition(&json!({ "url_template": format!("https://api.salesforce.com{API}") }), &top);
    let world = World::start().await;
    world.names.tell("login.salesforce.com", &[PUBLIC]);
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "client_id": "own app", "client_secret": secret, "extra": KEY })).await;
    let server = TokenServer::on(&world.upstream);
    (world, acme, server)
}

/// Why the connection needs a person.
async fn reason(acme: &Tenant) -> String {
    let setting = acme.workspace.get(&acme.setting(ID)).await.is(200).json;
    assert_eq!(setting["state"], "needs_attention", "{setting}");
    setting["reason"].as_str().unwrap_or_default().to_owned()
}

fn answered(content_type: &str, body: &str) -> Option<Script> {
    Some(typed(content_type, body))
}

#[tokio::test]
async fn e1_a_token_that_cannot_be_sent_is_refused_when_it_is_taken() {
    for token in ["tok\n", "tok \u{e9}"] {
        let (_world, acme, server) = with_auth(&json!({}), KEY).await;
        let body = json!({ "access_token": token, "expires_in": 3600 }).to_string();
        server.change(|ways| ways.instead = answered("application/json", &body));
        acme.call(ID, "act", json!({})).await.problem(Code::CredentialNeedsAttention);
        let reason = reason(&acme).await;
        assert!(reason.contains("access_token has") && reason.contains("cannot be sent"), "{reason}");
    }
}

#[tokio::test]
async fn e1_a_token_that_its_place_cannot_have_is_refused_when_it_is_taken() {
    let auth = json!({ "places": [{ "in": "cookie", "name": "sid", "value": "{{cred.access_token}}" }] });
    for (token, sent) in [("tok,en", false), ("tok en", false), ("tok;en", false), ("\"token\"", true)] {
        let (_world, acme, server) = with_auth(&auth, KEY).await;
        let body = json!({ "access_token": token, "expires_in": 3600 }).to_string();
        server.change(|ways| ways.instead = answered("application/json", &body));
        let answer = acme.call(ID, "act", json!({})).await;
        if sent {
            continue;
        }
        answer.problem(Code::CredentialNeedsAttention);
        let reason = reason(&acme).await;
        assert!(reason.contains("cannot stand in a cookie") && reason.contains("not kept"), "{reason}");
    }
}

#[tokio::test]
async fn e3_client_credentials_are_form_encoded_unless_the_vendor_wants_them_raw() {
    let secret = "s+e/c%r=t x";
    for (way, sent) in [("basic", "own+app:s%2Be%2Fc%25r%3Dt+x"), ("basic_raw", "own app:s+e/c%r=t x")] {
        let (_world, acme, server) = with_auth(&json!({ "client_auth": way }), secret).await;
        acme.call(ID, "act", json!({})).await.is(200);
        assert_eq!(server.asked()[0].basic(), sent, "{way}");
    }
}

#[tokio::test]
async fn e4_token_answers_in_a_form_in_xml_and_with_a_mark_are_read() {
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", "access_token=tok-1&expires_in=3600"),
        ("application/xml", "<r><access_token>tok-1</access_token><expires_in>3600</expires_in></r>"),
        ("application/json", "\u{feff}{\"access_token\":\"tok-1\"}"),
    ] {
        let (world, acme, server) = with_auth(&json!({}), KEY).await;
        server.change(|ways| ways.instead = answered(content_type, body));
        acme.call(ID, "act", json!({})).await;
        let sent = world.upstream.received_on(API)[0].header("authorization").join(",");
        assert_eq!(sent, "Bearer tok-1", "{content_type}");
    }
    let (_world, acme, server) = with_auth(&json!({}), KEY).await;
    server.change(|ways| ways.instead = answered("text/html", "<html>sign in</html>"));
    acme.call(ID, "act", json!({})).await.problem(Code::CredentialNeedsAttention);
    let reason = reason(&acme).await;
    assert!(reason.contains("it is text/html, where JSON"), "{reason}");
}

#[tokio::test]
async fn e5_the_vendors_error_is_told_unless_it_has_a_secret() {
    let (_world, acme, server) = with_auth(&json!({}), KEY).await;
    server
        .change(|ways| ways.instead = answered("application/json", r#"{"ok":false,"error":"invalid_code"}"#));
    acme.call(ID, "act", json!({})).await.problem(Code::CredentialNeedsAttention);
    let told = reason(&acme).await;
    assert!(told.starts_with("the token endpoint answered 200: invalid_code"), "{told}");
    let (_world, acme, server) = with_auth(&json!({}), KEY).await;
    let body = json!({ "ok": false, "error": format!("unknown client with {KEY}") }).to_string();
    server.change(|ways| ways.instead = answered("application/json", &body));
    acme.call(ID, "act", json!({})).await.problem(Code::CredentialNeedsAttention);
    let reason = reason(&acme).await;
    assert!(reason.starts_with("the token endpoint answered 200;"), "{reason}");
}

#[tokio::test]
async fn e6_a_lifetime_of_nothing_is_unknown() {
    for lifetime in [json!(0), json!("0"), json!(-1)] {
        let (_world, acme, server) = with_auth(&json!({}), KEY).await;
        server.change(|ways| ways.expires_in = lifetime.clone());
        for _ in 0..3 {
            acme.call(ID, "act", json!({})).await.is(200);
        }
        assert_eq!(server.asked().len(), 1, "{lifetime}");
    }
}

#[tokio::test]
async fn e7_a_credential_has_several_places() {
    let auth = json!({ "places": [
        { "in": "header", "name": "X-Api-Key", "value": "{{cred.extra}}" },
        { "in": "query", "name": "app", "value": "{{cred.client_id}}" },
        { "in": "cookie", "name": "sid", "value": "{{cred.access_token}}" },
    ] });
    let (world, acme, server) = with_auth(&auth, KEY).await;
    acme.call(ID, "act", json!({})).await;
    let got = &world.upstream.received()[1];
    let token = server.access();
    assert_eq!(got.header("authorization"), [format!("Bearer {token}")]);
    assert_eq!(got.header("x-api-key"), [KEY]);
    assert_eq!(got.header("cookie"), [format!("sid={token}")]);
    assert!(got.line().ends_with(&format!(" {API}?app=own%20app")), "{}", got.line());
    for (place, code) in [
        (json!({ "in": "header", "name": "authorization", "value": "{{cred.extra}}" }), "auth_duplicate"),
        (json!({ "in": "header", "name": "Host", "value": "{{cred.extra}}" }), "header_forbidden"),
        (json!({ "in": "header", "name": "X-Api-Key", "value": "fixed" }), "credential_in_definition"),
        (json!({ "in": "query", "name": "k", "value": "{{cred.nothing}}" }), "template_unknown_variable"),
    ] {
        let top = json!({ "connector_id": "other", "auth_type": "bearer", "auth": { "places": [place] },
            "auth_schema": { "fields": [{ "name": "extra", "type": "password" }] } });
        let refused = world.platform.post("/admin/connector", &definition(&json!({}), &top)).await;
        assert!(refused.violations().iter().any(|(_, found)| *found == code), "{code}: {refused:?}");
    }
}

#[tokio::test]
async fn e8_token_requests_have_headers_of_their_own() {
    let auth = json!({ "headers": { "X-Tenant": "{{cred.extra}}", "Accept": "application/vnd.own+json" } });
    let (_world, acme, server) = with_auth(&auth, KEY).await;
    acme.call(ID, "act", json!({})).await.is(200);
    let asked = &server.asked()[0].request;
    assert_eq!(
        (asked.header("x-tenant"), asked.header("accept")),
        (vec![KEY], vec!["application/vnd.own+json"])
    );
}
