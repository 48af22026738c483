//! The authorization code flow from the start to a call with the token.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{CLIENT, Harness, ID, LOGIN, SECRET, client, definition, form_encoded};
use crate::support::token_server::unescaped;
use crate::support::world::PUBLIC_URL;
use crate::support::{Answer, Script, Tenant};

/// The state of a person's browser after a start.
pub(super) struct Begun {
    /// URL to which the browser is sent.
    pub(super) authorize: String,
    /// Pairs of that URL.
    pub(super) pairs: HashMap<String, String>,
    /// The cookie as it is sent back.
    pub(super) cookie: String,
    /// `Set-Cookie` as received.
    pub(super) set_cookie: String,
}

impl Begun {
    pub(super) fn state(&self) -> &str {
        &self.pairs["state"]
    }

    /// The path by which the browser returns with a code.
    pub(super) fn back(&self) -> String {
        format!("/oauth/callback?state={}&code=code-4Rt6", self.state())
    }
}

/// A connector that requires consent.
pub(super) fn consenting(auth: &Value) -> Value {
    let mut auth = auth.clone();
    auth["authorize_url"] = json!("https://login.salesforce.com/authorize?tenant=1");
    definition("oauth2_authorization_code", &auth, &["client_id", "client_secret"])
}

/// A harness with the client saved and without consent.
pub(super) async fn unconsented() -> Harness {
    let harness = Harness::of(&consenting(&json!({}))).await;
    harness.acme.connect(ID, client()).await;
    harness
}

/// Starts a consent.
pub(super) async fn start(tenant: &Tenant) -> Begun {
    start_at(tenant, &format!("{}/oauth/start", tenant.setting(ID))).await
}

/// Starts a consent by this path.
pub(super) async fn start_at(tenant: &Tenant, path: &str) -> Begun {
    let answer = tenant.workspace.post(path, &json!({})).await.is(200);
    let authorize = answer.json["authorize_url"].as_str().unwrap().to_owned();
    let query = authorize.split_once('?').unwrap().1;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (unescaped(name), unescaped(value))).collect();
    let set_cookie = answer.header("set-cookie").unwrap().to_owned();
    let cookie = set_cookie.split(';').next().unwrap().to_owned();
    Begun { authorize, pairs, cookie, set_cookie }
}

/// The browser returns.
pub(super) async fn back(harness: &Harness, path: &str, cookie: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
    harness.world.platform.anonymous().send("GET", path, &headers, Vec::new()).await
}

#[tokio::test]
async fn a_person_consents_and_the_next_run_carries_the_token() {
    let auth = json!({
        "scopes": ["read", { "name": "write" }], "scope_separator": ",",
        "authorize_params": { "prompt": "consent" },
    });
    let harness = Harness::of(&consenting(&auth)).await;
    let saved = harness.acme.connect(ID, client()).await;
    assert_eq!(saved.json["state"], "needs_attention");
    assert!(saved.json["reason"].as_str().unwrap().contains("consent"), "{}", saved.text);
    harness.list().await.problem(Code::CredentialNeedsAttention);
    let begun = start(&harness.acme).await;
    assert!(
        begun.authorize.starts_with(&format!("https://{LOGIN}/authorize?tenant=1&")),
        "{}",
        begun.authorize
    );
    let redirect_uri = format!("{PUBLIC_URL}/oauth/callback");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", redirect_uri.as_str()),
        ("scope", "read,write"),
        ("code_challenge_method", "S256"),
        ("prompt", "consent"),
    ] {
        assert_eq!(begun.pairs[name], value, "{}", begun.authorize);
    }
    assert!(!begun.authorize.contains("s3cr3t"));
    assert_eq!(begun.state().len(), 43, "256 bits");
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/oauth/callback", "; Max-Age=600", "; Secure"] {
        assert!(begun.set_cookie.contains(part), "{}", begun.set_cookie);
    }
    let page = back(&harness, &begun.back(), Some(&format!("a=b; {}; c=d", begun.cookie))).await.is(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.ends_with("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.text.contains("Example is connected"), "{}", page.text);
    let asked = &harness.server.asked()[0];
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked.get("code_verifier").as_bytes()));
    assert_eq!(begun.pairs["code_challenge"], challenge, "the challenge is the verifier's");
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "code-4Rt6"),
        ("redirect_uri", redirect_uri.as_str()),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
    ] {
        assert_eq!(asked.get(name), value);
    }
    assert_eq!(harness.setting().await["state"], "connected");
    harness.reads().await;
    harness.expire().await;
    harness.reads().await;
    assert_eq!(harness.server.asked()[1].get("refresh_token"), "rt-0001-hV9xLm3e");
}

