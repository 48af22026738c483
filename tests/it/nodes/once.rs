//! What only one of the nodes should do: each is done once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_core::limits::Limits;
use portcullis_engine::clock::WallClock;
use portcullis_engine::nodes::{Duty, is_on_duty};
use portcullis_store::{TokenState, Writes};
use serde_json::{Value, json};

use super::{KEY, Nodes, PATH};
use crate::support::token_server::TokenServer;
use crate::support::world::contact_automation;
use crate::support::{PUBLIC, Stage, lay, salesforce, until};

/// Leases longer than a busy machine keeps a task waiting.
fn limits() -> Limits {
    Limits { job_lease_ms: 5000, webhook_retry_base_ms: 1, webhook_timeout_ms: 5000, ..crate::jobs::quick() }
}

fn start_all(nodes: &Nodes) {
    for node in &nodes.all {
        node.engine.start_jobs();
        node.engine.start_schedules();
        node.engine.start_webhooks();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_run_is_executed_by_one_node() {
    const RUNS: usize = 20;
    let nodes = Nodes::start(limits()).await;
    start_all(&nodes);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let path = "/run/acme/main/connector/salesforce/create-contact";
        let input = json!({ "input": { "Email": format!("{number}@example.org") } }).to_string().into_bytes();
        let accepted = nodes.acme(number % 3).run.send("POST", path, &headers, input).await.is(202);
        runs.push(accepted.json["run_id"].as_str().unwrap().to_owned());
    }
    let mut sent = Vec::new();
    until("all were sent", async || {
        sent = nodes.world.upstream.received_on(PATH).iter().map(|one| one.text().to_owned()).collect();
        sent.len() >= RUNS
    })
    .await;
    for run in &runs {
        let ended = nodes.acme(0).run.get(&format!("/run/acme/main/{run}?wait=30")).await.is(200);
        assert_eq!(ended.json["status"], "succeeded", "{}", ended.text);
    }
    let count = nodes.world.upstream.received_on(PATH).len();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!((sent.len(), count), (RUNS, RUNS), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_told_to_a_webhook_once() {
    const EVENTS: usize = 10;
    let nodes = Nodes::start(limits()).await;
    nodes.world.names.tell("hooks.example.com", &[PUBLIC]);
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["policy.changed"] });
    nodes.acme(0).org.put("/org/acme/webhook/one", &hook).await.is(201);
    start_all(&nodes);
    for number in 0..EVENTS {
        let list = json!({ "domain_allowlist": ["*.salesforce.com", format!("host{number}.example.com")] });
        nodes.acme(number % 3).org.put("/org/acme/settings/integrations", &list).await.is(200);
    }
    let ids = || {
        let received = nodes.world.upstream.received_on("/in");
        let body = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let told = received.iter().filter(|one| body(one.text())["type"] == "policy.changed");
        told.map(|one| one.header("webhook-id").join(",")).collect::<Vec<_>>()
    };
    until("all are told", async || ids().len() >= EVENTS).await;
    let delivered = async || {
        let page = nodes.acme(1).org.get("/org/acme/webhook/one/delivery?state=delivered").await.is(200);
        page.json["data"].as_array().unwrap().len()
    };
    until("all are noted", async || delivered().await == EVENTS).await;
    let mut told = ids();
    told.sort_unstable();
    told.dedup();
    assert_eq!((told.len(), ids().len()), (EVENTS, EVENTS), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_of_a_schedule_fires_once() {
    let ms = |time: &str| u64::try_from(time.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap();
    let times = ["2026-11-30T08:00:00Z", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"];
    let now = Arc::new(AtomicU64::new(ms("2026-11-30T07:30:00Z")));
    let shown = Arc::clone(&now);
    let clock = WallClock::new(move || shown.load(Ordering::SeqCst));
    let nodes = Nodes::on(Stage { limits: limits(), clock, ..Stage::default() }, &salesforce()).await;
    let mut automation = contact_automation();
    for name in ["entity_name", "event_name", "event_stage", "event_optype"] {
        automation.as_object_mut().unwrap().remove(name);
    }
    let scheduled = json!({
        "schedule": { "cron": "0 * * * *", "timezone": "UTC" },
        "destination_config": { "field_mapping": { "Email": "{{source.schedule.at}}" } },
    });
    lay(&mut automation, &scheduled);
    let made = nodes.acme(0).org.post("/org/acme/automation", &automation).await.is(201);
    let path = format!("/org/acme/automation/{}", made.json["automation_id"].as_str().unwrap());
    start_all(&nodes);
    for (round, at) in times.into_iter().enumerate() {
        now.store(ms(at), Ordering::SeqCst);
        nodes.all.iter().for_each(|node| node.engine.wake_schedules());
        until("the end is noted", async || {
            let shown = nodes.acme(round % 3).org.get(&path).await.is(200).json;
            let last = &shown["schedule_state"]["last"];
            (&last["at"], &last["runs"]) == (&json!(at), &json!(1))
        })
        .await;
        until("it was sent", async || nodes.world.upstream.received_on(PATH).len() > round).await;
    }
    let mut sent: Vec<String> =
        nodes.world.upstream.received_on(PATH).iter().map(|one| one.text().to_owned()).collect();
    let count = sent.len();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!((sent.len(), count), (times.len(), times.len()), "each time once: {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_by_one_node_for_all() {
    const LOGIN: &str = "login.salesforce.com";
    let field = |name: &str| json!({ "name": name, "type": "password", "required": true });
    let definition = json!({
        "connector_id": "saas", "display_name": "Example", "auth_type": "oauth2_client_credentials",
        "auth": { "token_url": format!("https://{LOGIN}/oauth/token") },
        "auth_schema": { "fields": [field("client_id"), field("client_secret")] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{
            "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things",
        }],
    });
    let nodes = Nodes::start(limits()).await;
    nodes.world.names.tell(LOGIN, &[PUBLIC]);
    nodes.world.platform.post("/admin/connector", &definition).await.is(201);
    let server = TokenServer::on(&nodes.world.upstream);
    nodes.acme.connect("saas", json!({ "client_id": "client-7f3a", "client_secret": KEY })).await;
    nodes.acme(0).call("saas", "list", json!({})).await.is(200);
    let before = server.asked().len();
    let parts = ["acme", "main", "saas"];
    let records = nodes.world.engine.records();
    let (mut token, commit) = records.get::<TokenState>(&parts).await.unwrap().unwrap();
    token.expires_at = Some("2020-01-01T00:00:00Z".to_owned());
    records.commit(Writes::new().replace(&parts, &token, commit)).await.unwrap();
    nodes.followed().await;
    let calls: Vec<_> = (0..9)
        .map(|number| {
            let acme = nodes.acme(number % 3);
            tokio::spawn(async move { acme.call("saas", "list", json!({})).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().is(200).json["status"], "succeeded");
    }
    assert_eq!(server.asked().len(), before + 1, "one renewal for all nodes");
}

#[tokio::test]
async fn one_node_sweeps_for_all() {
    let nodes = Nodes::start(limits()).await;
    let mut on_duty = Vec::new();
    for (number, node) in nodes.all.iter().enumerate() {
        if is_on_duty(&node.engine, Duty::Sessions, Duration::from_secs(60)).await {
            on_duty.push(number);
        }
    }
    assert_eq!(on_duty, [0]);
    assert!(is_on_duty(&nodes.all[0].engine, Duty::Sessions, Duration::from_secs(60)).await);
}
