//! Calls beside saves of what they use: a call reads one state or the other, never half of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_core::fault::Code;
use portcullis_store::{ConnectorRecord, ConnectorSetting, Key};
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};

use super::{ID, KEY, PATH, connected_on, definition, with_tokens};
use crate::support::shared_store::SharedStore;
use crate::support::token_server::TOKEN;
use crate::support::{Script, Stage, Tenant, World, until};

/// A world on a store whose reads a test can delay.
async fn on_shared_store() -> (Arc<SharedStore>, World, Tenant) {
    let store = SharedStore::new();
    let stage = Stage { store: Some(Arc::clone(&store) as _), ..Stage::default() };
    let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
    (store, world, acme)
}

fn setting() -> String {
    Key::of::<ConnectorSetting>(&["acme", "main", ID]).unwrap()
}

/// Delays the next read of the setting, which is one of the store.
fn delay(store: &SharedStore, world: &World) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
    world.engine.records().forget([setting()]);
    store.delay_read(setting())
}

/// The credential that the upstream received last.
fn sent(world: &World) -> String {
    let received = world.upstream.received_on(PATH);
    received.last().unwrap().header("authorization").join(",")
}

#[tokio::test]
async fn h10_a_call_that_reads_while_its_credential_is_saved_uses_one_of_the_two() {
    let (store, world, acme) = on_shared_store().await;
    let (is_read, let_go) = delay(&store, &world);
    let run = acme.run.clone();
    let body = json!({ "input": {} });
    let call =
        tokio::spawn(async move { run.post(&format!("/run/acme/main/connector/{ID}/act"), &body).await });
    is_read.await.unwrap();
    acme.connect(ID, json!({ "api_key": "sk-live-the-second-one" })).await;
    let_go.send(()).unwrap();
    let answer = call.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(sent(&world).contains("sk-live-the-second-one"));
}

#[tokio::test]
async fn h10_a_test_of_a_credential_that_is_saved_meanwhile_is_no_failure() {
    let (store, world, acme) = on_shared_store().await;
    let (is_read, let_go) = delay(&store, &world);
    let (person, path) = (acme.workspace.clone(), format!("{}/test", acme.setting(ID)));
    let test = tokio::spawn(async move { person.post(&path, &json!({})).await });
    is_read.await.unwrap();
    acme.connect(ID, json!({ "api_key": "sk-live-the-second-one" })).await;
    let_go.send(()).unwrap();
    let answer = test.await.unwrap().is(200);
    assert_eq!(answer.json["ok"], true, "{}", answer.text);
    assert!(sent(&world).contains("sk-live-the-second-one"));
}

#[tokio::test]
async fn h10_opting_in_beside_a_save_does_not_bring_the_old_credential_back() {
    let (store, world, acme) = on_shared_store().await;
    let (is_read, let_go) = delay(&store, &world);
    let (person, path) = (acme.workspace.clone(), acme.setting(ID));
    let toggle = tokio::spawn(async move { person.put(&path, &json!({ "enabled": true })).await });
    is_read.await.unwrap();
    acme.connect(ID, json!({ "api_key": "sk-live-the-second-one" })).await;
    let_go.send(()).unwrap();
    toggle.await.unwrap().is(200);
    acme.call(ID, "act", json!({})).await.is(200);
    assert!(sent(&world).contains("sk-live-the-second-one"));
}

#[tokio::test]
async fn h10_opting_out_and_in_between_saves_changes_no_call() {
    let (_store, world, acme) = on_shared_store().await;
    for turn in 0..3 {
        acme.workspace.put(&acme.setting(ID), &json!({ "enabled": false })).await.is(200);
        assert_eq!(acme.call(ID, "act", json!({})).await.is(200).json["status"], "skipped");
        acme.workspace.put(&acme.setting(ID), &json!({ "enabled": true })).await.is(200);
        acme.call(ID, "act", json!({})).await.is(200);
        let key = format!("sk-live-number-{turn}");
        acme.connect(ID, json!({ "api_key": key })).await;
        acme.call(ID, "act", json!({})).await.is(200);
        assert!(sent(&world).contains(&key));
    }
}

