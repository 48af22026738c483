//! A node that cannot read the feed of changes makes no calls until it can; the others go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Nodes, PATH};
use crate::support::{Script, until};

/// How long a node may be blind here.
const SILENCE: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    let silence_ms = u64::try_from(SILENCE.as_millis()).unwrap();
    Limits { changes_unread_ms: silence_ms, ..crate::jobs::quick() }
}

async fn until_ready(nodes: &Nodes, node: usize, ready: bool) {
    let platform = nodes.platform(node);
    until(&format!("readyz says {ready}"), async || platform.get("/readyz").await.json["ready"] == ready)
        .await;
}

#[tokio::test]
async fn a_node_whose_feed_cannot_be_read_refuses_calls_until_it_can() {
    let nodes = Nodes::start(limits()).await;
    nodes.acme(1).create_contact().await.is(200);
    nodes.all[1].store.break_feed(true);
    let broken = Instant::now();
    until_ready(&nodes, 1, false).await;
    assert!(broken.elapsed() >= SILENCE / 2, "one failed read is not enough");
    let readiness = nodes.platform(1).get("/readyz").await.is(503).json;
    assert_eq!((&readiness["changes"], &readiness["store"]), (&json!(false), &json!(true)), "{readiness}");
    let sent = nodes.world.upstream.received().len();
    let refused = nodes.acme(1).create_contact().await.problem(Code::StoreUnavailable);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.text.contains("limits.changes_unread_ms"), "{}", refused.text);
    let trial = format!("{}/test", nodes.acme.setting("salesforce"));
    assert_ne!(nodes.acme(1).workspace.post(&trial, &json!({})).await.json["ok"], true);
    assert_eq!(nodes.world.upstream.received().len(), sent, "nothing leaves");
    // What sends nothing goes on, also there.
    nodes.acme(1).workspace.get(&nodes.acme.setting("salesforce")).await.is(200);
    nodes.acme(0).create_contact().await.is(200);
    // What was changed meanwhile holds from the first call on.
    nodes.platform(0).patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    nodes.all[1].store.break_feed(false);
    until_ready(&nodes, 1, true).await;
    assert_eq!(nodes.acme(1).create_contact().await.is(200).json["reason"], "connector_disabled");
    nodes.platform(0).patch("/admin/connector/salesforce", &json!({ "enabled": true })).await.is(200);
    nodes.followed().await;
    assert_eq!(nodes.acme(1).create_contact().await.is(200).json["status"], "succeeded");
}

#[tokio::test]
async fn a_read_that_hangs_counts_like_one_that_fails_and_ends_what_runs() {
    let nodes = Nodes::start(limits()).await;
    let upstream = Arc::new(Semaphore::new(0));
    let answer = Box::new(Script::Json(200, r#"{"id":"1"}"#));
    nodes.world.upstream.script(PATH, Script::Held(Arc::clone(&upstream), answer));
    let begin = |node: usize| {
        let acme = nodes.acme(node);
        tokio::spawn(async move { acme.create_contact().await })
    };
    let (here, there) = (begin(1), begin(0));
    until("both wait for the vendor", async || nodes.world.upstream.received_on(PATH).len() == 2).await;
    let feed = nodes.all[1].store.delay_feed().await;
    here.await.unwrap().problem(Code::StoreUnavailable);
    nodes.acme(1).create_contact().await.problem(Code::StoreUnavailable);
    upstream.add_permits(10);
    there.await.unwrap().is(200);
    // The feed does not reach back that far any more: everything is read again.
    nodes.all[1].store.truncate_feed();
    drop(feed);
    until_ready(&nodes, 1, true).await;
    nodes.acme(1).create_contact().await.is(200);
}

#[tokio::test]
async fn a_blind_node_executes_no_accepted_run_and_another_one_does() {
    let nodes = Nodes::start(limits()).await;
    nodes.all[1].engine.start_jobs();
    nodes.all[1].engine.start_schedules();
    nodes.all[1].engine.start_webhooks();
    nodes.all[1].store.break_feed(true);
    until_ready(&nodes, 1, false).await;
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let input = json!({ "input": { "Email": "ada@example.org" } }).to_string().into_bytes();
    let accepted = nodes.acme(1).run.send("POST", path, &headers, input).await.is(202);
    let run = format!("/run/acme/main/{}", accepted.json["run_id"].as_str().unwrap());
    // Why so long: the worker looks each second where others share the store.
    let waited = nodes.acme(1).run.get(&format!("{run}?wait=3")).await.is(200);
    assert_eq!(waited.json["status"], "queued", "{}", waited.text);
    assert!(nodes.world.upstream.received_on(PATH).is_empty());
    nodes.all[0].engine.start_jobs();
    until("another node executes it", async || nodes.world.upstream.received_on(PATH).len() == 1).await;
    nodes.all[1].store.break_feed(false);
    until_ready(&nodes, 1, true).await;
}
