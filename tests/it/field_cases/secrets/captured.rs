//! S5: what an answer gives to be kept in plain sight has no secret in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{CLIENT, ID, SECRET, Scene, client, definition, lay};
use crate::secrecy::{captured, found};
use crate::support::{Script, Stage};

const ACCESS: &str = "at-Q7+f3a=9c51e2b84d06.Zz~x";
const REFRESH: &str = "rt-W8+g4b=0d62f3c95e17.Yy~w";

/// A connector that takes a config value from the token answer, and uses it in a path.
fn capturing(auth: &Value) -> Value {
    let mut auth = auth.clone();
    lay(&mut auth, &json!({ "capture": { "inst": "/instance" } }));
    let top = json!({
        "config_fields": [{ "name": "inst", "automated": true }],
        "actions": [{ "action_id": "list", "http_method": "GET",
                      "url_template": "https://api.salesforce.com/v1/{{config.inst}}/things" }],
    });
    definition(&auth, &top)
}

fn token_answer(instance: &Value) -> Script {
    let answer = json!({ "access_token": ACCESS, "refresh_token": REFRESH, "expires_in": 3600,
                         "instance": instance });
    Script::json(200, &answer)
}

/// Values that give a secret away.
fn giving_away() -> Vec<String> {
    let percent = |text: &str| -> String {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let mut values = Vec::new();
    for secret in [ACCESS, REFRESH, SECRET, CLIENT] {
        values.extend([
            secret.to_owned(),
            format!("eu5-{secret}-x"),
            format!("https://{secret}/"),
            secret.to_uppercase(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("user:{secret}")),
            hex::encode(secret),
            percent(secret),
            percent(&percent(secret)),
            json!(json!({ "t": secret }).to_string()).to_string(),
        ]);
    }
    // More than half of one says too much, too.
    values.push(ACCESS[..20].to_owned());
    values.push(SECRET[5..].to_owned());
    values
}

#[tokio::test]
async fn s5_a_token_answer_whose_captured_value_has_a_secret_is_refused_whole() {
    captured();
    let scene = Scene::on(Stage { sled: true, ..Stage::default() }, &capturing(&json!({}))).await;
    let mut kept = Vec::new();
    for value in giving_away() {
        scene.acme.connect(ID, client()).await;
        scene.server.change(|ways| ways.instead = Some(token_answer(&json!(value))));
        let before = scene.world.upstream.received().len();
        let answer = scene.list().await;
        let sent = scene.world.upstream.received().len() - before;
        let setting = scene.setting().await.json;
        let dry = "/run/acme/main/connector/saas/list?dry_run=true";
        let shown = scene.acme.run.post(dry, &json!({ "input": {} })).await;
        let refused = answer.json["code"] == Code::CredentialNeedsAttention.as_str()
            && sent == 1
            && setting["state"] == "needs_attention"
            && setting["token"]["expires_at"].is_null()
            && setting["fields"]["inst"]["set"] != true
            && setting["reason"].as_str().is_some_and(|reason| reason.contains("secret"))
            && shown.status != 200;
        if !refused {
            kept.push((value, answer.status, sent, setting));
        }
    }
    assert!(kept.is_empty(), "{} kept: {kept:#?}", kept.len());
    for (place, bytes) in scene.seen().await {
        for secret in [ACCESS, REFRESH, SECRET] {
            assert_eq!(found(&bytes, secret), None, "{secret} in {place}");
        }
    }
}

#[tokio::test]
async fn s5_a_captured_value_without_a_secret_is_kept() {
    let scene = Scene::of(&capturing(&json!({}))).await;
    for value in ["eu5", "login.acme.salesforce.com", "at", "client", "c2VjcmV0", &ACCESS[..5]] {
        scene.acme.connect(ID, client()).await;
        scene.server.change(|ways| ways.instead = Some(token_answer(&json!(value))));
        assert_eq!(scene.list().await.is(200).json["status"], "succeeded", "{value}");
        let sent = scene.world.upstream.received();
        assert_eq!(sent.last().unwrap().path(), format!("/v1/{value}/things"));
        assert_eq!(scene.setting().await.json["fields"]["inst"], json!({ "set": true }));
    }
}

#[tokio::test]
async fn s5_a_renewal_that_would_show_a_secret_leaves_the_value_that_was_known() {
    let scene = Scene::of(&capturing(&json!({}))).await;
    scene.acme.connect(ID, client()).await;
    scene.server.change(|ways| ways.instead = Some(token_answer(&json!("eu5"))));
    scene.list().await.is(200);
    // The next token answer shows the token before it.
    let next = json!({ "access_token": "another-5c1fW9", "instance": ACCESS, "expires_in": 3600 });
    scene.server.change(|ways| ways.instead = Some(Script::json(200, &next)));
    scene.world.upstream.script("/v1/eu5/things", Script::Json(401, "{}"));
    scene.list().await.problem(Code::UpstreamStatus);
    let setting = scene.setting().await;
    assert_eq!(setting.json["state"], "needs_attention", "{}", setting.text);
    assert_eq!(found(setting.text.as_bytes(), ACCESS), None);
    let paths: Vec<String> = scene.world.upstream.received().iter().map(|r| r.path().to_owned()).collect();
    assert!(paths.iter().all(|path| path == "/oauth/token" || path == "/v1/eu5/things"), "{paths:?}");
}

#[tokio::test]
async fn s5_a_consent_whose_answer_shows_a_secret_fails_and_says_so_without_it() {
    let auth = json!({ "authorize_url": "https://login.salesforce.com/authorize" });
    let mut definition = capturing(&auth);
    definition["auth_type"] = json!("oauth2_authorization_code");
    let scene = Scene::of(&definition).await;
    scene.acme.connect(ID, client()).await;
    for value in [ACCESS, REFRESH, SECRET, &hex::encode(SECRET), "code-4Rt6Lm2Qz9"] {
        scene.server.change(|ways| ways.instead = Some(token_answer(&json!(value))));
        let answer = super::consent::finish(&scene, ID, "").await.problem(Code::CredentialNeedsAttention);
        assert!(answer.json["detail"].as_str().unwrap().contains("config.inst"), "{}", answer.text);
        assert_eq!(found(answer.text.as_bytes(), value), None, "{}", answer.text);
        assert_eq!(scene.setting().await.json["state"], "needs_attention");
    }
    scene.server.change(|ways| ways.instead = Some(token_answer(&json!("eu5"))));
    super::consent::finish(&scene, ID, "").await.is(200);
    assert_eq!(scene.setting().await.json["state"], "connected");
}

/// A discovery is a call like any other; what is left of a secret there is not a value.
#[tokio::test]
async fn s5_a_discovered_value_that_has_a_secret_is_not_kept() {
    let top = json!({
        "config_fields": [{ "name": "inst", "automated": true }],
        "actions": [{ "action_id": "list", "http_method": "GET",
                      "url_template": "https://api.salesforce.com/v1/{{config.inst}}/things" }],
        "discover": [{
            "request": { "action_id": "find", "http_method": "GET",
                         "url_template": "https://api.salesforce.com/metadata" },
            "capture": { "inst": "/site" },
        }],
    });
    let scene = Scene::of(&definition(&json!({}), &top)).await;
    for shown in
        [SECRET.to_owned(), hex::encode(SECRET), "at-0001-QzR7wK2n".to_owned(), format!("x {CLIENT} y")]
    {
        scene.acme.connect(ID, client()).await;
        scene.world.upstream.script("/metadata", Script::json(200, &json!({ "site": shown })));
        let before = scene.world.upstream.received_on("/metadata").len();
        scene.list().await.problem(Code::CredentialNeedsAttention);
        assert_eq!(scene.world.upstream.received_on("/metadata").len(), before + 1);
        let paths: Vec<String> =
            scene.world.upstream.received().iter().map(|r| r.path().to_owned()).collect();
        assert!(paths.iter().all(|path| !path.starts_with("/v1/")), "{paths:?}");
        assert_ne!(scene.setting().await.json["fields"]["inst"]["set"], true);
    }
    scene.world.upstream.script("/metadata", Script::Json(200, r#"{"site":"eu5"}"#));
    scene.acme.connect(ID, client()).await;
    scene.list().await.is(200);
}

/// What a login step captures is a secret itself: sealed, sent, and never shown.
#[tokio::test]
async fn s5_what_a_login_step_captures_is_never_visible() {
    captured();
    let world = Stage { sled: true, ..Stage::default() }.start().await;
    let definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "token_exchange",
        "auth": {
            "steps": [{
                "request": { "url": "https://api.salesforce.com/login", "body": { "p": "{{cred.password}}" } },
                "capture": { "access_token": "/t", "instance": "/instance" },
            }],
            "in": "header", "name": "x-session", "value": "{{cred.access_token}}.{{cred.instance}}",
        },
        "auth_schema": { "fields": [{ "name": "password", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things" }],
    });
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "password": SECRET })).await;
    world.upstream.script("/login", Script::json(200, &json!({ "t": ACCESS, "instance": SECRET })));
    let echo = Script::made(|request| {
        let sent = request.header("x-session").join(",");
        Script::json(200, &json!({ "sent": sent, "instance": SECRET, "again": hex::encode(sent.clone()) }))
    });
    world.upstream.script("/v1/things", echo);
    acme.call(ID, "list", json!({})).await.is(200);
    acme.ledger().await;
    for secret in [ACCESS, SECRET] {
        assert_eq!(found(&acme.run.heard(), secret), None);
        for (path, bytes) in crate::secrecy::files(world.data_dir()) {
            assert_eq!(found(&bytes, secret), None, "{}", path.display());
        }
        assert_eq!(found(&captured().bytes(), secret), None);
    }
}
