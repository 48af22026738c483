//! Servers and writers that are killed at random points: nothing acknowledged is lost, and nothing is half written.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portcullis_store::{Batch, Precondition, Store as _, StoreError};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::PostgresStore;

use crate::scene::{migrated, open, value};

/// Kills of a test run; more with `PORTCULLIS_KILLS`.
fn kills() -> u32 {
    variable("PORTCULLIS_KILLS").and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[allow(clippy::disallowed_methods, reason = "how a test is told what to do, not the product")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn random(at_most: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % at_most
}

/// Two records that are always written together, and one that says that this number was.
fn batch(writer: u64, number: u64) -> Batch {
    let text = number.to_string().into_bytes();
    let made = format!("made/{writer}/{number:08}");
    Batch::new()
        .require(made.clone(), Precondition::Absent)
        .put(format!("left/{writer}"), text.clone())
        .put(format!("right/{writer}"), text)
        .put(made, b"1".to_vec())
}

/// What is acknowledged is there, what belongs together is the same, and nothing else is wrong.
async fn check(store: &PostgresStore, acknowledged: &HashMap<u64, u64>) {
    for (writer, last) in acknowledged {
        let left = value(store, &format!("left/{writer}")).await;
        assert_eq!(left, value(store, &format!("right/{writer}")).await, "torn");
        let left: u64 = left.unwrap().parse().unwrap();
        assert!(left >= *last, "{writer}: {last} was acknowledged, {left} is there");
        for number in 1..=*last {
            let made = store.get(&format!("made/{writer}/{number:08}")).await.unwrap();
            assert!(made.is_some(), "{writer}: {number} was acknowledged and is lost");
        }
    }
    let report = store.verify().await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// Returns once the store can be read.
pub(crate) async fn ready(store: &PostgresStore) {
    for _ in 0..200 {
        if store.stats().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the store did not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    const WRITERS: u64 = 8;
    let Some(cluster) = Cluster::start(&[]) else { return };
    let cluster = Arc::new(cluster);
    let url = migrated(&cluster).await;
    let store = Arc::new(open(&url).await);
    let stop = Arc::new(AtomicBool::new(false));
    let (acknowledged, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            let (acknowledged, unknown) = (Arc::clone(&acknowledged), Arc::clone(&unknown));
            tokio::spawn(async move {
                let (mut number, mut last) = (1, 0);
                while !stop.load(Ordering::Relaxed) {
                    match store.commit(batch(writer, number)).await {
                        Ok(_) => {
                            last = number;
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        // Whether it was written is looked up, as a caller would.
                        Err(StoreError::Unavailable(_)) => {
                            unknown.fetch_add(1, Ordering::Relaxed);
                            ready(&store).await;
                            let made = store.get(&format!("made/{writer}/{number:08}")).await.unwrap();
                            if made.is_none() {
                                continue;
                            }
                            last = number;
                        }
                        // A batch that was tried again after it had been committed would end here.
                        Err(error) => panic!("{error}"),
                    }
                    number += 1;
                }
                (writer, last)
            })
        })
        .collect();
    let kills = kills();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(50 + random(400))).await;
        let server = Arc::clone(&cluster);
        let restart = move || {
            server.kill();
            server.run();
        };
        tokio::task::spawn_blocking(restart).await.unwrap();
        ready(&store).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut last = HashMap::new();
    for writer in writers {
        let (writer, number) = writer.await.unwrap();
        last.insert(writer, number);
    }
    check(&store, &last).await;
    let (acknowledged, unknown) = (acknowledged.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
    assert!(acknowledged > u64::from(kills), "work was done between the kills");
    println!(
        "{kills} kills of the server, {acknowledged} commits acknowledged: 0 lost, 0 torn; {unknown} failed"
    );
}

/// Says to a process of these tests that it is a writer, and where to.
const WRITER: &str = "PORTCULLIS_TEST_WRITER";

/// Not a test of its own: what the test below starts and kills. Without its variable it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_that_is_killed() {
    let Some(place) = variable(WRITER) else { return };
    let (first, url) = place.split_once(' ').unwrap();
    let store = Arc::new(open(url).await);
    let first: u64 = first.parse().unwrap();
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in first.. {
                    store.commit(batch(writer, number)).await.unwrap();
                    println!("ack {writer} {number}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_loses_nothing_that_it_acknowledged() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let store = open(&url).await;
    let mut last: HashMap<u64, u64> = HashMap::new();
    for round in 0..kills() {
        let first = last.values().max().map_or(1, |last| last + 1_000);
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "crashes::writer_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(WRITER, format!("{first} {url}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kill_after = 1 + random(60);
        let mut acknowledged: Vec<(u64, u64)> = Vec::new();
        let note = |line: &str, acknowledged: &mut Vec<(u64, u64)>| {
            let Some(text) = line.split("ack ").nth(1) else { return };
            let Some((writer, number)) = text.split_once(' ') else { return };
            if let (Ok(writer), Ok(number)) = (writer.parse(), number.parse()) {
                acknowledged.push((writer, number));
            }
        };
        let killed = tokio::task::block_in_place(|| {
            for line in lines.by_ref() {
                note(&line.unwrap(), &mut acknowledged);
                if acknowledged.len() as u64 >= kill_after {
                    break;
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            // What it said before it was killed.
            for line in lines.map_while(Result::ok) {
                note(&line, &mut acknowledged);
            }
            acknowledged.len()
        });
        assert!(killed > 0, "round {round}: the writer wrote");
        for (writer, number) in acknowledged {
            let made = store.get(&format!("made/{writer}/{number:08}")).await.unwrap();
            assert!(made.is_some(), "{writer}: {number} was acknowledged and is lost");
            last.insert(writer, number);
        }
        for writer in 0..4 {
            let left = value(&store, &format!("left/{writer}")).await;
            assert_eq!(left, value(&store, &format!("right/{writer}")).await, "torn");
        }
        // Its locks went with it: another node writes at once.
        store.commit(Batch::new().put("other", b"1".to_vec())).await.unwrap();
    }
    let report = store.verify().await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
