//! Every way to obtain a token without a person's consent, and what is read from the answer.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_store::TokenState;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use super::{
    CLIENT, Harness, ID, LOGIN, SECRET, client, client_credentials, definition, form_encoded, pasted_values,
};
use crate::support::token_server::answer_with;
use crate::support::{Script, Stage};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[tokio::test]
async fn client_credentials_go_as_basic_or_in_the_body_and_as_form_or_json() {
    for (proof, format) in [("basic", "form"), ("basic", "json"), ("body", "form"), ("body", "json")] {
        let auth = json!({
            "client_auth": proof, "body_format": format, "scopes": ["read", "write"],
            "audience": "https://a.b/",
            "extra_params": { "resource": "r&1" },
        });
        let fields = ["client_id", "client_secret"];
        let harness = Harness::of(&definition("oauth2_client_credentials", &auth, &fields)).await;
        assert_eq!(harness.acme.connect(ID, client()).await.json["state"], "connected");
        harness.reads().await;
        harness.reads().await;
        let asked = harness.server.asked();
        assert_eq!(asked.len(), 1, "{proof} {format}: kept, and asked for once");
        let asked = &asked[0];
        for (name, value) in [
            ("grant_type", "client_credentials"),
            ("scope", "read write"),
            ("audience", "https://a.b/"),
            ("resource", "r&1"),
        ] {
            assert_eq!(asked.get(name), value, "{proof} {format}");
        }
        let media = if format == "json" { "application/json" } else { "application/x-www-form-urlencoded" };
        assert_eq!(asked.request.header("content-type"), [media]);
        assert_eq!(asked.request.header("accept"), ["application/json"]);
        assert_eq!(asked.request.line(), "POST /oauth/token");
        if proof == "basic" {
            assert_eq!(asked.basic(), format!("{}:{}", form_encoded(CLIENT), form_encoded(SECRET)));
            assert_eq!((asked.get("client_id"), asked.get("client_secret")), ("", ""));
        } else {
            assert!(asked.request.header("authorization").is_empty());
            assert_eq!((asked.get("client_id"), asked.get("client_secret")), (CLIENT, SECRET));
        }
        harness.expire().await;
        harness.reads().await;
        assert_eq!(harness.server.asked()[1].get("grant_type"), "client_credentials");
    }
}

/// Header and claims of a JWT that this key signed with ES256.
fn verified(token: &str, key: &KeyPair) -> (Value, Value) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.der_bytes().to_vec());
    public.verify(signed.as_bytes(), &decode(signature)).expect("the signature is the key's");
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |text: &str| serde_json::from_slice(&decode(text)).unwrap();
    (read(header), read(claims))
}

#[tokio::test]
async fn a_jwt_bearer_signs_its_assertion_and_asks_with_it() {
    let auth = json!({
        "alg": "ES256", "key_field": "key", "kid": "{{cred.key_id}}", "scopes": ["a", "b"],
        "claims": { "iss": "{{cred.account}}" },
    });
    let fields = ["account", "key_id", "key"];
    let harness = Harness::of(&definition("oauth2_jwt_bearer", &auth, &fields)).await;
    let key = KeyPair::generate().unwrap();
    let values = json!({ "account": "robot@example.org", "key_id": "k1", "key": key.serialize_pem() });
    harness.acme.connect(ID, values).await;
    harness.reads().await;
    let asked = &harness.server.asked()[0];
    assert_eq!(asked.get("grant_type"), JWT_BEARER);
    let (header, claims) = verified(asked.get("assertion"), &key);
    assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!("k1")));
    assert_eq!(claims["iss"], "robot@example.org");
    assert_eq!(claims["scope"], "a b");
    assert_eq!(claims["aud"], format!("https://{LOGIN}/oauth/token"));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 300);
    assert!(!asked.request.text().contains("PRIVATE"));
    harness.expire().await;
    harness.reads().await;
    assert_eq!(harness.server.asked().len(), 2);
}

