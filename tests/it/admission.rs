//! Admission: a full workspace is refused at once, its neighbour and the platform are not affected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::client::answer_on;
use crate::support::{Answer, Script, Stage, Tenant, World, until};

const KEY: &str = "sk-live-0123456789abcdef";

fn start(tenant: &Tenant) -> JoinHandle<Answer> {
    let run = tenant.run.clone();
    let path = format!("/run/{}/main/connector/salesforce/create-contact", tenant.org_id);
    let body = json!({ "input": { "Email": "ada@example.org" } });
    tokio::spawn(async move { run.post(&path, &body).await })
}

/// An upstream that answers when it is let go.
fn hold(world: &World) -> Arc<Semaphore> {
    let upstream = Arc::new(Semaphore::new(0));
    let answer = Box::new(Script::Json(200, "{}"));
    world.upstream.script("/v1/contacts", Script::Held(Arc::clone(&upstream), answer));
    upstream
}

#[tokio::test]
async fn a_full_workspace_is_refused_at_once_and_nobody_else_is() {
    let limits = Limits { concurrent_calls: 32, workspace_concurrent_calls: 2, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    let globex = world.tenant("globex", "main").await;
    for tenant in [&acme, &globex] {
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
    }
    world.upstream.script("/v1/contacts", Script::Silence);
    let running = [start(&acme), start(&acme)];
    until("both calls wait for their upstream", async || world.upstream.received().len() == 2).await;
    let before = world.before().await;
    let answer = acme.create_contact().await.problem(Code::WorkspaceBusy);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.json["detail"].as_str().unwrap().contains("limits.workspace_concurrent_calls"));
    assert!(answer.json["run"].is_null(), "nothing ran");
    world.assert_nothing_looked_up(&before).await;
    // Requests that make no calls are served: reading, and the switch that ends calls.
    acme.run.get("/run/acme/main").await.is(200);
    let neighbour = start(&globex);
    until("the neighbour's call arrives", async || world.upstream.received().len() == 3).await;
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    for call in running.into_iter().chain([neighbour]) {
        call.await.unwrap().problem(Code::ConnectorDisabled);
    }
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": true })).await.is(200);
    world.upstream.script("/v1/contacts", Script::Json(200, "{}"));
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn many_at_once_are_all_served_where_there_is_room() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let calls: Vec<_> = (0..24).map(|_| start(&acme)).collect();
    for call in calls {
        call.await.unwrap().is(200);
    }
    assert_eq!(world.upstream.received().len(), 24);
    assert_eq!(world.engine.scheduler().calls(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits { concurrent_calls: 32, api_body_ms: 200, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let token = world.platform.token().unwrap();
    let mut slow = TcpStream::connect(world.platform.address()).await.unwrap();
    let head = format!(
        "POST /admin/org HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 20\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let asked = Instant::now();
    let read = slow.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.contains(Code::RequestTimeout.as_str()), "{answer}");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("limits.api_body_ms"), "{answer}");
    assert!(asked.elapsed() >= Duration::from_millis(190));
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn an_invented_workspace_takes_no_place() {
    let limits = Limits { concurrent_calls: 2, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let token = acme.run.token().unwrap();
    let mut held = Vec::new();
    for n in 0..4 {
        let mut slow = TcpStream::connect(world.platform.address()).await.unwrap();
        let head = format!(
            "POST /run/acme/invented{n}/connector/a/b HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer {token}\r\ncontent-length: 20\r\n\r\n{{"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = slow.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.contains(Code::WorkspaceNotFound.as_str()), "{answer}");
        held.push(slow);
    }
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn only_who_may_call_is_told_that_there_is_no_room() {
    let limits = Limits { concurrent_calls: 2, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let globex = world.tenant("globex", "main").await;
    let upstream = hold(&world);
    let running = [start(&acme), start(&acme)];
    until("both calls wait for their upstream", async || world.upstream.received().len() == 2).await;
    let (path, body) = ("/run/acme/main/connector/salesforce/create-contact", json!({ "input": {} }));
    // Twice, because values that are not cached yet are looked up the first time.
    for _ in 0..2 {
        let answer = acme.run.post(path, &body).await.problem(Code::Overloaded);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-request-id"), answer.json["request_id"].as_str());
        globex.run.post(path, &body).await.problem(Code::OrgNotFound);
        world.platform.post(path, &body).await.problem(Code::RoleNotAllowed);
        acme.run.with_token("pc_run_nobody").post(path, &body).await.problem(Code::Unauthorized);
        acme.run.post("/run/acme/none/automation/a", &body).await.problem(Code::WorkspaceNotFound);
        acme.run.post("/run/acme/main/automation", &body).await.is(405);
        acme.run.get("/run/acme/main").await.is(200);
    }
    // A token that was revoked a moment ago.
    let spec = json!({ "role": "run", "org": "acme", "workspace": "main" });
    let made = world.platform.post("/admin/token", &spec).await.is(201);
    let gone = acme.run.with_token(made.json["token"].as_str().unwrap());
    gone.post(path, &body).await.problem(Code::Overloaded);
    let id = made.json["token_id"].as_str().unwrap();
    world.platform.delete(&format!("/admin/token/{id}")).await.is(204);
    gone.post(path, &body).await.problem(Code::Unauthorized);
    upstream.add_permits(2);
    for call in running {
        call.await.unwrap().is(200);
    }
    until("their places are free", async || world.engine.scheduler().calls() == 0).await;
    world.upstream.script("/v1/contacts", Script::Json(200, "{}"));
    acme.create_contact().await.is(200);
}

/// Where a request is refused depends on how its bytes arrive; its caller's answer does not.
#[tokio::test]
async fn a_refusal_reads_the_same_however_the_request_arrives() {
    let limits = Limits { concurrent_calls: 2, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    world.upstream.script("/v1/contacts", Script::Silence);
    let running = [start(&acme), start(&acme)];
    until("both calls wait for their upstream", async || world.upstream.received().len() == 2).await;
    let token = acme.run.token().unwrap();
    let head = format!(
        "POST /run/acme/main/connector/salesforce/create-contact?a=b HTTP/1.1\r\nhost: x\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n"
    );
    let body = "{\"input\":{}}";
    let mut answers = Vec::new();
    // The first looks up what later ones find in memory. In one piece it is refused before the server sees it.
    for in_two in [true, true, false, true, false] {
        let asked = world.api.requests();
        let mut connection = TcpStream::connect(world.platform.address()).await.unwrap();
        if in_two {
            connection.write_all(head.as_bytes()).await.unwrap();
            until("its head is read", async || world.api.requests() > asked).await;
            connection.write_all(body.as_bytes()).await.unwrap();
        } else {
            connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
        let (mut lines, mut document) = answer_on(&mut connection).await;
        let id = document["request_id"].take();
        assert!(lines.contains(&format!("x-request-id: {}", id.as_str().unwrap())), "{lines:?}");
        lines.retain(|line| !line.starts_with("x-request-id: ") && !line.starts_with("date: "));
        lines.sort();
        answers.push((lines, document));
    }
    assert_eq!(answers[0].1["code"], "overloaded");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    for call in running {
        call.abort();
    }
}
