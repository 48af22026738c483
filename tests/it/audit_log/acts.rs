//! Every operation that is recorded, carried out: exactly one record, with the right actor, place and target.

use std::collections::BTreeSet;

use portcullis_core::limits::Limits;
use portcullis_engine::audit_log::acts::RECORDED;
use portcullis_store::MasterKey;
use serde_json::{Value, json};

use super::{KEY, newest, token_id};
use crate::backup::recipient;
use crate::connect::{Browser, link_of};
use crate::modules::guests::good;
use crate::modules::harness::{WASM, accepting, answering, definition, exchange_module, upload};
use crate::support::token_server::TokenServer;
use crate::support::world::contact_automation;
use crate::support::{Answer, Client, PUBLIC, Script, Stage, Tenant, World, salesforce, until};

/// The world of these tests, and what was carried out in it.
struct Book {
    world: World,
    acme: Tenant,
    done: BTreeSet<&'static str>,
    /// Ids of the records that were looked at. Why not the newest alone: chains of two scopes have no order within a
    /// millisecond.
    seen: BTreeSet<String>,
}

impl Book {
    async fn new() -> Self {
        let limits =
            Limits { concurrent_calls: 32, job_retry_base_ms: 1, job_lease_ms: 200, ..Limits::default() };
        let backup_recipient = Some(recipient());
        let world = Stage { limits, backup_recipient, sled: true, ..Stage::default() }.start().await;
        for host in ["hooks.example.com", "login.salesforce.com"] {
            world.names.tell(host, &[PUBLIC]);
        }
        let acme = world.tenant("acme", "main").await;
        let mut book = Self { world, acme, done: BTreeSet::new(), seen: BTreeSet::new() };
        book.forget().await;
        book
    }

    /// Records of before are not looked at.
    async fn forget(&mut self) {
        let new = self.unseen().await;
        self.seen.extend(new.iter().map(|record| record["id"].as_str().unwrap().to_owned()));
    }

    /// Records that nobody has looked at.
    async fn unseen(&self) -> Vec<Value> {
        let mut records = newest(&self.world.platform, "/admin/audit?limit=100").await;
        records.retain(|record| !self.seen.contains(record["id"].as_str().unwrap()));
        records
    }

    /// Asserts that this answer's request has exactly one record, of this operation by this caller; returns it.
    async fn one(
        &mut self,
        operation: &'static str,
        by: &Client,
        answer: Answer,
        target: &str,
        org: Option<&str>,
    ) -> Value {
        assert!((200..300).contains(&answer.status), "{operation}: {} {}", answer.status, answer.text);
        let role = match by.token() {
            Some(token) => token.split('_').nth(1).unwrap().to_owned(),
            None => "none".to_owned(),
        };
        let actor = json!({ "token_id": token_id(&self.world, by).await, "role": role });
        let record = self.one_by(operation, &actor, &answer, target, org).await;
        assert_eq!(record["address"], "127.0.0.1", "{record}");
        record
    }

    async fn one_by(
        &mut self,
        operation: &'static str,
        actor: &Value,
        answer: &Answer,
        target: &str,
        org: Option<&str>,
    ) -> Value {
        let new = self.unseen().await;
        let [record] = new.as_slice() else { panic!("{operation}: {} records: {new:?}", new.len()) };
        assert_eq!(record["action"], operation, "{record}");
        assert_eq!(record["target"], target, "{record}");
        assert_eq!(record["org"], org.map_or(Value::Null, Value::from), "{record}");
        assert_eq!(record["actor"], *actor, "{record}");
        assert_eq!(record["request_id"].as_str(), answer.header("x-request-id"), "{record}");
        self.seen.insert(record["id"].as_str().unwrap().to_owned());
        self.done.insert(operation);
        record.clone()
    }

    /// The workspace's and the org's and the platform's clients.
    fn clients(&self) -> (Client, Client, Client) {
        (self.world.platform.clone(), self.acme.org.clone(), self.acme.workspace.clone())
    }
}

const ACME: Option<&str> = Some("acme");

