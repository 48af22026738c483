//! Several nodes on one database: what one commits, all see, in one order and without a gap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_store::{Batch, Precondition, Store, StoreError};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::{PostgresOptions, PostgresStore};

use crate::scene::{KEY, migrated, open, options, put, value};

async fn three(url: &str) -> Vec<Arc<PostgresStore>> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(open(url).await));
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_on_after_the_last_commit_misses_none_of_any_node() {
    const COMMITS: u64 = 60;
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let nodes = three(&url).await;
    let mut writing = Vec::new();
    for (node, store) in nodes.iter().enumerate() {
        for writer in 0..4 {
            let store = Arc::clone(store);
            writing.push(tokio::spawn(async move {
                for n in 0..COMMITS {
                    let key = format!("k/{node}/{writer}/{n}");
                    store.commit(Batch::new().put(key, vec![1]).append("list/", vec![2])).await.unwrap();
                }
            }));
        }
    }
    let total = COMMITS * 12;
    let reading: Vec<_> = nodes
        .iter()
        .map(|store| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let (mut since, mut after) = (0, String::from("list/"));
                let mut listed = 0;
                while since < total || listed < total {
                    for change in store.changes(since, 50).await.unwrap() {
                        assert!(
                            change.seq == since || change.seq == since + 1,
                            "{} after {since}",
                            change.seq
                        );
                        since = change.seq;
                    }
                    // The same by the keys that have the sequence in them.
                    for (key, found) in store.list("list/", Some(&after), 100).await.unwrap() {
                        listed += 1;
                        assert_eq!(found.revision, listed, "none was passed over");
                        after = key;
                    }
                }
            })
        })
        .collect();
    for task in writing.into_iter().chain(reading) {
        task.await.unwrap();
    }
    let report = nodes[0].verify().await.unwrap();
    assert_eq!((report.seq, report.findings), (total, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_all_nodes_count_up_loses_no_step() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let counting: Vec<_> = three(&url)
        .await
        .into_iter()
        .flat_map(|store| [Arc::clone(&store), store])
        .map(|store| {
            tokio::spawn(async move {
                let mut steps = 0;
                while steps < 20 {
                    let found = store.get("count").await.unwrap();
                    let (count, precondition) = found.map_or((0, Precondition::Absent), |found| {
                        let text = String::from_utf8(found.value).unwrap();
                        (text.parse::<u32>().unwrap(), Precondition::Revision(found.revision))
                    });
                    let batch = put("count", &(count + 1).to_string()).require("count", precondition);
                    match store.commit(batch).await {
                        Ok(_) => steps += 1,
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for task in counting {
        task.await.unwrap();
    }
    assert_eq!(value(&open(&url).await, "count").await.as_deref(), Some("120"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_wakes_the_other_nodes_and_is_seen_without_that_too() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let (writer, reader) = (open(&url).await, open(&url).await);
    let mut hints = reader.hints();
    // Until the reader listens, hints are lost: that is what hints are.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let seq = writer.commit(put("a", "1")).await.unwrap();
        let told =
            tokio::time::timeout(Duration::from_millis(200), hints.wait_for(|last| *last >= seq)).await;
        if told.is_ok() {
            break;
        }
        assert!(Instant::now() < end, "no hint came");
    }
    let silent = PostgresOptions { notify: false, ..options(&url) };
    let silent = PostgresStore::open(&silent, Some(&KEY)).await.unwrap();
    let seq = silent.commit(put("a", "2")).await.unwrap();
    assert_eq!(reader.changes(seq - 1, 5).await.unwrap().len(), 1);
    let seq = writer.commit(put("a", "3")).await.unwrap();
    assert_eq!(silent.changes(seq - 1, 5).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_caller_went_away_is_committed_all_the_same() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let (store, other) = (open(&url).await, open(&url).await);
    {
        let mut commit = store.commit(put("a", "1"));
        // Polled once, so that it was given to the writer.
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx).is_pending()));
        assert!(polled.await, "it is not answered at once");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while value(&other, "a").await.is_none() {
        assert!(Instant::now() < end, "it was not committed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cut_after_its_time_and_a_reader_that_is_too_late_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let store = Arc::new(open(&url).await);
    let name = crate::scene::name(&url).to_owned();
    let write = async |count: u32| {
        let store = &store;
        let mut waiting = tokio::task::JoinSet::new();
        for n in 0..count {
            let store = Arc::clone(store);
            waiting.spawn(async move { store.commit(put(&format!("k/{}", n % 50), "1")).await.unwrap() });
        }
        waiting.join_all().await;
    };
    write(5000).await;
    assert_eq!(store.changes(0, 1).await.unwrap().len(), 1, "young commits stay, however many");
    cluster.sql(&name, "UPDATE portcullis.change_log SET committed_at = now() - interval '61 s'");
    write(600).await;
    let truncated = store.changes(0, 1).await;
    assert!(
        matches!(truncated, Err(StoreError::ChangesTruncated { since: 0, floor }) if floor > 500),
        "{truncated:?}"
    );
    let seq = store.stats().await.unwrap().seq;
    assert!(!store.changes(seq - 4096, 1).await.unwrap().is_empty(), "as many as promised are kept");
    assert!(store.verify().await.unwrap().findings.is_empty());
}