#[tokio::test]
async fn a_server_that_knows_no_proof_key_gets_none_and_a_client_may_prove_itself_as_basic() {
    let harness =
        Harness::of(&consenting(&json!({ "pkce": "none", "client_auth": "basic", "body_format": "json" })))
            .await;
    harness.acme.connect(ID, client()).await;
    let begun = start(&harness.acme).await;
    assert!(!begun.authorize.contains("code_challenge"), "{}", begun.authorize);
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    let asked = &harness.server.asked()[0];
    assert_eq!((asked.get("code"), asked.get("code_verifier")), ("code-4Rt6", ""));
    assert_eq!(asked.basic(), format!("{}:{}", form_encoded(CLIENT), form_encoded(SECRET)));
    assert_eq!(asked.request.header("content-type"), ["application/json"]);
    harness.reads().await;
}

#[tokio::test]
async fn a_token_without_an_end_and_without_renewal_is_used_until_the_api_says_no() {
    let harness = unconsented().await;
    harness.server.change(|ways| {
        ways.refreshable = false;
        ways.expires_in = Value::Null;
    });
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(harness.setting().await["token"]["expires_at"], Value::Null);
    harness.let_time_change(|token| token.obtained_at = Some(super::LONG_AGO.to_owned())).await;
    harness.reads().await;
    harness.server.revoke_access();
    let answer = harness.list().await.problem(Code::UpstreamStatus);
    assert_eq!(answer.json["run"]["class"], "auth");
    let setting = harness.setting().await;
    assert_eq!(setting["state"], "needs_attention");
    assert!(setting["reason"].as_str().unwrap().contains("consent"), "{setting}");
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(harness.setting().await["state"], "connected");
    harness.reads().await;
}

#[tokio::test]
async fn a_second_consent_that_fails_leaves_the_first_as_it_was() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    harness.server.change(|ways| ways.instead = Some(Script::Json(400, r#"{"error":"invalid_grant"}"#)));
    let begun = start(&harness.acme).await;
    let answer = back(&harness, &begun.back(), Some(&begun.cookie)).await;
    let answer = answer.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains("400 invalid_grant"), "{}", answer.text);
    assert_eq!(harness.setting().await["state"], "connected");
    harness.reads().await;
}

#[tokio::test]
async fn a_second_consent_never_renews_with_the_refresh_token_of_the_first() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert!(harness.token().await.0.renewable);
    harness.server.change(|ways| ways.refreshable = false);
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert!(!harness.token().await.0.renewable, "another person's refresh token is not kept");
    harness.reads().await;
}

#[tokio::test]
async fn a_consent_cannot_start_where_nobody_is_asked_or_before_the_client_is_saved() {
    let harness = Harness::connected().await;
    let path = format!("{}/oauth/start", harness.acme.setting(ID));
    harness.acme.workspace.post(&path, &json!({})).await.problem(Code::BadRequest);
    let harness = Harness::of(&consenting(&json!({}))).await;
    harness.acme.workspace.post(&path, &json!({})).await.problem(Code::CredentialNeedsAttention);
    harness.acme.connect(ID, client()).await;
    harness.world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    harness.acme.workspace.post(&path, &json!({})).await.problem(Code::ConnectorDisabled);
    harness.acme.run.post(&path, &json!({})).await.problem(Code::RoleNotAllowed);
}
