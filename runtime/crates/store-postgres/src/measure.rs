//! What the records of a call cost: `begin` and `complete` in the ledger and the run, on PostgreSQL with fsync and in files,
//! by so many callers at once. In the suite it makes few calls, and only what is counted is asserted.
//!
//! By hand, for the figures: `PORTCULLIS_CALLS=2000 cargo test --release -p portcullis-store-postgres --lib
//! the_records_of_a_call -- --nocapture`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_core::id::{RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase};
use portcullis_store::{FileLedger, FileRuns, Ledger, LedgerSync, RunRecord, Runs};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_conformance::ledger::{event, org};
use portcullis_store_conformance::runs::generated;

use crate::test_database::Database;

#[allow(clippy::disallowed_methods, reason = "a count for who asks for the figures")]
fn calls() -> Option<u64> {
    std::env::var("PORTCULLIS_CALLS").ok().and_then(|text| text.parse().ok())
}

/// The three records of call `n`, of one of ten workspaces of one of three orgs.
fn records(n: u64) -> (LedgerEvent, LedgerEvent, RunRecord) {
    let name = ["acme", "globex", "initech"][usize::try_from(n % 3).unwrap()];
    let entry = format!("out_{n:012x}7abc8def0123456789ab");
    let workspace = WorkspaceId::parse(&format!("ws-{}", n % 10)).unwrap();
    let run = RunId::parse(&format!("run_{n:012x}7abc8def0123456789ab")).unwrap();
    let record = generated(&org(name), &workspace, n);
    let begin = LedgerEvent {
        workspace,
        run_id: run.clone(),
        path: "/services/data/v62.0/sobjects/Contact/003Hs00004GvfRXIAZ".to_owned(),
        matched_connector: Some("*.my.salesforce.com".to_owned()),
        ..event(name, &entry, LedgerPhase::Begin)
    };
    let complete = LedgerEvent { phase: LedgerPhase::Complete, status: Some(200), ..begin.clone() };
    (begin, complete, RunRecord { run_id: run, ..record })
}

/// Makes so many calls by so many callers at once; returns how long it took.
async fn run(
    ledger: &Arc<dyn Ledger>,
    runs: &Arc<dyn Runs>,
    callers: u64,
    from: u64,
    calls: u64,
) -> Duration {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(from));
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (ledger, runs, next) = (Arc::clone(ledger), Arc::clone(runs), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= from + calls {
                    return;
                }
                let (begin, complete, run) = records(n);
                ledger.append(&begin).await.unwrap();
                ledger.append(&complete).await.unwrap();
                runs.append(&run).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

/// Processor time in clock ticks of a process, or of all whose parent it is.
fn ticks(pid: &str, children: bool) -> u64 {
    let mut all = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, after)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = after.split_whitespace().collect();
        let is_wanted = if children { fields[1] == pid } else { name == pid };
        if is_wanted {
            all += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    all
}

/// Processor time of this process and of the server.
fn used(server: Option<&str>) -> (u64, u64) {
    let own = ticks(&std::process::id().to_string(), false);
    (own, server.map_or(0, |pid| ticks(pid, false) + ticks(pid, true)))
}

#[allow(clippy::print_stdout, reason = "its figures are for the person who asked for them by the variable")]
async fn measure(what: &str, ledger: Arc<dyn Ledger>, runs: Arc<dyn Runs>, server: Option<&str>) -> u64 {
    let mut from = 0;
    for callers in [1, 32, 256] {
        let asked = calls();
        let calls = asked.map_or(40, |calls| if callers == 1 { calls / 10 } else { calls }).max(1);
        run(&ledger, &runs, callers, from, calls / 10).await;
        let before = used(server);
        let took = run(&ledger, &runs, callers, from + calls / 10, calls).await;
        let after = used(server);
        from += calls / 10 + calls;
        if asked.is_some() {
            // A tick is 10 ms.
            let us = |ticks: u64| ticks as f64 * 10_000.0 / calls as f64;
            println!(
                "{what}, {callers} callers: {:.0} calls/s; processor time a call: {:.0} us here, {:.0} us in the server",
                calls as f64 / took.as_secs_f64(),
                us(after.0 - before.0),
                us(after.1 - before.1),
            );
        }
    }
    for name in ["acme", "globex", "initech"] {
        let report = ledger.verify(&org(name)).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
    }
    from
}

fn server_pid(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_a_call_are_written_by_one_many_and_very_many_callers() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let pid = server_pid(cluster.dir());
    let ledger: Arc<dyn Ledger> = Arc::new(database.ledger("a", 8 * 1024 * 1024).await);
    let runs: Arc<dyn Runs> = Arc::new(database.runs("a").await);
    let made = measure("PostgreSQL", ledger, runs, Some(&pid)).await;
    assert_eq!(database.sql("SELECT count(*) FROM ledger_records"), (2 * made).to_string());
    assert_eq!(database.sql("SELECT count(*) FROM runs"), made.to_string());
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(&dir.path().join("ledger"), LedgerSync::Group).unwrap();
    let runs = FileRuns::open(&dir.path().join("runs")).unwrap();
    measure("files", Arc::new(ledger), Arc::new(runs), None).await;
    let dir = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open(&dir.path().join("ledger"), LedgerSync::Strict).unwrap();
    let runs = FileRuns::open(&dir.path().join("runs")).unwrap();
    measure("files, strict", Arc::new(ledger), Arc::new(runs), None).await;
}