#[tokio::test]
async fn h10_a_save_while_a_token_is_got_makes_the_call_get_another() {
    let (world, acme, server) = with_tokens("first").await;
    let upstream = Arc::new(Semaphore::new(0));
    let answer = json!({ "access_token": "at-of-the-first-client", "expires_in": 3600 });
    let held = Script::Held(Arc::clone(&upstream), Box::new(Script::json(200, &answer)));
    server.change(|ways| ways.instead = Some(held));
    let run = acme.run.clone();
    let body = json!({ "input": {} });
    let call =
        tokio::spawn(async move { run.post(&format!("/run/acme/main/connector/{ID}/act"), &body).await });
    until("a token is asked for", async || world.upstream.received_on(TOKEN).len() == 1).await;
    acme.connect(ID, json!({ "client_id": "second", "client_secret": KEY })).await;
    server.change(|ways| ways.instead = None);
    upstream.add_permits(1);
    let answer = call.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    let sent = world.upstream.received_on("/v1/things");
    assert_eq!(sent[0].header("authorization"), [format!("Bearer {}", server.access())]);
}

#[tokio::test]
async fn h10_nothing_is_saved_for_a_connector_that_is_deleted_meanwhile() {
    let (store, world, acme) = on_shared_store().await;
    let definition = definition(&json!({}), &json!({}));
    let connector = format!("/admin/connector/{ID}");
    // A save that has read its connector.
    let (is_read, let_go) = delay(&store, &world);
    let (person, path) = (acme.workspace.clone(), acme.setting(ID));
    let save = json!({ "enabled": true, "config": { "api_key": "sk-live-the-second-one" } });
    let saving = tokio::spawn(async move { person.put(&path, &save).await });
    is_read.await.unwrap();
    world.platform.delete(&format!("{connector}?force=true")).await.is(204);
    let_go.send(()).unwrap();
    saving.await.unwrap().problem(Code::ConnectorNotFound);
    world.platform.post("/admin/connector", &definition).await.is(201);
    assert_eq!(acme.workspace.get(&acme.setting(ID)).await.is(200).json["state"], "unconfigured");
    // An automation that has.
    world.platform.patch(&connector, &json!({ "description": "read again" })).await.is(200);
    let (is_read, let_go) = store.delay_read(Key::of::<ConnectorRecord>(&[ID]).unwrap());
    let org = acme.org.clone();
    let mut automation = crate::support::world::contact_automation();
    automation["destination_config"] = json!({ "connector_id": ID, "action_id": "act", "field_mapping": {} });
    let creating = tokio::spawn(async move { org.post("/org/acme/automation", &automation).await });
    is_read.await.unwrap();
    world.platform.delete(&connector).await.is(204);
    let_go.send(()).unwrap();
    let answer = creating.await.unwrap().problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/destination_config/connector_id", "connector_not_found")]);
    assert_eq!(acme.org.get("/org/acme/automation").await.is(200).json["data"], json!([]));
}

/// The number of calls of a test that looks for a race by chance: more where somebody has the time.
fn many(usual: usize) -> usize {
    #[allow(clippy::disallowed_methods, reason = "how long this test looks is no setting of the product")]
    let wanted = std::env::var("PORTCULLIS_TEST_CALLS").ok();
    wanted.map_or(usual, |count| count.parse().expect("PORTCULLIS_TEST_CALLS is a number"))
}