/// A backup, which changes nothing.
async fn backup(book: &mut Book) {
    let (platform, ..) = book.clients();
    let made = platform.post("/admin/backup", &json!(null)).await;
    book.one("createBackup", &platform, made, "backup", None).await;
}

/// A connector with an action and a test.
fn saas() -> Value {
    let url = "https://api.salesforce.com/v1/act";
    json!({
        "connector_id": "saas", "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "act", "http_method": "POST", "url_template": url,
                      "body_schema": [{ "name": "note" }] }],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url } },
    })
}

/// A connector that asks a person for consent.
fn consenting() -> Value {
    let url = "https://api.salesforce.com/v1/things";
    let field = |name: &str| json!({ "name": name, "type": "password", "required": true });
    json!({
        "connector_id": "person", "display_name": "Person", "auth_type": "oauth2_authorization_code",
        "auth": { "token_url": "https://login.salesforce.com/oauth/token",
                  "authorize_url": "https://login.salesforce.com/authorize" },
        "auth_schema": { "fields": [field("client_id"), field("client_secret")] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": url }],
    })
}

async fn connectors(book: &mut Book) {
    let (platform, ..) = book.clients();
    let path = "/admin/connector";
    let made = platform.post(path, &salesforce()).await;
    let first = book.one("createConnector", &platform, made, "connector/salesforce", None).await;
    assert!(first["before"].is_null() && first["after"].as_str().unwrap().len() == 64, "{first}");
    let own = "/admin/connector/salesforce";
    let replaced = platform.put(own, &salesforce()).await;
    let second = book.one("replaceConnector", &platform, replaced, "connector/salesforce", None).await;
    assert_eq!(second["before"], first["after"], "what it replaced");
    let patched = platform.patch(own, &json!({ "display_name": "SF" })).await;
    book.one("patchConnector", &platform, patched, "connector/salesforce", None).await;
    let entry = platform.get("/admin/catalog?limit=1").await.is(200).json["data"][0]["connector_id"].clone();
    let entry = entry.as_str().unwrap();
    let installed = platform.write("POST", &format!("/admin/catalog/{entry}"), "{}").await;
    let target = format!("connector/{entry}");
    book.one("installCatalogEntry", &platform, installed, &target, None).await;
    let gone = platform.delete(&format!("/admin/connector/{entry}")).await;
    let last = book.one("deleteConnector", &platform, gone, &target, None).await;
    assert!(last["before"].is_string() && last["after"].is_null(), "{last}");
}

async fn modules(book: &mut Book) {
    let (platform, ..) = book.clients();
    let stored = upload(&platform, &good()).await;
    let digest = stored.json["digest"].as_str().unwrap().to_owned();
    let target = |digest: &str| format!("module/{}", digest.strip_prefix("sha256:").unwrap());
    book.one("uploadModule", &platform, stored, &target(&digest), None).await;
    accepting(&platform, "POST", "/admin/connector", &definition(&digest)).await.is(201);
    let other = answering(r#"{"output":1}"#);
    let stored = upload(&platform, &other).await.is(201);
    book.forget().await;
    let replaced = exchange_module(&platform, &other).await;
    book.one("replaceConnectorModule", &platform, replaced, "connector/custom", None).await;
    platform.delete("/admin/connector/custom").await.is(204);
    book.forget().await;
    let other = stored.json["digest"].as_str().unwrap();
    let gone = platform.delete(&format!("/admin/module/{other}")).await;
    book.one("deleteModule", &platform, gone, &target(other), None).await;
    // The same bytes again change nothing.
    platform.send("POST", "/admin/module", &[WASM], good()).await.is(200);
    assert!(book.unseen().await.is_empty(), "a module that is known leaves no record");
}

async fn tenants(book: &mut Book) {
    let (platform, org, _) = book.clients();
    let globex = Some("globex");
    let made = platform.post("/admin/org", &json!({ "org": "globex" })).await;
    book.one("createOrg", &platform, made, "org/globex", globex).await;
    let made = platform.post("/admin/org/globex/workspace", &json!({ "workspace": "main" })).await;
    book.one("createWorkspace", &platform, made, "workspace/globex/main", globex).await;
    let limits = platform.put("/admin/org/globex/limits", &json!({ "calls_per_minute": 60 })).await;
    book.one("setOrgLimits", &platform, limits, "limits/globex", globex).await;
    let limits = platform.delete("/admin/org/globex/limits").await;
    book.one("removeOrgLimits", &platform, limits, "limits/globex", globex).await;
    let spec = json!({ "role": "run", "org": "globex", "workspace": "main" });
    let token = platform.post("/admin/token", &spec).await;
    let target = format!("token/{}", token.json["token_id"].as_str().unwrap());
    book.one("createToken", &platform, token, &target, globex).await;
    let gone = platform.delete("/admin/org/globex/workspace/main").await;
    book.one("deleteWorkspace", &platform, gone, "workspace/globex/main", globex).await;
    let gone = platform.delete("/admin/org/globex").await;
    book.one("deleteOrg", &platform, gone, "org/globex", globex).await;
    let own = org.post("/admin/token", &json!({ "role": "run", "org": "acme" })).await.is(201);
    book.forget().await;
    let id = own.json["token_id"].as_str().unwrap();
    let revoked = org.delete(&format!("/admin/token/{id}")).await;
    book.one("revokeToken", &org, revoked, &format!("token/{id}"), ACME).await;
}

async fn of_org(book: &mut Book) {
    let (platform, org, workspace) = book.clients();
    let made = org.post("/org/acme/automation", &contact_automation()).await;
    let id = made.json["automation_id"].as_str().unwrap().to_owned();
    let (path, target) = (format!("/org/acme/automation/{id}"), format!("automation/acme/{id}"));
    book.one("createAutomation", &org, made, &target, ACME).await;
    let replaced = org.put(&path, &contact_automation()).await;
    book.one("replaceAutomation", &org, replaced, &target, ACME).await;
    let gone = org.delete(&path).await;
    book.one("deleteAutomation", &org, gone, &target, ACME).await;
    let list = json!({ "domain_allowlist": ["*.salesforce.com"] });
    let set = org.put(super::POLICY, &list).await;
    book.one("setIntegrations", &org, set, "integrations/acme", ACME).await;
    let patched = org.patch(super::POLICY, &json!({ "mode": "report" })).await;
    book.one("patchIntegrations", &org, patched, "integrations/acme", ACME).await;
    let set = org.put("/org/acme/settings/retention", &json!({ "runs_days": 90 })).await;
    book.one("setRetention", &org, set, "retention/acme", ACME).await;
    let set = platform.put("/admin/settings/retention", &json!({ "runs_days": 365 })).await;
    book.one("setPlatformRetention", &platform, set, "retention", None).await;
    let values = json!({ "values": { "pipeline": "7" } });
    let set = workspace.put("/workspace/acme/main/settings/values", &values).await;
    book.one("setWorkspaceValues", &workspace, set, "values/acme/main", ACME).await;
}

async fn connections(book: &mut Book) {
    let (platform, _, workspace) = book.clients();
    for definition in [saas(), consenting()] {
        platform.post("/admin/connector", &definition).await.is(201);
    }
    book.forget().await;
    book.world.upstream.script("/v1/act", Script::Json(200, "{}"));
    let path = book.acme.setting("saas");
    let saved = workspace.put(&path, &json!({ "enabled": true, "config": { "api_key": KEY } })).await;
    book.one("saveConnection", &workspace, saved, "connection/acme/main/saas", ACME).await;
    let patched = workspace.patch(&path, &json!({ "enabled": false })).await;
    book.one("patchConnection", &workspace, patched, "connection/acme/main/saas", ACME).await;
    workspace.patch(&path, &json!({ "enabled": true })).await.is(200);
    book.forget().await;
    let tried = workspace.post(&format!("{path}/test"), &json!({})).await;
    let record = book.one("testConnection", &workspace, tried, "connection/acme/main/saas", ACME).await;
    assert!(record["before"].is_null() && record["after"].is_null(), "nothing changed: {record}");
    let forgotten = workspace.delete(&path).await;
    book.one("forgetConnection", &workspace, forgotten, "connection/acme/main/saas", ACME).await;
    // Forgetting what is not there changes nothing.
    workspace.delete(&path).await.is(204);
    assert!(book.unseen().await.is_empty());
    named(book).await;
    consent(book).await;
}

async fn named(book: &mut Book) {
    let (_, _, workspace) = book.clients();
    let path = format!("{}/connection/sales", book.acme.setting("saas"));
    let target = "connection/acme/main/saas/sales";
    let saved = workspace.put(&path, &json!({ "config": { "api_key": KEY } })).await;
    book.one("saveNamedConnection", &workspace, saved, target, ACME).await;
    let patched = workspace.patch(&path, &json!({ "label": "Sales" })).await;
    book.one("patchNamedConnection", &workspace, patched, target, ACME).await;
    let tried = workspace.post(&format!("{path}/test"), &json!({})).await;
    book.one("testNamedConnection", &workspace, tried, target, ACME).await;
    let forgotten = workspace.delete(&path).await;
    let record = book.one("forgetNamedConnection", &workspace, forgotten, target, ACME).await;
    assert!(record["before"].is_string() && record["after"].is_null(), "{record}");
}

async fn consent(book: &mut Book) {
    let (_, _, workspace) = book.clients();
    let _server = TokenServer::on(&book.world.upstream);
    book.acme.connect("person", json!({ "client_id": "client-7f3a", "client_secret": "s3cr3t-of-it" })).await;
    book.forget().await;
    let path = format!("{}/oauth/start", book.acme.setting("person"));
    let started = workspace.post(&path, &json!({})).await.is(200);
    let url = started.json["authorize_url"].as_str().unwrap();
    let state = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap();
    let cookie = started.header("set-cookie").unwrap().split(';').next().unwrap();
    let back = format!("/oauth/callback?state={state}&code=code-4Rt6");
    let anyone = book.world.platform.anonymous();
    let page = anyone.send("GET", &back, &[("cookie", cookie)], Vec::new()).await.is(200);
    let actor = json!({ "token_id": token_id(&book.world, &workspace).await, "role": "workspace" });
    let target = "connection/acme/main/person";
    let record = book.one_by("finishConsent", &actor, &page, target, ACME).await;
    assert_eq!(record["address"], "127.0.0.1", "the browser's: {record}");
    assert!(record["after"].is_string(), "{record}");
    // The same link again is refused.
    let again = anyone.send("GET", &back, &[("cookie", cookie)], Vec::new()).await;
    assert!(again.status >= 400, "{}", again.text);
    assert!(book.unseen().await.is_empty());
}

/// A connector whose consent needs nothing of a workspace: its client is public, and the same for all.
fn public() -> Value {
    let mut definition = consenting();
    definition["connector_id"] = json!("public");
    definition["auth"]["client_id"] = json!("client-of-all");
    definition["auth_schema"] = json!({ "fields": [] });
    definition
}

async fn connect(book: &mut Book) {
    let (platform, org, workspace) = book.clients();
    platform.post("/admin/connector", &public()).await.is(201);
    book.forget().await;
    let settings = json!({ "frame_ancestors": ["https://app.example.com"] });
    let set = org.put("/org/acme/settings/connect", &settings).await;
    book.one("setConnectSettings", &org, set, "connect/acme", ACME).await;
    let ways =
        [("saas", "saveConnectForm"), ("public", "startConnectConsent"), ("public", "openConnectWindow")];
    for (connector, operation) in ways {
        workspace.delete(&book.acme.setting(connector)).await.is(204);
        book.forget().await;
        let wish = json!({ "connector_id": connector });
        let made = workspace.post("/workspace/acme/main/connect-session", &wish).await;
        let session = made.json["session_id"].as_str().unwrap().to_owned();
        let url = made.json["connect_url"].as_str().unwrap().to_owned();
        let target = format!("connect_session/acme/main/{session}");
        let record = book.one("createConnectSession", &workspace, made, &target, ACME).await;
        let link = &url[url.find("/connect/").unwrap()..];
        assert!(!record.to_string().contains(link.rsplit('/').next().unwrap()), "{record}");
        let browser = match operation {
            "openConnectWindow" => Browser::framed(&book.world),
            _ => Browser::new(&book.world),
        };
        let page = browser.claim(link).await.is(200);
        let answer = match connector {
            "saas" => browser.fill(link, connector, &[("field.api_key", KEY)]).await,
            _ => browser.get(&link_of(&page, "Continue to Person")).await,
        };
        // Claiming it left no record.
        let actor = json!({ "session_id": session, "role": "connect_session" });
        let target = format!("connection/acme/main/{connector}");
        book.one_by(operation, &actor, &answer.is(303), &target, ACME).await;
        let path = format!("/workspace/acme/main/connect-session/{session}");
        let revoked = org.delete(&path).await;
        let target = format!("connect_session/acme/main/{session}");
        book.one("revokeConnectSession", &org, revoked, &target, ACME).await;
    }
}

/// OAuth clients of the org and of the platform. What records hold of them, their digests included, is made of sealed
/// bytes, which differ each time.
async fn oauth_clients(book: &mut Book) {
    let (platform, org, _) = book.clients();
    let secret = "s3cr3t-of-a-shared-client";
    let wish = json!({ "client_id": "client-7f3a", "client_secret": secret });
    let scopes = [
        (org, "/org/acme/oauth-client/person", "acme/person/default", ACME, "OrgOauthClient"),
        (platform, "/admin/oauth-client/person", "person/default", None, "PlatformOauthClient"),
    ];
    for (client, path, name, of, noun) in scopes {
        let known = |verb: &str| {
            let operation = format!("{verb}{noun}");
            RECORDED.iter().find(|act| act.operation == operation).unwrap().operation
        };
        let target = format!("oauth_client/{name}");
        let made = client.put(path, &wish).await;
        let first = book.one(known("save"), &client, made, &target, of).await;
        assert!(first["before"].is_null() && first["after"].is_string(), "{first}");
        let same = client.put(path, &wish).await;
        let second = book.one(known("save"), &client, same, &target, of).await;
        assert_eq!(second["before"], first["after"], "{second}");
        assert_ne!(second["after"], first["after"], "the same secret has another digest: {second}");
        for record in [&first, &second] {
            assert!(!record.to_string().contains(secret), "{record}");
        }
        let gone = client.delete(path).await;
        let last = book.one(known("delete"), &client, gone, &target, of).await;
        assert!(last["before"].is_string() && last["after"].is_null(), "{last}");
        // What is not there any more is not deleted again.
        client.delete(path).await.is(404);
        assert!(book.unseen().await.is_empty());
    }
}

/// Deliveries of a webhook that were taken.
async fn delivered(client: &Client, path: &str) -> Vec<Value> {
    newest(client, &format!("{path}/delivery?state=delivered")).await
}

async fn webhooks(book: &mut Book) {
    let (platform, org, _) = book.clients();
    let wish = json!({ "url": "https://hooks.example.com/in", "events": ["*"] });
    let scopes = [
        (org.clone(), "/org/acme/webhook/one", "acme/one", ACME, "OrgWebhook", "OrgDelivery"),
        (platform.clone(), "/admin/webhook/one", "one", None, "PlatformWebhook", "PlatformDelivery"),
    ];
    for (client, path, name, of, noun, delivery) in scopes {
        let known = |verb: &str, noun: &str| {
            let operation = format!("{verb}{noun}");
            RECORDED.iter().find(|act| act.operation == operation).unwrap().operation
        };
        let target = format!("webhook/{name}");
        let made = client.put(path, &wish).await;
        book.one(known("save", noun), &client, made, &target, of).await;
        let rotated = client.write("POST", &format!("{path}/rotate"), "").await;
        let record = book.one(known("rotate", noun), &client, rotated, &target, of).await;
        assert_ne!(record["before"], record["after"], "{record}");
        org.put(super::POLICY, &json!({ "domain_allowlist": null })).await.is(200);
        platform.patch("/admin/connector/salesforce", &json!({ "display_name": name })).await.is(200);
        book.forget().await;
        if of.is_none() {
            // What the platform is told of, a worker hands on.
            book.world.engine.start_webhooks();
            until("it is delivered", async || !delivered(&client, path).await.is_empty()).await;
        }
        let deliveries = match of {
            Some(_) => newest(&client, &format!("{path}/delivery")).await,
            None => delivered(&client, path).await,
        };
        let id = deliveries[0]["delivery_id"].as_str().unwrap();
        let resent = client.write("POST", &format!("{path}/delivery/{id}/resend"), "").await;
        let scope = if of.is_some() { "acme/" } else { "" };
        let sent = format!("webhook_delivery/{scope}{id}");
        book.one(known("resend", delivery), &client, resent, &sent, of).await;
        let gone = client.delete(path).await;
        book.one(known("delete", noun), &client, gone, &target, of).await;
    }
}

async fn master_keys(book: &mut Book) {
    let platform = book.world.platform.clone();
    let key = MasterKey::generate().unwrap();
    book.world.add_master_key(key.clone()).await;
    let wish = json!({ "key_id": key.id().as_str() });
    let promoted = platform.post("/admin/key/rotate", &wish).await;
    let target = format!("master_key/{}", key.id());
    let record = book.one("rotateMasterKey", &platform, promoted, &target, None).await;
    assert_ne!(record["before"], record["after"], "{record}");
    // The neighbours: the same again changes nothing, and neither does reading.
    platform.post("/admin/key/rotate", &wish).await.is(200);
    platform.get("/admin/key").await.is(200);
    assert!(book.unseen().await.is_empty());
}

async fn runs(book: &mut Book) {
    let (platform, org, _) = book.clients();
    book.acme.connect("saas", json!({ "api_key": KEY })).await;
    platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    book.world.engine.start_jobs();
    let later = [("prefer", "respond-async"), ("content-type", "application/json")];
    let path = "/run/acme/main/connector/saas/act";
    let body = json!({ "input": { "note": "n" } }).to_string().into_bytes();
    let accepted = book.acme.run.send("POST", path, &later, body).await.is(202);
    let run = format!("/run/acme/main/{}", accepted.json["run_id"].as_str().unwrap());
    until("it is skipped", async || book.acme.run.get(&run).await.json["status"] == "skipped").await;
    platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    book.forget().await;
    let none = org.post("/org/acme/run/redrive", &json!({ "status": "dead" })).await.is(200);
    assert_eq!(none.json["count"], 0);
    assert!(book.unseen().await.is_empty(), "what takes up nothing leaves no record");
    let redriven =
        org.post("/org/acme/run/redrive", &json!({ "status": "skipped", "workspace": "main" })).await;
    assert_eq!(redriven.json["count"], 1, "{}", redriven.text);
    book.one("redriveRuns", &org, redriven, "run/acme/main", ACME).await;
    // The neighbour: a run is none of these.
    book.acme.call("saas", "act", json!({ "note": "n" })).await.is(200);
    assert!(book.unseen().await.is_empty());
}

#[tokio::test]
async fn every_recorded_operation_leaves_exactly_one_record_of_who_did_what_to_what() {
    let mut book = Book::new().await;
    connectors(&mut book).await;
    modules(&mut book).await;
    backup(&mut book).await;
    tenants(&mut book).await;
    of_org(&mut book).await;
    connections(&mut book).await;
    connect(&mut book).await;
    oauth_clients(&mut book).await;
    webhooks(&mut book).await;
    master_keys(&mut book).await;
    runs(&mut book).await;
    let all: BTreeSet<&str> = RECORDED.iter().map(|act| act.operation).collect();
    let missing: Vec<&&str> = all.difference(&book.done).collect();
    assert!(missing.is_empty(), "operations that this test does not carry out: {missing:?}");
    for path in ["/admin/audit/verify", "/admin/audit/verify?org=acme", "/admin/audit/verify?org=globex"] {
        let checked = book.world.platform.get(path).await.is(200).json;
        assert_eq!(checked["intact"], true, "{checked}");
    }
}
