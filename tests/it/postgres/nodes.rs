//! Three nodes on one database: a change on one is effective on the others, and a database that goes away comes back
//! without anybody's help.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis_store_conformance::cluster::Cluster;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::installation::{Installation, until};
use crate::field_cases::damage::kills::{Load, missing, print_line};
use crate::field_cases::damage::product::{Product, Reply, call, input, prepare, refused_call};
use crate::support::figures::count;

/// A change is effective on every node within this time while the database answers.
const EFFECTIVE: Duration = Duration::from_secs(2);

fn nodes(installed: &Installation) -> Vec<Product> {
    ["one", "two", "three"].map(|name| installed.node(name)).into()
}

#[tokio::test]
async fn what_one_node_changes_is_effective_on_the_others_within_two_seconds() {
    let Some(cluster) = Cluster::shared() else { return };
    let changes = count("PORTCULLIS_NODE_CHANGES", 5);
    let installed = Installation::new(cluster);
    let nodes = nodes(&installed);
    let tokens = prepare(&nodes[0], &installed.platform).await;
    let (call, input) = (call("acme"), input());
    let mut took = Vec::new();
    for round in 0..changes {
        let (by, others) = (&nodes[round % 3], [&nodes[(round + 1) % 3], &nodes[(round + 2) % 3]]);
        // The connector off and on: another code of the same call.
        for enabled in [false, true] {
            let code = |reply: &Reply| reply.json()["code"] == "host_not_in_org";
            let body = json!({ "enabled": enabled });
            by.ask(&tokens.platform, "PATCH", "/admin/connector/salesforce", &body).await.is(200);
            let done = Instant::now();
            for other in others {
                until(other, &tokens.orgs[0].run, ("POST", &call, &input), |reply| code(reply) == enabled)
                    .await;
            }
            took.push(done.elapsed());
        }
        // A token that was used there is revoked here.
        let spec = json!({ "role": "run", "org": "acme" });
        let made = by.ask(&tokens.platform, "POST", "/admin/token", &spec).await.is(201).json();
        let (token, id) = (made["token"].as_str().unwrap(), made["token_id"].as_str().unwrap());
        for other in others {
            other.get(token, "/run/acme/main").await.is(200);
        }
        by.ask(&tokens.platform, "DELETE", &format!("/admin/token/{id}"), &Value::Null).await.is(204);
        let done = Instant::now();
        for other in others {
            until(other, token, ("GET", "/run/acme/main", &Value::Null), |reply| reply.status == 401).await;
        }
        took.push(done.elapsed());
    }
    took.sort();
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    print_line(
        "changes on three nodes",
        &json!({ "changes": took.len(), "p99_ms": ms(p99), "max_ms": ms(took[took.len() - 1]) }),
    );
    assert!(p99 <= EFFECTIVE, "{took:?}");
}

/// A socket of PostgreSQL's name, through which a node reaches the database until it is cut.
struct Wire {
    dir: tempfile::TempDir,
    cut: Arc<AtomicBool>,
}

impl Wire {
    /// Between a node and the database of this address.
    fn of(url: &str) -> Self {
        let (dir, cut) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
        let name = format!(".s.PGSQL.{PORT}");
        let listener = UnixListener::bind(dir.path().join(&name)).unwrap();
        let (there, is_cut) = (Path::new(socket_dir(url)).join(name), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = UnixStream::connect(&there).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pump(near_in, far_out, Arc::clone(&is_cut)));
                tokio::spawn(pump(far_in, near_out, Arc::clone(&is_cut)));
            }
        });
        Self { dir, cut }
    }

    /// The same database through this.
    fn through(&self, url: &str) -> String {
        url.replace(socket_dir(url), self.dir.path().to_str().unwrap())
    }
}

/// The port in the name of the socket.
const PORT: u16 = 5432;

/// The directory of the server's socket.
fn socket_dir(url: &str) -> &str {
    url.split_once("host=").unwrap().1.split('&').next().unwrap()
}

