//! Three engines on one database, whose upstream records what it gets: changes, budgets, keys, and a primary that is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::{PostgresOptions, migrate};
use serde_json::json;

use crate::keys::{Keys, finished, key_of};
use crate::nodes::{Below, KEY, Nodes, PATH, budgets, changes};
use crate::support::figures::{count, print_line};
use crate::support::{Script, Stage, salesforce, until};

async fn database(cluster: &Cluster) -> Below {
    let url = cluster.database();
    migrate(&PostgresOptions::new(url.clone()), None).await.unwrap();
    Below::Postgres(url)
}

fn stage() -> Stage {
    Stage { limits: Limits { concurrent_calls: 32, ..Limits::default() }, ..Stage::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_node_is_effective_on_all_within_two_seconds_without_a_hint() {
    let Some(cluster) = Cluster::shared() else { return };
    let nodes = Nodes::over(&database(cluster).await, stage(), &salesforce()).await;
    changes::changes_are_effective(nodes, "changes on three nodes of a database, without NOTIFY").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_of_a_database_send_no_more_than_the_budget() {
    let Some(cluster) = Cluster::shared() else { return };
    let stage = Stage { limits: budgets::limits(), ..Stage::default() };
    let nodes = Nodes::over(&database(cluster).await, stage, &budgets::budgeted()).await;
    budgets::together(nodes, "a budget of three nodes of a database").await;
}

/// A rotation of the master key on three nodes, each of which makes calls all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_promoted_on_three_nodes_without_a_failed_call() {
    let Some(cluster) = Cluster::shared() else { return };
    let limits = Limits { key_rewraps_per_second: 20, concurrent_calls: 32, ..Limits::default() };
    let stage = Stage { limits, ..Stage::default() };
    let nodes = Arc::new(Nodes::over(&database(cluster).await, stage, &salesforce()).await);
    for number in 0..count("PORTCULLIS_ROTATION_WORKSPACES", 40) {
        let tenant = nodes.world.tenant("globex", &format!("w{number}")).await;
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
    }
    let keys = Keys::new();
    for node in &nodes.all {
        node.engine.start_keys();
        node.engine.replace_master_keys(keys.both().into()).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|node| {
            let (acme, stop) = (nodes.acme(node), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(acme.create_contact().await.is(200).json["status"], "succeeded");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let platform = nodes.platform(1);
    until("every node says that it has the key", async || {
        platform.post("/admin/key/rotate", &keys.promote()).await.status == 200
    })
    .await;
    let after = finished(&platform).await;
    stop.store(true, Ordering::SeqCst);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert_eq!(key_of(&after, &keys.old)["wrapped"], 0, "{after}");
    for node in 0..3 {
        nodes.all[node].engine.replace_master_keys(keys.new.clone().into()).await.unwrap();
        nodes.acme(node).create_contact().await.is(200);
    }
    let line = json!({ "calls": calls, "failed": 0, "rewrapped": after["rotation"]["rewrapped"] });
    print_line("rotation under load on three nodes", &line);
    assert!(calls > 0);
}

/// What the upstream got: when, and with which credential in its head.
type Seen = Arc<Mutex<Vec<(Instant, String)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_old_credential_is_used_once_a_new_one_is_saved_also_when_the_primary_is_killed() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let restarts = count("PORTCULLIS_PRIMARY_KILLS", 2);
    let nodes = Arc::new(Nodes::over(&database(&cluster).await, stage(), &salesforce()).await);
    let seen: Seen = Arc::default();
    let noted = Arc::clone(&seen);
    nodes.world.upstream.script(
        PATH,
        Script::made(move |request| {
            noted.lock().unwrap().push((Instant::now(), request.head.clone()));
            Script::Json(201, r#"{"id":"1"}"#)
        }),
    );
    let calling: Vec<_> = (0..3)
        .map(|node| {
            let acme = nodes.acme(node);
            tokio::spawn(async move {
                loop {
                    // Whatever the answer: some calls fail while the database is away.
                    acme.create_contact().await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    let mut saved: Vec<(Instant, String)> = Vec::new();
    for round in 0..restarts {
        for number in 0..3 {
            let key = format!("sk-{round}-{number}-0123456789abcdef");
            let acme = nodes.acme(number);
            let setting = json!({ "enabled": true, "config": { "api_key": key } });
            until("the credential is saved", async || {
                acme.workspace.put(&acme.setting("salesforce"), &setting).await.status == 200
            })
            .await;
            saved.push((Instant::now(), key));
            if number == 1 {
                cluster.kill();
                cluster.run();
            }
        }
        let newest = saved.last().unwrap().1.clone();
        for node in 0..3 {
            until("every node calls with the newest credential", async || {
                let before = seen.lock().unwrap().len();
                let answer = nodes.acme(node).create_contact().await;
                let seen = seen.lock().unwrap();
                answer.status == 200 && seen[before..].iter().any(|(_, key)| key.contains(&newest))
            })
            .await;
        }
    }
    calling.iter().for_each(tokio::task::JoinHandle::abort);
    let seen = seen.lock().unwrap();
    let age = |(at, key): &(Instant, String)| {
        let nth = saved.iter().position(|(_, saved)| key.contains(saved));
        let next = saved.get(nth.map_or(0, |nth| nth + 1))?;
        at.checked_duration_since(next.0)
    };
    let oldest = seen.iter().filter_map(age).max().unwrap_or_default();
    let promised = Duration::from_millis(Limits::default().changes_unread_ms);
    let stale = seen.iter().filter_map(age).filter(|age| *age > promised).count();
    let line = json!({
        "kills": restarts, "saved": saved.len(), "requests": seen.len(), "stale": stale,
        "longest_use_of_an_old_one_ms": oldest.as_millis(),
    });
    print_line("kill -9 of the primary", &line);
    assert_eq!(stale, 0, "{line}");
    assert!(seen.len() > 3 * restarts, "{line}");
}
