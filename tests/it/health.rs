//! The health of a connection: which answers say that its credential is not accepted any more, what is shown and told of
//! it, and what clears it.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::{PUBLIC, Script, Stage, Tenant, World, lay, until};

mod lists;

const ID: &str = "saas";
const KEY: &str = "sk-live-0123456789abcdef";
const THINGS: &str = "/v1/things";
const CHECK: &str = "/v1/check";
const HOOK: &str = "/hook";

fn definition(more: &Value) -> Value {
    let url = |path: &str| format!("https://api.salesforce.com{path}");
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "retry": { "base_ms": 1, "max_attempts": 1 },
        "errors": [{ "when": { "status": [401] }, "class": "auth", "message_path": "/message" }],
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": url(THINGS) }],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url(CHECK) } },
    });
    lay(&mut definition, more);
    definition
}

/// A connected workspace, and a webhook that is told of connections.
struct Scene {
    world: World,
    acme: Tenant,
}

impl Scene {
    async fn new(definition: &Value) -> Self {
        // Why no breaker: a vendor that fails ten times in a row would not be asked any more.
        let limits = Limits { concurrent_calls: 32, breaker_failures: 10_000, ..Limits::default() };
        let world = Stage { limits, ..Stage::default() }.start().await;
        world.names.tell("hooks.example.com", &[PUBLIC]);
        world.platform.post("/admin/connector", definition).await.is(201);
        let acme = world.tenant("acme", "main").await;
        acme.connect(ID, json!({ "api_key": KEY })).await;
        let wish = json!({ "url": format!("https://hooks.example.com{HOOK}"), "events": ["connection.*"] });
        acme.org.put("/org/acme/webhook/one", &wish).await.is(201);
        world.engine.start_webhooks();
        Self { world, acme }
    }

    fn answers(&self, path: &str, status: u16) {
        let body = json!({ "message": format!("key {KEY} is wrong") });
        self.world.upstream.script(path, Script::json(status, &body));
    }

    async fn calls(&self, count: usize) {
        for _ in 0..count {
            self.acme.call(ID, "list", json!({})).await;
        }
    }

    async fn setting(&self) -> Value {
        self.acme.workspace.get(&self.acme.setting(ID)).await.is(200).json
    }

    async fn state(&self) -> String {
        self.setting().await["state"].as_str().unwrap().to_owned()
    }

    async fn test(&self) -> Value {
        self.acme.workspace.write("POST", &format!("{}/test", self.acme.setting(ID)), "").await.is(200).json
    }

    /// Type and cause of what was told so far, in order, once there is so much.
    async fn told(&self, count: usize) -> Vec<(String, String)> {
        let all = || {
            let received = self.world.upstream.received_on(HOOK).into_iter();
            let bodies = received.map(|one| serde_json::from_slice::<Value>(&one.body).unwrap());
            bodies.filter(|body| body["type"] != "webhook.ping").collect::<Vec<_>>()
        };
        until(&format!("{count} events"), async || all().len() >= count).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all().iter().map(|body| (text(&body["type"]), text(&body["data"]["cause"]))).collect()
    }
}

fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(kind, cause)| (format!("connection.{kind}"), (*cause).to_owned())).collect()
}

#[tokio::test]
async fn one_odd_401_does_not_trip_and_three_in_a_row_do_until_a_success() {
    let scene = Scene::new(&definition(&json!({}))).await;
    scene.answers(THINGS, 200);
    scene.calls(1).await;
    assert!(scene.setting().await["last_success_at"].is_string());
    scene.answers(THINGS, 401);
    scene.calls(2).await;
    assert_eq!(scene.state().await, "connected");
    scene.answers(THINGS, 200);
    scene.calls(1).await;
    scene.answers(THINGS, 401);
    scene.calls(2).await;
    assert_eq!(scene.state().await, "connected", "a success is between");
    scene.calls(1).await;
    let setting = scene.setting().await;
    assert_eq!(setting["state"], "needs_attention");
    assert_eq!(setting["attention"]["class"], "auth");
    let message = setting["attention"]["message"].as_str().unwrap();
    assert!(message.contains("is wrong") && !setting.to_string().contains(KEY), "{setting}");
    assert!(setting["reason"].as_str().unwrap().starts_with("the third party refuses the credential: "));
    let since = setting["attention"]["since"].clone();
    let sent = scene.world.upstream.received_on(THINGS).len();
    scene.acme.call(ID, "list", json!({})).await.problem(Code::UpstreamStatus);
    assert_eq!(scene.world.upstream.received_on(THINGS).len(), sent + 1, "calls go on being made");
    assert_eq!(scene.setting().await["attention"]["since"], since);
    scene.answers(THINGS, 200);
    scene.calls(1).await;
    let setting = scene.setting().await;
    assert_eq!((&setting["state"], &setting["attention"]), (&json!("connected"), &Value::Null));
    let changes: Vec<_> =
        setting["history"].as_array().unwrap().iter().map(|one| one["change"].clone()).collect();
    assert_eq!(changes, [json!("recovered"), json!("needs_attention"), json!("saved")]);
    let expected = told(&[("needs_attention", "refused"), ("connected", "recovered")]);
    assert_eq!(scene.told(2).await, expected);
}