/// Passes bytes on, and none while it is cut: the connections stay open and silent.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: Arc<AtomicBool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut bytes).await {
        while cut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_the_database_stops_calling_within_five_seconds() {
    let Some(cluster) = Cluster::shared() else { return };
    let installed = Installation::new(cluster);
    let wire = Wire::of(&installed.url);
    let apart = installed.node_at(&wire.through(&installed.url), "apart");
    let other = installed.node("other");
    let tokens = prepare(&other, &installed.platform).await;
    let (call, input) = (call("acme"), input());
    // Each call of the load is refused by the org's list: so it came as far as to be judged.
    let is_judged = |reply: &Reply| reply.json()["code"] == "host_not_in_org";
    until(&apart, &tokens.orgs[0].run, ("POST", &call, &input), is_judged).await;
    wire.cut.store(true, Ordering::SeqCst);
    let cut = Instant::now();
    let mut last = cut;
    while cut.elapsed() < Duration::from_secs(8) {
        let sent = Instant::now();
        let asked = apart.try_ask(&tokens.orgs[0].run, "POST", &call, &input);
        match tokio::time::timeout(Duration::from_secs(8), asked).await {
            Ok(Ok(reply)) if is_judged(&reply) => last = sent,
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let line = json!({ "last_judged_ms": (last - cut).as_millis() as u64 });
    print_line("a node that is cut off", &line);
    assert!(last - cut <= Duration::from_secs(5), "{line}");
    until(&apart, "", ("GET", "/readyz", &Value::Null), |reply| reply.status == 503).await;
    assert!(is_judged(&other.ask(&tokens.orgs[0].run, "POST", &call, &input).await));
    wire.cut.store(false, Ordering::SeqCst);
    until(&apart, &tokens.orgs[0].run, ("POST", &call, &input), is_judged).await;
}

#[tokio::test]
async fn a_restart_of_the_database_costs_calls_only_while_it_is_away_and_nothing_that_was_answered() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let installed = Installation::new(&cluster);
    let nodes = nodes(&installed);
    let tokens = prepare(&nodes[0], &installed.platform).await;
    let loads: Vec<_> =
        nodes.iter().enumerate().map(|(nth, node)| Load::start(node.address, &tokens, nth)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.kill();
    // Long enough for every node to know that it is blind.
    until(&nodes[0], "", ("GET", "/readyz", &Value::Null), |reply| reply.status == 503).await;
    let away = nodes[1].try_ask(&tokens.orgs[0].run, "POST", &call("acme"), &input()).await.unwrap();
    assert_eq!(away.status, 503, "without a ledger nothing leaves: {}", away.text);
    cluster.run();
    for node in &nodes {
        let back = until(node, "", ("GET", "/readyz", &Value::Null), |reply| reply.status == 200).await;
        print_line("after the database's restart", &json!({ "ready_again_ms": back.as_millis() as u64 }));
        until(node, &tokens.orgs[0].run, ("POST", &call("acme"), &input()), |reply| {
            reply.json()["code"] == "host_not_in_org"
        })
        .await;
    }
    let mut lost = Vec::new();
    let mut runs = 0;
    for load in loads {
        let answered = load.end().await;
        runs += answered.runs.iter().map(Vec::len).sum::<usize>();
        lost.extend(missing(&nodes[2], &tokens, &answered, Instant::now()).await);
    }
    // A call that was made as the database went away is answered, because what it sent cannot be taken back. Its run then
    // may have no record, and the log says so; its ledger has one.
    let logs: String = nodes.iter().map(Product::log).collect();
    let is_told = |finding: &String| {
        let run = finding.strip_prefix("run ").and_then(|rest| rest.split(':').next());
        let told =
            |id: &str| logs.lines().any(|line| line.contains(id) && line.contains("could not be kept"));
        run.is_some_and(told)
    };
    let unkept = lost.extract_if(.., |finding| is_told(finding)).count();
    print_line("runs without a record, which the log names", &json!({ "runs": runs, "unkept": unkept }));
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(runs > 0);
    refused_call(&nodes[1], &tokens, 1).await;
}