#[tokio::test]
async fn a_client_may_prove_itself_with_a_signed_assertion() {
    let auth = json!({ "client_auth": "private_key_jwt", "alg": "ES256", "key_field": "key" });
    let harness = Harness::of(&definition("oauth2_client_credentials", &auth, &["client_id", "key"])).await;
    let key = KeyPair::generate().unwrap();
    harness.acme.connect(ID, json!({ "client_id": CLIENT, "key": key.serialize_pem() })).await;
    harness.reads().await;
    let asked = &harness.server.asked()[0];
    let (_, claims) = verified(asked.get("client_assertion"), &key);
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(CLIENT), &json!(CLIENT)));
    assert_eq!(asked.get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(asked.get("client_id"), CLIENT);
}

#[tokio::test]
async fn a_pasted_refresh_token_is_used_once_and_then_the_servers_own() {
    let harness = Harness::with_pasted(Stage::default()).await;
    harness.reads().await;
    harness.expire().await;
    harness.reads().await;
    let sent: Vec<String> =
        harness.server.asked().iter().map(|a| a.get("refresh_token").to_owned()).collect();
    assert_eq!(sent, ["rt-pasted-5cB8nQ1z", "rt-0001-hV9xLm3e"]);
    assert_eq!(harness.server.asked()[1].get("grant_type"), "refresh_token");
    harness.acme.connect(ID, pasted_values()).await;
    harness.server.know_refresh("rt-pasted-5cB8nQ1z");
    harness.reads().await;
    let sent = harness.server.asked();
    assert_eq!(sent[2].get("refresh_token"), "rt-pasted-5cB8nQ1z", "saved anew, pasted anew");
}

/// A login whose session becomes a token in a second step; `token_from` is the source of the token.
fn two_steps(token_from: &str) -> Value {
    let auth = json!({
        "default_ttl_s": 600,
        "steps": [
            { "request": { "url": format!("https://{LOGIN}/session"), "body_type": "form",
                           "body": { "user": "{{cred.user}}", "password": "{{cred.password}}" } },
              "capture": { "session": "cookie:sid", "csrf": "header:X-Csrf", "account": "/account/id" } },
            { "request": { "url": format!("https://{LOGIN}/exchange"), "method": "POST",
                           "headers": { "X-Session": "{{cred.session}}", "X-Fixed": "yes" },
                           "body": { "csrf": "{{cred.csrf}}", "n": 1,
                                     "in": { "account": "{{cred.account}}" } } },
              "capture": { "access_token": token_from }, "expires_in_path": "/life" },
        ],
    });
    definition("token_exchange", &auth, &["user", "password"])
}