/// What is written again and again beside the calls.
async fn written(world: &World, acme: &Tenant, turn: usize) {
    match turn % 4 {
        0 | 1 => {
            acme.connect(ID, json!({ "api_key": format!("sk-live-number-{turn}") })).await;
        }
        2 => acme.allow(json!(["*.salesforce.com", format!("host{turn}.example.com")]), "enforce").await,
        _ => {
            let patch = json!({ "description": format!("number {turn}") });
            world.platform.patch(&format!("/admin/connector/{ID}"), &patch).await.is(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h10_no_call_fails_beside_saves_of_what_it_uses() {
    for sled in [false, true] {
        let stage = Stage { sled, ..Stage::default() };
        let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
        world.upstream.script(PATH, Script::Json(200, r#"{"ok":true}"#));
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (run, over) = (acme.run.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let (path, body) = (format!("/run/acme/main/connector/{ID}/act"), json!({ "input": {} }));
                    for _ in 0..many(600) / 4 {
                        let answer = run.post(&path, &body).await;
                        let failed = (answer.status != 200).then_some(answer.text);
                        if failed.is_some() || over.load(Ordering::SeqCst) {
                            return failed;
                        }
                    }
                    None
                })
            })
            .collect();
        let mut turn = 0;
        while !callers.iter().all(tokio::task::JoinHandle::is_finished) {
            written(&world, &acme, turn).await;
            turn += 1;
        }
        over.store(true, Ordering::SeqCst);
        for caller in callers {
            assert_eq!(caller.await.unwrap(), None, "after {turn} writes");
        }
        assert!(turn > 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h10_a_workspace_that_is_deleted_and_made_again_gives_calls_a_reason_and_never_internal() {
    let (world, acme) = connected_on(Stage::default(), &definition(&json!({}), &json!({}))).await;
    let token = world.token(&json!({ "role": "run", "org": "acme" })).await;
    let run = world.platform.with_token(token);
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (run, over) = (run.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let (path, body) = (format!("/run/acme/main/connector/{ID}/act"), json!({ "input": {} }));
                let mut seen = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let answer = run.post(&path, &body).await;
                    if answer.status != 200 {
                        seen.push(answer.json["code"].as_str().unwrap_or_default().to_owned());
                    }
                }
                seen
            })
        })
        .collect();
    drop(acme);
    for _ in 0..many(400) / 40 {
        world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
        let again = world.tenant("acme", "main").await;
        again.connect(ID, json!({ "api_key": KEY })).await;
        again.call(ID, "act", json!({})).await.is(200);
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        for code in caller.await.unwrap() {
            let expected = [Code::WorkspaceNotFound, Code::CallEnded].map(Code::as_str);
            assert!(expected.contains(&code.as_str()), "{code}");
        }
    }
}

#[tokio::test]
async fn h10_a_token_that_is_revoked_while_a_body_is_sent_calls_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let (world, acme) = connected_on(Stage::default(), &definition(&json!({}), &json!({}))).await;
    let spec = json!({ "role": "run", "org": "acme" });
    let made = world.platform.post("/admin/token", &spec).await.is(201).json;
    let (token, id) = (made["token"].as_str().unwrap(), made["token_id"].as_str().unwrap());
    for gone in [format!("/admin/token/{id}"), "/admin/org/acme/workspace/main".to_owned()] {
        let token = if gone.contains("token") { token.to_owned() } else { acme.run.token().unwrap() };
        let head = format!(
            "POST /run/acme/main/connector/{ID}/act HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 12\r\n\r\n{{"
        );
        let mut caller = tokio::net::TcpStream::connect(world.platform.address()).await.unwrap();
        caller.write_all(head.as_bytes()).await.unwrap();
        until("it is admitted", async || world.engine.scheduler().calls() == 1).await;
        world.platform.delete(&gone).await.is(204);
        caller.write_all(b"\"input\":{}}").await.unwrap();
        let (_, document) = crate::support::client::answer_on(&mut caller).await;
        assert_eq!(document["code"], Code::CallEnded.as_str(), "{gone}: {document}");
    }
    assert!(world.upstream.received().is_empty());
}
