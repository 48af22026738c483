//! SIGKILL at random moments: nothing that was answered is lost, and nothing is torn.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::product::{Product, Random, Tokens, ask, call, count, input, prepare};
use crate::support::binary;
pub(crate) use crate::support::figures::print_line;
use crate::support::until;

/// What was answered, and when.
#[derive(Default)]
pub(crate) struct Acknowledged {
    /// Run ids of each org, which stand in its ledger as well.
    pub(crate) runs: [Vec<(String, Instant)>; 2],
    /// Orgs that the platform made.
    pub(crate) orgs: Vec<String>,
    /// What was not answered as it should be: calls that no check refused, orgs that were not made.
    pub(crate) failed: Vec<String>,
}

/// Sends calls and an admin's writes until the process is gone or this is dropped.
pub(crate) struct Load {
    tasks: JoinSet<()>,
    acknowledged: Arc<Mutex<Acknowledged>>,
}

impl Load {
    /// Requests that are under way at a time: of three callers and an admin.
    pub(crate) const UNDER_WAY: usize = 4;

    pub(crate) fn start(address: SocketAddr, tokens: &Tokens, round: usize) -> Self {
        let acknowledged: Arc<Mutex<Acknowledged>> = Arc::default();
        let mut tasks = JoinSet::new();
        for (nth, org) in ["acme", "other"].into_iter().enumerate().chain([(0, "acme")]) {
            let (run, kept) = (tokens.orgs[nth].run.clone(), Arc::clone(&acknowledged));
            tasks.spawn(async move {
                loop {
                    let asked = ask(address, &run, "POST", &call(org), &input()).await;
                    let mut kept = kept.lock().unwrap();
                    let reply = match asked {
                        Ok(reply) => reply,
                        Err(error) => return kept.failed.push(format!("call: {error}")),
                    };
                    // The org's list refuses each call.
                    if reply.status != 403 {
                        kept.failed.push(format!("call: {} {}", reply.status, reply.text));
                    }
                    // What the storage could not take is not acknowledged.
                    let acknowledged = reply.status != 503;
                    if let Some(id) = reply.json()["run"]["run_id"].as_str().filter(|_| acknowledged) {
                        kept.runs[nth].push((id.to_owned(), Instant::now()));
                    }
                }
            });
        }
        let (platform, kept) = (tokens.platform.clone(), Arc::clone(&acknowledged));
        tasks.spawn(async move {
            for nth in 0_usize.. {
                let org = format!("made-{round}-{nth}");
                let asked = ask(address, &platform, "POST", "/admin/org", &json!({ "org": org })).await;
                let mut kept = kept.lock().unwrap();
                match asked {
                    Ok(reply) if reply.status == 201 => kept.orgs.push(org),
                    Ok(reply) => kept.failed.push(format!("org: {} {}", reply.status, reply.text)),
                    Err(error) => return kept.failed.push(format!("org: {error}")),
                }
            }
        });
        Self { tasks, acknowledged }
    }

    /// Waits until something of each kind was answered: a machine that is busy takes a while.
    async fn answered(&self) {
        let has_answered = async || {
            let acknowledged = self.acknowledged.lock().unwrap();
            !acknowledged.orgs.is_empty() && acknowledged.runs.iter().any(|runs| !runs.is_empty())
        };
        until("a run and an org were answered", has_answered).await;
    }

    /// What was answered, once the process is gone.
    pub(crate) async fn end(mut self) -> Acknowledged {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// What is missing or torn after a restart, of what was answered before `until`.
pub(crate) async fn missing(
    product: &Product,
    tokens: &Tokens,
    acknowledged: &Acknowledged,
    until: Instant,
) -> Vec<String> {
    let mut missing = Vec::new();
    for (nth, org) in ["acme", "other"].into_iter().enumerate() {
        let mine = &tokens.orgs[nth];
        let verify = product.get(&mine.org, &format!("/org/{org}/outbound/verify")).await;
        if verify.json()["intact"] != true {
            missing.push(format!("the ledger of {org}: {}", verify.text));
        }
        let export = product.get(&mine.org, &format!("/org/{org}/outbound#ndjson")).await;
        let in_ledger: HashSet<&str> = export.text.lines().filter_map(run_of).collect();
        for (id, at) in &acknowledged.runs[nth] {
            if *at > until {
                continue;
            }
            let found = product.get(&mine.run, &format!("/run/{org}/main/{id}")).await;
            if found.json()["run_id"] != id.as_str() {
                missing.push(format!("run {id}: {} {}", found.status, found.text));
            }
            if !in_ledger.contains(id.as_str()) {
                missing.push(format!("ledger of run {id}: {} {}", export.status, found.text));
            }
        }
        let listed = product.get(&mine.run, &format!("/run/{org}/main?limit=100")).await;
        if listed.status != 200 {
            missing.push(format!("the runs of {org}: {}", listed.text));
        }
    }
    for org in &acknowledged.orgs {
        let found = product.get(&tokens.platform, &format!("/admin/org/{org}")).await;
        if found.status != 200 {
            missing.push(format!("org {org}: {} {}", found.status, found.text));
        }
    }
    missing
}

/// The run of a ledger's line.
fn run_of(line: &str) -> Option<&str> {
    line.split_once("\"run_id\":\"")?.1.split('"').next()
}

/// A fresh directory with both orgs, and their tokens.
pub(crate) async fn fresh(dir: &Path, more: &[&str]) -> Tokens {
    let platform = binary::init(dir);
    let product = Product::start(dir, more);
    let tokens = prepare(&product, &platform).await;
    product.stop();
    tokens
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_or_torn_by_kill_9() {
    let cycles = count("PORTCULLIS_KILLS", 5);
    let dir = tempfile::tempdir().unwrap();
    let tokens = fresh(dir.path(), &[]).await;
    let mut random = Random(0x6b69_6c6c);
    let (mut answered, mut lost) = (Acknowledged::default(), Vec::<String>::new());
    let (mut runs, mut orgs) = (0, 0);
    for round in 0..=cycles {
        let product = Product::start(dir.path(), &[]);
        lost.extend(missing(&product, &tokens, &answered, Instant::now()).await);
        runs += answered.runs.iter().map(Vec::len).sum::<usize>();
        orgs += answered.orgs.len();
        if round == cycles {
            break;
        }
        let load = Load::start(product.address, &tokens, round);
        load.answered().await;
        tokio::time::sleep(Duration::from_millis(30 + random.below(170) as u64)).await;
        product.kill();
        answered = load.end().await;
    }
    let line =
        json!({ "kills": cycles, "runs": runs, "ledger": runs, "records": orgs, "lost_or_torn": lost.len() });
    print_line("kill -9", &line);
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(runs > cycles && orgs > cycles, "the load did something: {line}");
}
