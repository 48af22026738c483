//! Several connections of one connector in one workspace: each has a credential, a state and a history of its own, calls
//! use the one that they name, and none stands in for another.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::{Answer, Script, Stage, Tenant, World, lay, until};

mod lasting;
mod limits;
mod parts;
mod separate;

const ID: &str = "saas";
const ACT: &str = "/v1/act";
const CHECK: &str = "/v1/check";

/// The credential of a connection.
fn key_of(name: &str) -> String {
    format!("sk-of-{name}-0123456789abcdef")
}

fn definition(more: &Value) -> Value {
    let url = |path: &str| format!("https://api.salesforce.com{path}");
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "errors": [{ "when": { "status": [401] }, "class": "auth", "message": "revoked", "final": true }],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url(CHECK) } },
        "actions": [{
            "action_id": "act", "http_method": "POST", "url_template": url(ACT),
            "body_schema": [{ "name": "note" }], "retry": { "max_attempts": 1 },
            "idempotency": { "in": "header", "name": "Idempotency-Key" },
        }],
    });
    lay(&mut definition, more);
    definition
}

/// A workspace with a default connection and two named ones, `sales` and `support`.
struct Scene {
    world: World,
    acme: Tenant,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Limits { concurrent_calls: 32, ..Limits::default() }, &json!({})).await
    }

    async fn with(limits: Limits, more: &Value) -> Self {
        let world = Stage { limits, ..Stage::default() }.start().await;
        world.platform.post("/admin/connector", &definition(more)).await.is(201);
        let acme = world.tenant("acme", "main").await;
        acme.connect(ID, json!({ "api_key": key_of("default") })).await;
        for name in ["sales", "support"] {
            save(&acme, name).await.is(200);
        }
        Self { world, acme }
    }

    /// The credentials that the third party got, in order, each as the name of its connection.
    fn came(&self) -> Vec<String> {
        let received = self.world.upstream.received_on(ACT);
        let names = received.iter().map(|one| {
            let key = one.header("authorization").join(",");
            let (_, rest) = key.split_once("sk-of-").unwrap_or_else(|| panic!("whose key is {key}"));
            rest.split_once('-').unwrap().0.to_owned()
        });
        names.collect()
    }

    /// The third party answers this connection with a status, and the others with 200.
    fn refuses(&self, name: &'static str, status: u16) {
        self.world.upstream.script(
            ACT,
            Script::made(move |request| {
                let is_it = request.header("authorization").join(",").contains(&key_of(name));
                Script::json(if is_it { status } else { 200 }, &json!({}))
            }),
        );
    }

    async fn setting(&self, name: &str) -> Value {
        self.acme.workspace.get(&at(&self.acme, name)).await.is(200).json
    }
}

/// The path of a named connection.
fn at(tenant: &Tenant, name: &str) -> String {
    let (org, workspace) = (&tenant.org_id, &tenant.workspace_id);
    format!("/workspace/{org}/{workspace}/settings/connector/{ID}/connection/{name}")
}

/// Saves a named connection with a credential of its own.
async fn save(tenant: &Tenant, name: &str) -> Answer {
    let body = json!({ "label": format!("The {name} team"), "config": { "api_key": key_of(name) } });
    tenant.workspace.put(&at(tenant, name), &body).await
}

fn body(name: Option<&str>) -> Value {
    let mut body = json!({ "input": { "note": "hello" } });
    if let Some(name) = name {
        body["connection"] = json!(name);
    }
    body
}

/// Calls the action through a connection.
async fn call(tenant: &Tenant, name: Option<&str>) -> Answer {
    let path = format!("/run/{}/{}/connector/{ID}/act", tenant.org_id, tenant.workspace_id);
    tenant.run.post(&path, &body(name)).await
}

fn names(list: &Value) -> Vec<&str> {
    let all = list["data"].as_array().unwrap();
    all.iter().map(|one| one["connection"].as_str().unwrap_or("default")).collect()
}

#[tokio::test]
async fn each_call_reaches_the_third_party_with_the_credential_of_the_connection_that_it_names() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    for name in [Some("sales"), None, Some("support"), Some("sales"), None] {
        let run = call(acme, name).await.is(200).json;
        assert_eq!(run["connection"].as_str(), name, "{run}");
        let kept = acme.run.get(&format!("/run/acme/main/{}", run["run_id"].as_str().unwrap())).await.is(200);
        assert_eq!(kept.json["connection"].as_str(), name);
    }
    assert_eq!(scene.came(), ["sales", "default", "support", "sales", "default"]);
    // What the ledger says of each attempt, newest first.
    let ledger = acme.ledger().await;
    let told: Vec<_> = ledger.iter().map(|entry| entry["connection"].as_str()).collect();
    assert_eq!(told, [None, Some("sales"), Some("support"), None, Some("sales")]);
    let some = acme.org.get("/org/acme/outbound?connection=support").await.is(200).json;
    assert_eq!(names(&some), ["support"]);
    let runs = acme.run.get("/run/acme/main?connection=sales").await.is(200).json;
    assert_eq!(names(&runs), ["sales", "sales"]);
    assert_eq!(names(&acme.org.get("/org/acme/run").await.is(200).json).len(), 5);
    assert_eq!(acme.org.get("/org/acme/outbound/verify").await.is(200).json["intact"], true);
}

