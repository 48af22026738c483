//! The server is killed while records are written: none that was acknowledged is lost, and every chain is whole.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

const KILLS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_record_is_lost_when_the_server_is_killed() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let database = Database::new(&cluster).await;
    let ledger = Arc::new(database.ledger("a", SMALL).await);
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for task in 0..6 {
        let (ledger, stop, written) = (Arc::clone(&ledger), Arc::clone(&stop), Arc::clone(&written));
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("out_{task}x{n}");
                let org = if task % 2 == 0 { "acme" } else { "other" };
                if ledger.append(&event(org, &name, LedgerPhase::Refused)).await.is_ok() {
                    acknowledged.push((org, name));
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }
            acknowledged
        }));
    }
    for kill in 0..KILLS {
        // So many more are written before each kill, so that it comes in the middle.
        let until = written.load(Ordering::Relaxed) + 40 + 17 * kill as u64;
        wait(async {
            while written.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        tokio::task::block_in_place(|| {
            cluster.kill();
            cluster.run();
        });
    }
    let after = written.load(Ordering::Relaxed);
    wait(async {
        while written.load(Ordering::Relaxed) < after + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    let mut there = BTreeSet::new();
    for name in ["acme", "other"] {
        let report = ledger.verify(&org(name)).await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        let entries = listed(&*ledger, name, 1000).await;
        let distinct: BTreeSet<_> = entries.iter().cloned().collect();
        assert_eq!(distinct.len(), entries.len(), "none is there twice");
        there.extend(distinct.into_iter().map(|entry| (name, entry)));
    }
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}
