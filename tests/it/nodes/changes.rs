//! A change by one node is effective on all of them within two seconds. A larger number with `PORTCULLIS_NODE_CHANGES`.

use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{KEY, Nodes};
use crate::support::figures::{count, print_line};

/// How many changes are made.
const CHANGES: usize = 20;
/// How soon almost each of them is effective everywhere.
const PROMISED: Duration = Duration::from_secs(2);

/// What a call is answered at a node.
async fn answered(nodes: &Nodes, node: usize) -> Value {
    let answer = nodes.acme(node).create_contact().await;
    json!([answer.status, answer.json["status"], answer.json["reason"], answer.json["code"]])
}

/// Whether a call succeeds at a node.
async fn goes(nodes: &Nodes, node: usize) -> bool {
    let answer = nodes.acme(node).create_contact().await;
    answer.json["status"] == "succeeded"
}

/// Makes a change at a node; returns how long it took until no node made a call any more.
async fn made(nodes: &Nodes, kind: usize, by: usize) -> Duration {
    let (platform, acme) = (nodes.platform(by), nodes.acme(by));
    let stops = |status: u16, code: &'static str| {
        async move |node: usize| {
            let answer = answered(nodes, node).await;
            answer[0] == status && (answer[2] == code || answer[3] == code)
        }
    };
    match kind {
        0 => {
            platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
            nodes.effective(Instant::now(), "it is switched off", stops(200, "connector_disabled")).await
        }
        1 => {
            acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
            nodes.effective(Instant::now(), "it opted out", stops(200, "opted_out")).await
        }
        2 => {
            acme.allow(json!([]), "enforce").await;
            nodes.effective(Instant::now(), "the list is empty", stops(403, "host_not_in_org")).await
        }
        3 => {
            let spec = json!({ "role": "run", "org": "acme", "workspace": "main" });
            let token = platform.post("/admin/token", &spec).await.is(201).json;
            let caller = nodes.world.platform.with_token(token["token"].as_str().unwrap());
            let call = async |node: usize| {
                let path = "/run/acme/main/connector/salesforce/create-contact";
                let body = json!({ "input": { "Email": "ada@example.org" } });
                caller.at(nodes.all[node].address).post(path, &body).await.status
            };
            for node in 0..nodes.all.len() {
                assert_eq!(call(node).await, 200, "a new token is known everywhere at once");
            }
            let id = token["token_id"].as_str().unwrap();
            platform.delete(&format!("/admin/token/{id}")).await.is(204);
            nodes.effective(Instant::now(), "it is revoked", async |node| call(node).await == 401).await
        }
        _ => {
            platform.delete("/admin/org/acme/workspace/main").await.is(204);
            nodes
                .effective(Instant::now(), "it is deleted", async |node| {
                    // Why both: the tokens of a workspace go with it.
                    matches!(nodes.acme(node).create_contact().await.status, 401 | 404)
                })
                .await
        }
    }
}

/// Undoes it at another node.
async fn undone(nodes: &mut Nodes, kind: usize, by: usize) {
    let (platform, acme) = (nodes.platform(by), nodes.acme(by));
    match kind {
        0 => {
            platform.patch("/admin/connector/salesforce", &json!({ "enabled": true })).await.is(200);
        }
        1 => {
            acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": true })).await.is(200);
        }
        2 => acme.allow(Value::Null, "enforce").await,
        3 => {}
        _ => {
            nodes.followed().await;
            nodes.acme = nodes.world.tenant("acme", "main").await;
            nodes.acme.connect("salesforce", json!({ "api_key": KEY })).await;
        }
    }
    nodes.effective(Instant::now(), "calls are made again", async |node| goes(nodes, node).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_node_is_effective_on_all_within_two_seconds() {
    let nodes = Nodes::start(Limits { concurrent_calls: 32, ..Limits::default() }).await;
    changes_are_effective(nodes, "changes by one of three nodes, effective on all").await;
}

/// Makes changes of five kinds, each by another node, and waits until all follow.
pub(crate) async fn changes_are_effective(mut nodes: Nodes, title: &str) {
    let changes = count("PORTCULLIS_NODE_CHANGES", CHANGES);
    let mut took = Vec::new();
    for number in 0..changes {
        let (kind, by) = (number % 5, number % 3);
        for node in 0..3 {
            assert!(goes(&nodes, node).await, "before change {number}, at node {node}");
        }
        took.push(made(&nodes, kind, by).await);
        undone(&mut nodes, kind, (by + 1) % 3).await;
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100).saturating_sub(1)];
    print_line(
        title,
        &json!({
            "changes": changes,
            "p50_ms": at(50).as_millis(), "p99_ms": at(99).as_millis(), "max_ms": took[took.len() - 1].as_millis(),
        }),
    );
    assert!(at(99) <= PROMISED, "{took:?}");
}

#[tokio::test]
async fn what_is_made_at_one_node_can_be_used_at_another_at_once() {
    let nodes = Nodes::start(Limits { concurrent_calls: 32, ..Limits::default() }).await;
    // Nobody is told of anything.
    let _feeds = [nodes.all[1].store.delay_feed().await, nodes.all[2].store.delay_feed().await];
    let other = nodes.acme(1);
    other.workspace.get(&other.setting("salesforce")).await.is(200);
    let globex = nodes.world.tenant("globex", "main").await;
    globex.at(nodes.all[1].address).connect("salesforce", json!({ "api_key": KEY })).await;
    let called = globex.at(nodes.all[2].address).create_contact().await.is(200);
    assert_eq!(called.json["status"], "succeeded");
}
