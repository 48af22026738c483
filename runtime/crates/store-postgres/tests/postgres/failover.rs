//! A server that takes over without the last commits, as an asynchronous standby may, and an older state that is put back
//! while nodes run: no node goes on with what it knows of commits that are gone.

use portcullis_store::{Store as _, StoreError};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::PostgresStore;

use crate::crashes::ready;
use crate::scene::{fresh_url, migrated, name, open, put, value};

const TABLES: [&str; 3] = ["records", "store_head", "change_log"];

fn keep(cluster: &Cluster, url: &str) {
    for table in TABLES {
        cluster.sql(name(url), &format!("CREATE TABLE kept_{table} AS SELECT * FROM portcullis.{table}"));
    }
}

fn put_back(cluster: &Cluster, url: &str) {
    for table in TABLES {
        let back = format!(
            "DELETE FROM portcullis.{table}; INSERT INTO portcullis.{table} SELECT * FROM kept_{table}"
        );
        cluster.sql(name(url), &back);
    }
}

/// A node that has made three commits, another one that has seen none, and a database that has lost the third, which the
/// first node may have read as well.
async fn third_lost(cluster: &Cluster, reads: bool) -> (PostgresStore, PostgresStore) {
    let (url, one) = fresh_url(cluster).await;
    let other = open(&url).await;
    for text in ["1", "2"] {
        one.commit(put("a", text)).await.unwrap();
    }
    keep(cluster, &url);
    assert_eq!(one.changes(0, 9).await.unwrap().len(), 2);
    one.commit(put("a", "lost")).await.unwrap();
    if reads {
        assert_eq!(one.changes(2, 9).await.unwrap().len(), 1);
        assert!(one.changes(3, 9).await.unwrap().is_empty());
    }
    put_back(cluster, &url);
    (one, other)
}

fn refused<T: std::fmt::Debug>(result: &Result<T, StoreError>, why: &str) {
    assert!(matches!(result, Err(StoreError::Damaged { what, .. }) if what.contains(why)), "{result:?}");
}

/// Nothing is read or written.
async fn refuses_all(store: &PostgresStore, why: &str) {
    refused(&store.changes(3, 9).await, why);
    refused(&store.get("a").await.map(drop), why);
    refused(&store.list("", None, 9).await.map(drop), why);
    refused(&store.stats().await.map(drop), why);
    refused(&store.commit(put("b", "1")).await, why);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_were_replaced_by_as_many_others_are_noticed_by_who_saw_them() {
    let Some(cluster) = Cluster::shared() else { return };
    for (reads, since) in [(true, 3), (false, 2)] {
        let (one, other) = third_lost(cluster, reads).await;
        // The same key, so that number and changes are those of the commit that was lost.
        assert_eq!(other.commit(put("a", "other")).await.unwrap(), 3);
        refused(&one.changes(since, 9).await, "is not the one that was there before");
        other.commit(put("a", "next")).await.unwrap();
        refuses_all(&one, "is not the one that was there before").await;
        // Who never saw it has nothing to forget.
        assert_eq!(other.changes(2, 9).await.unwrap().len(), 2);
        assert_eq!(value(&other, "a").await.as_deref(), Some("next"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_saw_its_store_go_back_does_not_go_on_when_others_have_caught_up() {
    let Some(cluster) = Cluster::shared() else { return };
    let (one, other) = third_lost(cluster, true).await;
    refused(&one.changes(3, 9).await, "the records end at commit 2");
    for text in ["other", "next", "last"] {
        other.commit(put("b", text)).await.unwrap();
    }
    refuses_all(&one, "the records end at commit 2").await;
    assert_eq!(other.changes(2, 9).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_read_before_the_feed_told_of_it_counts_as_seen() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, one) = fresh_url(cluster).await;
    let other = open(&url).await;
    keep(cluster, &url);
    other.commit(put("a", "lost")).await.unwrap();
    assert_eq!(value(&one, "a").await.as_deref(), Some("lost"));
    put_back(cluster, &url);
    refused(&one.changes(0, 9).await, "the records end at commit 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_promotion_who_has_not_read_all_of_it_reads_everything_again() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = migrated(&cluster).await;
    let store = open(&url).await;
    for text in ["1", "2", "3"] {
        store.commit(put("a", text)).await.unwrap();
    }
    assert_eq!(store.changes(0, 9).await.unwrap().len(), 3);
    tokio::task::block_in_place(|| promote(&cluster));
    ready(&store).await;
    let missed = store.changes(2, 9).await;
    assert!(matches!(missed, Err(StoreError::ChangesTruncated { since: 2, floor: 3 })), "{missed:?}");
    assert!(store.changes(3, 9).await.unwrap().is_empty(), "who has read all goes on");
    store.commit(put("a", "4")).await.unwrap();
    assert_eq!(store.changes(3, 9).await.unwrap().len(), 1);
    assert_eq!(
        open(&url).await.changes(0, 9).await.unwrap().len(),
        4,
        "who comes later has nothing to forget"
    );
}

/// Makes the server one that has taken over: a standby that is promoted begins a timeline of its own.
fn promote(cluster: &Cluster) {
    cluster.kill();
    std::fs::write(cluster.dir().join("data").join("standby.signal"), "").unwrap();
    cluster.run();
    assert_eq!(cluster.sql("postgres", "SELECT pg_promote()"), "t");
}