#[tokio::test]
async fn two_steps_make_a_token_that_comes_in_the_body_a_header_or_a_cookie() {
    let body = r#"{"data":{"token":"tok-body-8Jd2"},"life":1200}"#;
    for (from, token) in [
        ("/data/token", "tok-body-8Jd2"),
        ("header:X-Auth-Token", "tok-head-5Ks1"),
        ("cookie:tok", "tok-cook-9Lp4"),
    ] {
        let harness = Harness::of(&two_steps(from)).await;
        let login =
            [("set-cookie", "other=1; Path=/"), ("set-cookie", "sid=sess-1; HttpOnly"), ("x-csrf", "c&1")];
        harness.world.upstream.script("/session", answer_with(200, &login, r#"{"account":{"id":7}}"#));
        let given = [("x-auth-token", "tok-head-5Ks1"), ("set-cookie", "tok=tok-cook-9Lp4; Secure")];
        harness.world.upstream.script("/exchange", answer_with(201, &given, body));
        harness.world.upstream.script("/v1/things", Script::Json(200, "{}"));
        harness.acme.connect(ID, json!({ "user": "ada", "password": "p=w&d" })).await;
        harness.list().await.is(200);
        let received = harness.world.upstream.received();
        let lines: Vec<&str> = received.iter().map(|r| r.line()).collect();
        assert_eq!(lines, ["POST /session", "POST /exchange", "GET /v1/things"], "{from}");
        assert_eq!(received[0].text(), "user=ada&password=p%3Dw%26d", "a form of secrets only");
        assert_eq!(received[1].header("x-session"), ["sess-1"]);
        assert_eq!(received[1].header("x-fixed"), ["yes"]);
        let sent: Value = serde_json::from_slice(&received[1].body).unwrap();
        assert_eq!(sent, json!({ "csrf": "c&1", "in": { "account": "7" }, "n": 1 }));
        assert_eq!(received[2].header("authorization"), [format!("Bearer {token}")]);
        assert!((1195..=1200).contains(&life_s(&harness.token().await.0)), "{from}");
        harness.expire().await;
        harness.list().await.is(200);
        assert_eq!(harness.world.upstream.received_on("/session").len(), 2, "both steps again");
    }
}

/// Lifetime of a token from the time it was obtained, seconds.
fn life_s(token: &TokenState) -> i64 {
    let read = |text: &Option<String>| text.as_ref().unwrap().parse::<jiff::Timestamp>().unwrap();
    read(&token.expires_at).duration_since(read(&token.obtained_at)).as_secs()
}

#[tokio::test]
async fn a_lifetime_is_read_in_every_unit_and_without_one_the_definition_says() {
    let now = jiff::Timestamp::now().as_second();
    let in_an_hour = jiff::Timestamp::from_second(now + 3600).unwrap().to_string();
    for (unit, written, expected) in [
        ("s", json!(7200), 7200),
        ("s", json!("7200"), 7200),
        ("ms", json!(7_200_000), 7200),
        ("epoch_s", json!(now + 3600), 3600),
        ("epoch_ms", json!((now + 3600) * 1000), 3600),
        ("iso8601", json!(in_an_hour), 3600),
        ("s", json!("soon"), 900),
        ("s", Value::Null, 900),
    ] {
        let auth = json!({ "expires_unit": unit, "default_ttl_s": 900, "expires_in_path": "/meta/life" });
        let fields = ["client_id", "client_secret"];
        let harness = Harness::of(&definition("oauth2_client_credentials", &auth, &fields)).await;
        harness.server.change(|ways| {
            ways.expires_in = Value::Null;
            ways.more = json!({ "meta": { "life": written } });
        });
        harness.acme.connect(ID, client()).await;
        harness.reads().await;
        let life = life_s(&harness.token().await.0);
        assert!((expected - 60..=expected).contains(&life), "{unit} {written}: {life}");
    }
}

#[tokio::test]
async fn a_token_may_be_elsewhere_in_the_answer_and_bring_the_host_of_the_api() {
    let auth = json!({ "token_path": "/authed/access_token", "capture": { "instance": "/authed/instance" } });
    let mut definition = definition("oauth2_client_credentials", &auth, &["client_id", "client_secret"]);
    definition["config_fields"] = json!([{ "name": "instance", "automated": true }]);
    definition["actions"][0]["url_template"] = json!("https://{{config.instance}}.salesforce.com/v1/things");
    let harness = Harness::of(&definition).await;
    let answer = r#"{"authed":{"access_token":"at-else-1Xc4","instance":"api"}}"#;
    harness.server.change(|ways| ways.instead = Some(Script::Json(200, answer)));
    harness.world.upstream.script("/v1/things", Script::Json(200, "{}"));
    harness.acme.connect(ID, client()).await;
    harness.list().await.is(200);
    let received = harness.world.upstream.received();
    assert_eq!(received[1].header("authorization"), ["Bearer at-else-1Xc4"]);
    assert_eq!(received[1].header("host"), ["api.salesforce.com"]);
    assert_eq!(harness.setting().await["fields"]["instance"]["set"], true);
    let elsewhere = r#"{"authed":{"access_token":"at-else-2Xc4","instance":"evil.example.com/"}}"#;
    harness.server.change(|ways| ways.instead = Some(Script::Json(200, elsewhere)));
    harness.expire().await;
    harness.list().await.is(409);
    assert_eq!(
        harness.world.upstream.received_on("/v1/things").len(),
        1,
        "a captured host must be one label"
    );
}

#[tokio::test]
async fn the_first_token_of_many_runs_at_once_is_asked_for_once() {
    let harness = Harness::of(&client_credentials()).await;
    harness.acme.connect(ID, client()).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let run = harness.acme.run.clone();
            tokio::spawn(async move {
                run.post("/run/acme/main/connector/saas/list", &json!({ "input": {} })).await
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap().is(200);
    }
    assert_eq!(harness.server.asked().len(), 1);
}
