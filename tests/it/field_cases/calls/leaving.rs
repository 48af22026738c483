//! A caller that leaves while the upstream works: the call has left the house, so it ends as any other, and its
//! record can be read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::{ID, PATH, connected, connected_on, definition, with_tokens};
use crate::support::token_server::TOKEN;
use crate::support::{Client, Script, Stage, Tenant, World, until};

/// How a caller leaves.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Closes,
    ClosesItsHalf,
    Resets,
}

/// The bytes of a call.
fn request(tenant: &Tenant, path: &str, body: &Value) -> Vec<u8> {
    let (token, body) = (tenant.run.token().unwrap(), body.to_string());
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn act(tenant: &Tenant) -> Vec<u8> {
    let path = format!("/run/{}/{}/connector/{ID}/act", tenant.org_id, tenant.workspace_id);
    request(tenant, &path, &json!({ "input": {} }))
}

/// Sends a request on a new connection.
async fn send(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut caller = TcpStream::connect(address).await.unwrap();
    caller.write_all(request).await.unwrap();
    caller
}

/// Leaves; what is left of the connection is returned.
async fn leave(mut caller: TcpStream, how: Leaving) -> Option<TcpStream> {
    match how {
        Leaving::Closes => {}
        Leaving::ClosesItsHalf => {
            caller.shutdown().await.unwrap();
            return Some(caller);
        }
        Leaving::Resets => {
            // Why through the standard library's socket: it has no setting for it, and an unread byte has the effect.
            #[allow(deprecated, reason = "zero never blocks")]
            caller.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    None
}

/// An upstream that answers when it is let go.
fn hold(world: &World, path: &str) -> Arc<Semaphore> {
    let upstream = Arc::new(Semaphore::new(0));
    let answer = Box::new(Script::Json(200, r#"{"ok":true}"#));
    world.upstream.script(path, Script::Held(Arc::clone(&upstream), answer));
    upstream
}

/// A call that waits for its upstream and whose caller has left.
async fn left(world: &World, tenant: &Tenant, how: Leaving) -> Option<TcpStream> {
    let before = world.upstream.received_on(PATH).len();
    let caller = send(world.platform.address(), &act(tenant)).await;
    until("the call waits for its upstream", async || world.upstream.received_on(PATH).len() > before).await;
    leave(caller, how).await
}

/// Asserts that the newest request of the ledger stays open for a while.
async fn runs_on(tenant: &Tenant) {
    let until = Instant::now() + Duration::from_millis(400);
    while Instant::now() < until {
        let newest = tenant.ledger().await[0].clone();
        assert_eq!(newest["phase"], "begin", "the call ended with its caller: {newest}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The record of the run that the ledger names last, once there is one.
async fn record(tenant: &Tenant) -> Value {
    let run = tenant.ledger().await[0]["run_id"].as_str().unwrap().to_owned();
    let path = format!("/run/{}/{}/{run}", tenant.org_id, tenant.workspace_id);
    until("the run has a record", async || tenant.run.get(&path).await.status == 200).await;
    let record = tenant.run.get(&path).await.is(200).json;
    let closed = tenant.ledger().await[0].clone();
    assert_eq!((&closed["phase"], &closed["run_id"]), (&json!("complete"), &record["run_id"]));
    record
}

#[tokio::test]
async fn h7_a_call_ends_and_is_recorded_although_its_caller_has_left() {
    for how in [Leaving::Closes, Leaving::ClosesItsHalf, Leaving::Resets] {
        let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
        let upstream = hold(&world, PATH);
        let _rest = left(&world, &acme, how).await;
        runs_on(&acme).await;
        upstream.add_permits(1);
        let record = record(&acme).await;
        assert_eq!(record["status"], "succeeded", "{how:?}: {record}");
        assert_eq!(acme.ledger().await[0]["status"], 200, "{how:?}");
        assert!(
            record["output"].is_null() && record["upstream"] == json!({ "status": 200 }),
            "no data is kept: {record}"
        );
    }
}

#[tokio::test]
async fn h7_an_automation_ends_although_its_caller_has_left() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    let mut automation = crate::support::world::contact_automation();
    automation["destination_config"] = json!({ "connector_id": ID, "action_id": "act", "field_mapping": {} });
    let automation = acme.org.post("/org/acme/automation", &automation).await.is(201).json;
    let upstream = hold(&world, PATH);
    let path = format!("/run/acme/main/automation/{}", automation["automation_id"].as_str().unwrap());
    let body = json!({ "source": { "type": "form.submitted", "email": "ada@example.org" } });
    drop(send(world.platform.address(), &request(&acme, &path, &body)).await);
    until("it waits for its upstream", async || !world.upstream.received().is_empty()).await;
    runs_on(&acme).await;
    upstream.add_permits(1);
    assert_eq!(record(&acme).await["automation_id"], automation["automation_id"]);
}

#[tokio::test]
async fn h7_the_kill_switch_and_the_deadline_still_end_a_call_without_a_caller() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    let _upstream = hold(&world, PATH);
    left(&world, &acme, Leaving::Closes).await;
    runs_on(&acme).await;
    world.platform.patch(&format!("/admin/connector/{ID}"), &json!({ "enabled": false })).await.is(200);
    assert_eq!(record(&acme).await["code"], Code::ConnectorDisabled.as_str());

    let mut stage = Stage::default();
    stage.limits.call_ms = 1_000;
    let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
    let _upstream = hold(&world, PATH);
    left(&world, &acme, Leaving::Closes).await;
    until("its time is up", async || acme.ledger().await[0]["phase"] == "complete").await;
    assert_eq!(record(&acme).await["code"], Code::UpstreamTimeout.as_str());
}

#[tokio::test]
async fn h7_a_call_without_a_caller_keeps_its_place_until_it_ends() {
    let mut stage = Stage::default();
    stage.limits.workspace_concurrent_calls = 2;
    let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
    let upstream = hold(&world, PATH);
    for _ in 0..2 {
        left(&world, &acme, Leaving::Closes).await;
        runs_on(&acme).await;
    }
    acme.call(ID, "act", json!({})).await.problem(Code::WorkspaceBusy);
    upstream.add_permits(2);
    until("both places are free", async || world.engine.scheduler().calls() == 0).await;
    upstream.add_permits(1);
    acme.call(ID, "act", json!({})).await.is(200);
    assert_eq!(acme.run.get("/run/acme/main").await.is(200).json["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn h7_a_call_that_has_sent_nothing_goes_with_its_caller() {
    // Its budget is used up for a while, so that it waits.
    let budget = json!([{ "requests": 1, "per_ms": 60_000 }]);
    let waiting = json!({ "rate_limit": budget, "retry": { "max_wait_ms": 60_000 } });
    let (world, acme) = connected(&definition(&waiting, &json!({}))).await;
    acme.call(ID, "act", json!({})).await.is(200);
    let waits = send(world.platform.address(), &act(&acme)).await;
    until("a call waits", async || world.engine.scheduler().calls() == 1).await;
    drop(waits);
    until("it is gone", async || world.engine.scheduler().calls() == 0).await;
    // So does one whose body never comes.
    let whole = act(&acme);
    let half = send(world.platform.address(), &whole[..whole.len() - 3]).await;
    until("it is admitted", async || world.engine.scheduler().calls() == 1).await;
    drop(half);
    until("it is gone", async || world.engine.scheduler().calls() == 0).await;
    assert_eq!(world.upstream.received_on(PATH).len(), 1);
    assert_eq!(acme.run.get("/run/acme/main").await.is(200).json["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn h7_an_answer_that_is_not_read_to_its_end_has_a_record() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    let text: &'static str = format!("{{\"text\":\"{}\"}}", "a".repeat(1_000_000)).leak();
    world.upstream.script(PATH, Script::Json(200, text));
    let mut caller = send(world.platform.address(), &act(&acme)).await;
    let mut start = [0; 100];
    caller.read_exact(&mut start).await.unwrap();
    drop(caller);
    assert_eq!(record(&acme).await["status"], "succeeded");
}

#[tokio::test]
async fn h7_a_caller_that_leaves_while_a_token_is_renewed_leaves_a_record_behind() {
    let (world, acme, server) = with_tokens("c").await;
    let upstream = Arc::new(Semaphore::new(0));
    let answer = json!({ "access_token": "at-1-QzR7wK2n", "expires_in": 3600 });
    let held = Script::Held(Arc::clone(&upstream), Box::new(Script::json(200, &answer)));
    server.change(|ways| {
        ways.instead = Some(held);
        ways.stale = Script::Json(200, r#"{"ok":true}"#);
    });
    let caller = send(world.platform.address(), &act(&acme)).await;
    until("a token is asked for", async || world.upstream.received_on(TOKEN).len() == 1).await;
    drop(caller);
    runs_on(&acme).await;
    upstream.add_permits(1);
    until("the action was called", async || world.upstream.received_on("/v1/things").len() == 1).await;
    assert_eq!(record(&acme).await["status"], "succeeded");
}

#[tokio::test]
async fn h7_a_test_of_a_credential_ends_although_the_person_has_left() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    let upstream = hold(&world, PATH);
    let token = acme.workspace.token().unwrap();
    let path = format!("{}/test", acme.setting(ID));
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
    );
    let caller = send(world.platform.address(), text.as_bytes()).await;
    until("it waits for its upstream", async || !world.upstream.received().is_empty()).await;
    drop(caller);
    runs_on(&acme).await;
    upstream.add_permits(1);
    until("the ledger has its end", async || acme.ledger().await[0]["phase"] == "complete").await;
    assert_eq!(acme.ledger().await[0]["status"], 200);
}

#[tokio::test]
async fn h7_a_workspace_that_is_deleted_meanwhile_leaves_nothing_to_the_next_of_its_name() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    let _upstream = hold(&world, PATH);
    left(&world, &acme, Leaving::Closes).await;
    runs_on(&acme).await;
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    until("it has ended", async || world.engine.scheduler().calls() == 0).await;
    assert_eq!(acme.ledger().await[0]["code"], Code::CallEnded.as_str());
    let next = world.tenant("acme", "main").await;
    assert_eq!(next.run.get("/run/acme/main").await.is(200).json["data"], json!([]));
}

/// A second listener of the same product, which can be stopped.
async fn stoppable(world: &World) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = portcullis_api::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let api = Arc::clone(&world.api);
    let serving = tokio::spawn(async move {
        let stopped = async move { stopped.await.unwrap() };
        portcullis_api::serve::serve(api, listener, stopped).await.unwrap();
    });
    (address, stop, serving)
}

#[tokio::test]
async fn h7_a_stop_waits_for_a_call_without_a_caller_and_ends_it_when_its_time_is_up() {
    for ends in [true, false] {
        let mut stage = Stage::default();
        stage.limits.drain_ms = if ends { 30_000 } else { 1_500 };
        let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
        let upstream = hold(&world, PATH);
        let (address, stop, serving) = stoppable(&world).await;
        let caller = send(address, &act(&acme)).await;
        until("it waits for its upstream", async || !world.upstream.received().is_empty()).await;
        drop(caller);
        runs_on(&acme).await;
        stop.send(()).unwrap();
        let probe = Client::new(address);
        until("it says that it stops", async || probe.get("/readyz").await.status == 503).await;
        runs_on(&acme).await;
        if ends {
            assert!(!serving.is_finished());
            upstream.add_permits(1);
        }
        serving.await.unwrap();
        // At once: what is not on record when the process ends never will be.
        let runs = acme.run.get("/run/acme/main").await.is(200).json["data"].clone();
        let code = if ends { Value::Null } else { json!("call_ended") };
        assert_eq!((runs.as_array().unwrap().len(), &runs[0]["code"]), (1, &code), "{runs}");
        assert_eq!(acme.ledger().await[0]["phase"], "complete");
    }
}
