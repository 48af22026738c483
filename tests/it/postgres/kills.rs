//! SIGKILL of a random node under load: nothing that any node had answered is lost, nothing fails but what that node was
//! about to answer, and every accepted run comes to its end on another node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_store_conformance::cluster::Cluster;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::installation::{Installation, until};
use crate::field_cases::damage::kills::{Load, missing, print_line};
use crate::field_cases::damage::product::{Tokens, ask_with, call, input, prepare};
use crate::support::binary::run;
use crate::support::figures::{Random, count, seed};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Asks a node for accepted runs until it is gone.
struct Accepting {
    task: JoinHandle<()>,
    accepted: Arc<Mutex<Vec<String>>>,
}

impl Accepting {
    fn start(address: SocketAddr, tokens: &Tokens) -> Self {
        let accepted: Arc<Mutex<Vec<String>>> = Arc::default();
        let (token, kept) = (tokens.orgs[0].run.clone(), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            let later = ("prefer", "respond-async");
            while let Ok(reply) = ask_with(address, &token, "POST", &call("acme"), &input(), later).await {
                if reply.status == 202 {
                    kept.lock().unwrap().push(reply.json()["run_id"].as_str().unwrap().to_owned());
                }
                // Why: the load beside it is what fills the database; these are to be ended as well.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { task, accepted }
    }

    async fn end(self) -> Vec<String> {
        self.task.abort();
        // Why ignored: it may have ended by itself.
        let _ = self.task.await;
        std::mem::take(&mut *self.accepted.lock().unwrap())
    }
}

/// Kills of one installation. Why so few: each look at what is there reads all of it, and it grows.
const KILLS_OF_ONE: usize = 25;

/// What was seen of kills.
#[derive(Default)]
struct Seen {
    runs: usize,
    orgs: usize,
    accepted: usize,
    /// Requests that a node did not answer because it was killed.
    cut_off: usize,
    lost: Vec<String>,
    /// Other requests that were not answered as they should be.
    failed: Vec<String>,
}

/// Makes an installation of three nodes, and kills one of them at random under load, `kills` times.
async fn kill(cluster: &Cluster, kills: usize, random: &mut Random, seen: &mut Seen) {
    let installed = Installation::new(cluster);
    // A lease that ends soon, so that what a killed node had is taken up within the test.
    let start = |nth: usize| installed.try_node(NAMES[nth], &["--limit", "job_lease_ms=2000"]).unwrap();
    let mut nodes: Vec<_> = (0..3).map(start).collect();
    let tokens = prepare(&nodes[0], &installed.platform).await;
    let mut jobs = Vec::new();
    for round in 0..kills {
        let loads: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(nth, node)| {
                (Load::start(node.address, &tokens, round * 3 + nth), Accepting::start(node.address, &tokens))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100 + random.below(400) as u64)).await;
        let killed = random.below(3);
        nodes.remove(killed).kill();
        let witness = &nodes[0];
        for (nth, (load, accepting)) in loads.into_iter().enumerate() {
            let mut answered = load.end().await;
            if nth == killed {
                seen.cut_off += answered.failed.len();
                seen.failed.extend(answered.failed.drain(..).skip(Load::UNDER_WAY));
            } else {
                seen.failed.append(&mut answered.failed);
            }
            seen.runs += answered.runs.iter().map(Vec::len).sum::<usize>();
            seen.orgs += answered.orgs.len();
            seen.lost.extend(missing(witness, &tokens, &answered, Instant::now()).await);
            jobs.extend(accepting.end().await);
        }
        nodes.insert(killed, start(killed));
    }
    for job in &jobs {
        let path = format!("/run/acme/main/{job}");
        let ended = |status: &Value| !["queued", "running", "waiting"].iter().any(|open| status == open);
        until(&nodes[0], &tokens.orgs[0].run, ("GET", &path, &Value::Null), |reply| {
            reply.status == 200 && ended(&reply.json()["status"])
        })
        .await;
    }
    seen.accepted += jobs.len();
    // Every ledger verifies, by the database and by what was exported from it.
    installed.run(&["ledger", "verify"]).exits(0);
    let exported = nodes[0].get(&tokens.orgs[0].org, "/org/acme/outbound#ndjson").await.is(200);
    let file = installed.dir.path().join("acme.ndjson");
    std::fs::write(&file, exported.text).unwrap();
    run(installed.dir.path(), &["ledger", "verify", "--export", file.to_str().unwrap()]).exits(0);
    installed.run(&["fsck"]).exits(0);
}

#[tokio::test]
async fn no_acknowledged_write_and_no_accepted_run_is_lost_when_nodes_are_killed() {
    let Some(cluster) = Cluster::shared() else { return };
    let kills = count("PORTCULLIS_NODE_KILLS", 3);
    let seed = seed();
    let (mut random, mut seen) = (Random(seed), Seen::default());
    for before in (0..kills).step_by(KILLS_OF_ONE) {
        kill(cluster, KILLS_OF_ONE.min(kills - before), &mut random, &mut seen).await;
    }
    let line = json!({
        "kills": kills, "seed": seed, "runs": seen.runs, "records": seen.orgs, "accepted": seen.accepted,
        "lost": seen.lost.len(), "cut_off": seen.cut_off, "failed_elsewhere": seen.failed.len(),
    });
    print_line("kill -9 of nodes", &line);
    assert!(seen.lost.is_empty(), "{:#?}", seen.lost);
    assert!(seen.failed.is_empty(), "{:#?}", seen.failed);
    assert!(seen.runs > kills && seen.orgs > 0 && seen.accepted > 0, "the load did something: {line}");
}