#[tokio::test]
async fn a_dry_run_and_a_test_are_of_the_connection_that_is_named() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let path = format!("/run/acme/main/connector/{ID}/act?dry_run=true");
    let shown = acme.run.post(&path, &body(Some("sales"))).await.is(200).json;
    assert_eq!(shown["connection"], "sales", "{shown}");
    assert_eq!(acme.run.post(&path, &body(None)).await.is(200).json.get("connection"), None);
    let skipped = acme.run.post(&path, &body(Some("none"))).await.is(200).json;
    assert_eq!(skipped["reason"], "unconfigured");
    scene.world.upstream.script(
        CHECK,
        Script::made(|request| {
            let is_it = request.header("authorization").join(",").contains(&key_of("sales"));
            Script::json(if is_it { 200 } else { 403 }, &json!({}))
        }),
    );
    let test = async |name: &str| {
        let path = format!("/workspace/acme/main/settings/connector/{ID}/connection/{name}/test");
        acme.workspace.write("POST", &path, "").await
    };
    assert_eq!(test("sales").await.is(200).json["ok"], true);
    assert_eq!(test("support").await.is(200).json["ok"], false);
    let path = format!("{}/test", acme.setting(ID));
    assert_eq!(acme.workspace.write("POST", &path, "").await.is(200).json["ok"], false);
    test("none").await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_name_that_the_workspace_does_not_have_is_skipped_and_the_default_does_not_stand_in() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let before = scene.world.before().await;
    let skipped = call(acme, Some("brand")).await.is(200).json;
    assert_eq!((&skipped["status"], &skipped["reason"]), (&json!("skipped"), &json!("unconfigured")));
    assert_eq!(skipped["connection"], "brand");
    assert!(skipped["message"].as_str().unwrap().contains("\"brand\""), "{skipped}");
    scene.world.assert_nothing_looked_up(&before).await;
    // Nor where the connector asks for nothing: a connection that was not made is none.
    let open = json!({
        "connector_id": "open", "display_name": "Open", "auth_type": "none",
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "act", "http_method": "GET",
            "url_template": "https://api.salesforce.com/v1/open" }],
    });
    scene.world.platform.post("/admin/connector", &open).await.is(201);
    let path = "/run/acme/main/connector/open/act";
    acme.run.post(path, &json!({ "input": {} })).await.is(200);
    let named = json!({ "input": {}, "connection": "brand" });
    assert_eq!(acme.run.post(path, &named).await.is(200).json["reason"], "unconfigured");
    let made = format!("{}/connection/brand", acme.setting("open"));
    acme.workspace.put(&made, &json!({})).await.is(200);
    assert_eq!(acme.run.post(path, &named).await.is(200).json["status"], "succeeded");
}

#[tokio::test]
async fn opting_out_of_one_and_forgetting_another_leave_the_rest() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let state = async |name: Option<&str>| {
        let run = call(acme, name).await.is(200).json;
        run["reason"].as_str().unwrap_or("sent").to_owned()
    };
    acme.workspace.put(&at(acme, "sales"), &json!({ "enabled": false })).await.is(200);
    let setting = scene.setting("sales").await;
    assert_eq!((&setting["state"], &setting["label"]), (&json!("opted_out"), &json!("The sales team")));
    acme.workspace.delete(&at(acme, "support")).await.is(204);
    acme.workspace.get(&at(acme, "support")).await.problem(Code::NotFound);
    assert_eq!(state(Some("sales")).await, "opted_out");
    assert_eq!(state(Some("support")).await, "unconfigured");
    assert_eq!(state(None).await, "sent");
    // And the other way round: what is said of the default one says nothing of a named one.
    acme.workspace.put(&at(acme, "sales"), &json!({ "enabled": true })).await.is(200);
    acme.workspace.put(&acme.setting(ID), &json!({ "enabled": false })).await.is(200);
    assert_eq!((state(None).await, state(Some("sales")).await), ("opted_out".into(), "sent".into()));
    acme.workspace.delete(&acme.setting(ID)).await.is(204);
    assert_eq!((state(None).await, state(Some("sales")).await), ("unconfigured".into(), "sent".into()));
    assert_eq!(scene.came(), ["default", "sales", "sales"]);
    let all = format!("/workspace/acme/main/settings/connector/{ID}/connection");
    assert_eq!(names(&acme.workspace.get(&all).await.is(200).json), ["sales"]);
}

