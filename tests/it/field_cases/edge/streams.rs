//! Streams that outlive the token they were opened with: they end within two seconds, whoever took the token away.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use portcullis_store::{Key, TokenIndex};
use serde_json::json;
use tokio::time::timeout;

use crate::support::client::Stream;
use crate::support::shared_store::SharedStore;
use crate::support::{Client, Stage, Tenant, World};

const KEY: &str = "sk-live-0123456789abcdef";
/// Within this time a stream ends.
const PROMISED: Duration = Duration::from_secs(2);
/// More for the machine, which is busy with other tests.
const SLACK: Duration = Duration::from_secs(1);

/// An org token and its id.
async fn org_token(world: &World, org: &str) -> (Client, String) {
    let made = world.platform.post("/admin/token", &json!({ "role": "org", "org": org })).await.is(201).json;
    let client = world.platform.with_token(made["token"].as_str().unwrap());
    (client, made["token_id"].as_str().unwrap().to_owned())
}

/// What the stream still says until it ends.
async fn rest(stream: &mut Stream) -> Result<String, String> {
    let mut text = String::new();
    let read = async {
        while let Some(frame) = stream.response.body_mut().frame().await {
            // An error is an end, too.
            let Ok(frame) = frame else { return };
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    let ended = timeout(PROMISED + SLACK, read).await.is_ok();
    if ended { Ok(text) } else { Err(text) }
}

async fn connected() -> (World, Tenant) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

#[tokio::test]
async fn s8_a_stream_ends_with_its_token() {
    let (world, acme) = connected().await;
    let (reader, id) = org_token(&world, "acme").await;
    let (other, _) = org_token(&world, "acme").await;
    let mut stream = reader.follow("/org/acme/outbound/stream").await;
    let mut others = other.follow("/org/acme/outbound/stream").await;
    stream.until(": following").await;
    others.until(": following").await;
    acme.create_contact().await.is(200);
    stream.until("\"complete\"").await;
    others.until("\"complete\"").await;
    world.platform.delete(&format!("/admin/token/{id}")).await.is(204);
    acme.create_contact().await.is(200);
    let rest = rest(&mut stream).await.expect("the stream goes on");
    assert!(!rest.contains("event: record"), "what came after the revocation is not told: {rest}");
    // The neighbour's goes on.
    acme.create_contact().await.is(200);
    others.until("\"seq\":6").await;
}

#[tokio::test]
async fn s8_a_stream_ends_when_its_token_expires() {
    let (world, acme) = connected().await;
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
    let spec = json!({ "role": "org", "org": "acme", "expires_at": expires.to_string() });
    let made = world.platform.post("/admin/token", &spec).await.is(201).json;
    let reader = world.platform.with_token(made["token"].as_str().unwrap());
    let mut stream = reader.follow("/org/acme/outbound/stream").await;
    stream.until(": following").await;
    acme.create_contact().await.is(200);
    stream.until("\"complete\"").await;
    let started = Instant::now();
    while jiff::Timestamp::now() < expires {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acme.create_contact().await.is(200);
    let rest = rest(&mut stream).await.expect("the stream goes on");
    assert!(!rest.contains("event: record"), "{rest}");
}

#[tokio::test]
async fn s8_a_stream_ends_with_a_token_that_another_process_revoked() {
    let store = SharedStore::new();
    let stage = Stage { store: Some(std::sync::Arc::clone(&store) as _), ..Stage::default() };
    let (world, _acme) = World::salesforce_on(stage).await;
    let (_engine, there) = world.another_life(store.another()).await;
    let (reader, id) = org_token(&world, "acme").await;
    assert!(Key::of::<TokenIndex>(&[&id]).is_ok());
    let mut stream = reader.follow("/org/acme/outbound/stream").await;
    stream.until(": following").await;
    world.platform.at(there).delete(&format!("/admin/token/{id}")).await.is(204);
    rest(&mut stream).await.expect("the stream goes on");
}

#[tokio::test]
async fn s8_a_stream_of_an_org_that_was_deleted_shows_nothing_of_the_next_of_its_name() {
    let (world, _acme) = connected().await;
    let (reader, _) = org_token(&world, "acme").await;
    let mut stream = reader.follow("/org/acme/outbound/stream").await;
    stream.until(": following").await;
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    world.platform.delete("/admin/org/acme").await.is(204);
    let next = world.tenant("acme", "main").await;
    next.connect("salesforce", json!({ "api_key": KEY })).await;
    next.create_contact().await.is(200);
    let rest = rest(&mut stream).await.expect("the stream goes on");
    assert!(!rest.contains("event: record"), "{rest}");
    let (reader, _) = org_token(&world, "acme").await;
    let mut stream = reader.follow("/org/acme/outbound/stream").await;
    stream.until(": following").await;
    next.create_contact().await.is(200);
    stream.until("\"complete\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_an_export_ends_with_its_token_and_never_looks_complete() {
    let world = World::start().await;
    let definition = json!({
        "connector_id": "long", "display_name": "Long", "auth_type": "none", "allowed_domains": ["*.salesforce.com"],
        "enabled": true, "actions": [{
            "action_id": "act", "http_method": "GET",
            "url_template": "https://api.salesforce.com/v1/{{input.name}}",
            "body_schema": [{ "name": "name", "label": "Name", "required": true }],
        }],
    });
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    // More than the sockets between server and reader hold: two records with this path for each call.
    let input = json!({ "name": "a".repeat(7_000) });
    for _ in 0..40 {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (run, body) = (acme.run.clone(), json!({ "input": input }));
                tokio::spawn(async move { run.post("/run/acme/main/connector/long/act", &body).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().is(200);
        }
    }
    let (reader, id) = org_token(&world, "acme").await;
    let token = reader.token().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut caller = socket.connect(world.platform.address()).await.unwrap();
    let request = format!(
        "GET /org/acme/outbound HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\naccept: application/x-ndjson\r\nconnection: close\r\n\r\n"
    );
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 1024];
    caller.read_exact(&mut start).await.unwrap();
    world.platform.delete(&format!("/admin/token/{id}")).await.is(204);
    tokio::time::sleep(PROMISED).await;
    let mut all = start.to_vec();
    // Why ignored: a reset is an end.
    let _ = timeout(Duration::from_secs(20), caller.read_to_end(&mut all)).await.expect("it ends");
    assert!(!all.ends_with(b"0\r\n\r\n"), "an export that was broken off must not look complete");
    assert!(String::from_utf8_lossy(&start).contains("200 OK"));
}