#[tokio::test]
async fn a_final_rule_trips_at_once_and_a_new_credential_clears() {
    let is_final =
        json!([{ "when": { "status": [401] }, "class": "auth", "message": "revoked", "final": true }]);
    let scene = Scene::new(&definition(&json!({ "errors": is_final }))).await;
    scene.answers(THINGS, 401);
    scene.calls(1).await;
    assert_eq!(scene.setting().await["attention"]["message"], "revoked");
    scene.acme.connect(ID, json!({ "api_key": "sk-live-another-one" })).await;
    assert_eq!(scene.state().await, "connected");
    assert_eq!(scene.told(2).await, told(&[("needs_attention", "refused"), ("connected", "saved")]));
    let wrong = json!([{ "when": { "status": [403] }, "class": "permission", "final": true }]);
    let answer = scene
        .world
        .platform
        .post("/admin/connector/validate", &definition(&json!({ "errors": wrong })))
        .await;
    assert!(answer.text.contains("final_without_auth"), "{}", answer.text);
}

#[tokio::test]
async fn what_says_nothing_of_the_credential_does_not_trip() {
    let scene = Scene::new(&definition(&json!({}))).await;
    for script in [
        Script::json(403, &json!({})),
        Script::json(503, &json!({})),
        Script::json(429, &json!({})),
        Script::HangUp,
    ] {
        scene.world.upstream.script(THINGS, script);
        scene.calls(4).await;
        assert_eq!(scene.state().await, "connected");
    }
    scene.answers(THINGS, 401);
    scene.calls(2).await;
    scene.answers(THINGS, 404);
    scene.calls(1).await;
    scene.answers(THINGS, 401);
    scene.calls(2).await;
    assert_eq!(scene.state().await, "connected", "another answer ends the row");
    scene.world.upstream.script(THINGS, Script::HangUp);
    scene.calls(2).await;
    scene.answers(THINGS, 401);
    scene.calls(1).await;
    assert_eq!(scene.state().await, "needs_attention", "a vendor that is away does not");
    assert_eq!(scene.told(1).await, told(&[("needs_attention", "refused")]));
}

#[tokio::test]
async fn a_failed_test_trips_and_a_passing_one_clears() {
    let scene = Scene::new(&definition(&json!({}))).await;
    scene.world.upstream.script(CHECK, Script::HangUp);
    assert_eq!(scene.test().await["ok"], false);
    assert_eq!(scene.state().await, "connected", "the vendor is down");
    scene.answers(CHECK, 401);
    assert_eq!(scene.test().await["ok"], false);
    let setting = scene.setting().await;
    assert_eq!(
        (&setting["state"], &setting["attention"]["class"]),
        (&json!("needs_attention"), &json!("auth"))
    );
    assert!(setting["reason"].as_str().unwrap().starts_with("its test failed: "), "{setting}");
    scene.answers(CHECK, 200);
    assert_eq!(scene.test().await["ok"], true);
    assert_eq!(scene.state().await, "connected");
    assert_eq!(scene.told(2).await, told(&[("needs_attention", "test"), ("connected", "recovered")]));
}

#[tokio::test]
async fn a_call_with_an_earlier_credential_says_nothing_of_the_new_one() {
    let is_final = json!([{ "when": { "status": [401] }, "class": "auth", "final": true }]);
    let scene = Scene::new(&definition(&json!({ "errors": is_final }))).await;
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let refusing = Script::Held(std::sync::Arc::clone(&held), Box::new(Script::json(401, &json!({}))));
    scene.world.upstream.script(THINGS, refusing);
    let run = scene.acme.run.clone();
    let path = format!("/run/acme/main/connector/{ID}/list");
    let calling = tokio::spawn(async move { run.post(&path, &json!({ "input": {} })).await });
    until("the vendor has it", async || !scene.world.upstream.received_on(THINGS).is_empty()).await;
    scene.acme.connect(ID, json!({ "api_key": "sk-live-another-one" })).await;
    held.add_permits(10);
    calling.await.unwrap().problem(Code::UpstreamStatus);
    assert_eq!(scene.state().await, "connected");
}
