//! A process that is asked to stop: no answer is interrupted, callers are asked to use another process, and calls
//! that do not end in time are ended with a record.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::support::{Answer, Client, Script, Stage, Tenant, World, until};

const KEY: &str = "sk-live-0123456789abcdef";

/// A second listener of the same product, which can be stopped.
struct Stoppable {
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Stoppable {
    async fn of(world: &World, tenant: &Tenant) -> Self {
        let listener = portcullis_api::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let client = Client::new(listener.local_addr().unwrap()).with_token(tenant.run.token().unwrap());
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { stopped.await.unwrap() };
        let serving = tokio::spawn(portcullis_api::serve::serve(Arc::clone(&world.api), listener, stopped));
        Self { client, stop, serving }
    }

    fn call(&self) -> JoinHandle<Answer> {
        let client = self.client.clone();
        let body = json!({ "input": { "Email": "ada@example.org" } });
        tokio::spawn(
            async move { client.post("/run/acme/main/connector/salesforce/create-contact", &body).await },
        )
    }
}

async fn connected(limits: Limits) -> (World, Tenant) {
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

#[tokio::test]
async fn running_calls_end_and_callers_are_sent_away() {
    let (world, acme) = connected(Limits { concurrent_calls: 32, ..Limits::default() }).await;
    let go = Arc::new(Semaphore::new(0));
    let held = Script::Held(Arc::clone(&go), Box::new(Script::Json(200, r#"{"ok":true}"#)));
    world.upstream.script("/v1/contacts", held);
    let product = Stoppable::of(&world, &acme).await;
    let kept = product.client.get("/readyz").await.is(200);
    assert_eq!(kept.header("connection"), None);
    let calls = [product.call(), product.call()];
    until("both calls wait for their upstream", async || world.upstream.received().len() == 2).await;
    product.stop.send(()).unwrap();
    until("it says that it stops", async || product.client.get("/readyz").await.status == 503).await;
    // It still serves callers that have not noticed.
    let late = product.client.get("/run/acme/main").await.is(200);
    assert_eq!(late.header("connection"), Some("close"));
    go.add_permits(2);
    for call in calls {
        let answer = call.await.unwrap().is(200);
        assert_eq!(answer.json["output"], json!({ "ok": true }));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    product.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(product.client.address()).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_ended_with_a_record() {
    let limits = Limits { concurrent_calls: 32, drain_ms: 600, ..Limits::default() };
    let (world, acme) = connected(limits).await;
    world.upstream.script("/v1/contacts", Script::Silence);
    let product = Stoppable::of(&world, &acme).await;
    let call = product.call();
    until("the call waits for its upstream", async || world.upstream.received().len() == 1).await;
    product.stop.send(()).unwrap();
    let answer = call.await.unwrap().problem(Code::CallEnded);
    let run = answer.json["run"]["run_id"].as_str().unwrap();
    product.serving.await.unwrap().unwrap();
    assert_eq!(acme.ledger().await[0]["code"], "call_ended");
    assert_eq!(acme.run.get(&format!("/run/acme/main/{run}")).await.is(200).json["code"], "call_ended");
}

#[tokio::test]
async fn kept_connections_without_a_request_do_not_hold_a_stop_up() {
    let (world, acme) = connected(Limits { concurrent_calls: 32, ..Limits::default() }).await;
    let product = Stoppable::of(&world, &acme).await;
    let idle = TcpStream::connect(product.client.address()).await.unwrap();
    product.client.get("/readyz").await.is(200);
    product.stop.send(()).unwrap();
    product.serving.await.unwrap().unwrap();
    let mut end = [0; 1];
    idle.readable().await.unwrap();
    assert!(matches!(idle.try_read(&mut end), Ok(0) | Err(_)), "it was closed");
}