/// An automation of this event that uses a connection.
fn automation(name: Option<&str>) -> Value {
    let mut automation = json!({
        "entity_name": "contact", "event_name": "contact.created",
        "destination_config": { "connector_id": ID, "action_id": "act", "field_mapping": {} },
    });
    if let Some(name) = name {
        automation["destination_config"]["connection"] = json!(name);
    }
    automation
}

#[tokio::test]
async fn an_event_fires_automations_through_the_connections_that_they_name_each_with_its_own_key() {
    let scene = Scene::new().await;
    let (acme, side) = (&scene.acme, scene.world.tenant("acme", "side").await);
    save(&side, "sales").await.is(200);
    for name in [None, Some("sales"), Some("support")] {
        let saved = acme.org.post("/org/acme/automation", &automation(name)).await.is(201).json;
        assert_eq!(saved["destination_config"]["connection"].as_str(), name, "{saved}");
    }
    let event = json!({ "event_id": "e-1", "entity_name": "contact", "event_name": "contact.created",
        "source": {} });
    let fired = acme.run.post("/run/acme/main/event", &event).await.is(200).json;
    assert_eq!(fired["data"].as_array().unwrap().len(), 3, "{fired}");
    let mut came = scene.came();
    came.sort();
    assert_eq!(came, ["default", "sales", "support"]);
    let received = scene.world.upstream.received_on(ACT);
    let mut keys: Vec<_> = received.iter().flat_map(|one| one.header("idempotency-key")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3, "each is a target of its own");
    // The other workspace has one of these names, and no default connection.
    let fired = side.run.post("/run/acme/side/event", &event).await.is(200).json;
    let mut reasons: Vec<_> = fired["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["connection"].as_str().unwrap_or("default"), run["reason"].as_str()))
        .collect();
    reasons.sort_unstable();
    let none = Some("unconfigured");
    assert_eq!(reasons, [("default", none), ("sales", None), ("support", none)]);
}

#[tokio::test]
async fn a_preview_shows_the_connection_that_an_automation_names() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let path = "/org/acme/automation/preview";
    let preview = async |name: &str, workspace: Option<&str>| {
        let mut wish = json!({ "automation": automation(Some(name)), "source": {} });
        if let Some(workspace) = workspace {
            wish["workspace"] = json!(workspace);
        }
        acme.org.post(path, &wish).await.is(200).json
    };
    let shown = preview("sales", Some("main")).await;
    assert_eq!(shown["request"]["method"], "POST", "{shown}");
    assert_eq!(preview("brand", Some("main")).await["reason"], "unconfigured");
    assert_eq!(preview("brand", None).await["request"]["method"], "POST");
}

#[tokio::test]
async fn two_runs_of_one_key_through_different_connections_are_different_requests() {
    let scene = Scene::new().await;
    let path = format!("/run/acme/main/connector/{ID}/act");
    let headers = [("idempotency-key", "k-1"), ("content-type", "application/json")];
    let send = async |name: Option<&str>| {
        scene.acme.run.send("POST", &path, &headers, body(name).to_string().into_bytes()).await
    };
    send(Some("sales")).await.is(200);
    assert_eq!(send(Some("sales")).await.is(200).header("idempotency-replayed"), Some("true"));
    send(Some("support")).await.problem(Code::IdempotencyKeyReused);
    send(None).await.problem(Code::IdempotencyKeyReused);
    assert_eq!(scene.came(), ["sales"]);
}

#[tokio::test]
async fn a_change_of_one_ends_the_running_calls_of_that_one_alone() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let answer = Script::Held(std::sync::Arc::clone(&held), Box::new(Script::json(200, &json!({}))));
    scene.world.upstream.script(ACT, answer);
    let run = &acme.run;
    let begin = |name: Option<&'static str>| {
        let run = run.clone();
        tokio::spawn(
            async move { run.post(&format!("/run/acme/main/connector/{ID}/act"), &body(name)).await },
        )
    };
    let (default, sales, support) = (begin(None), begin(Some("sales")), begin(Some("support")));
    until("the third party has them", async || scene.came().len() == 3).await;
    acme.workspace.put(&at(acme, "sales"), &json!({ "enabled": false })).await.is(200);
    sales.await.unwrap().problem(Code::CallEnded);
    acme.workspace.delete(&at(acme, "support")).await.is(204);
    support.await.unwrap().problem(Code::CallEnded);
    held.add_permits(10);
    default.await.unwrap().is(200);
}
