//! What somebody with the database can do to the records, and where it is found.

use portcullis_store::{Store as _, StoreError};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::{PostgresStore, RecordsReport};

use crate::scene::{KEY, fresh_url, name, open, options, put, value};

/// A store with the records `a`, `b` and `c`, of which `a` was written twice.
async fn filled(cluster: &Cluster) -> (String, PostgresStore) {
    let (url, store) = fresh_url(cluster).await;
    for (key, text) in [("a", "old"), ("b", "1"), ("a", "new"), ("c", "1")] {
        store.commit(put(key, text)).await.unwrap();
    }
    (url, store)
}

fn is_damaged<T>(result: &Result<T, StoreError>, key: &str) -> bool {
    matches!(result, Err(StoreError::Damaged { what, .. }) if what.contains(key))
}

async fn findings(store: &PostgresStore) -> Vec<String> {
    store.verify().await.unwrap().findings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_nobody_touched_is_as_it_was_written() {
    let Some(cluster) = Cluster::shared() else { return };
    let (_, store) = filled(cluster).await;
    let report = store.verify().await.unwrap();
    assert_eq!(report, RecordsReport { records: 3, seq: 4, findings: Vec::new() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_changed_or_moved_is_refused_and_its_neighbour_is_read() {
    let Some(cluster) = Cluster::shared() else { return };
    for attack in [
        "UPDATE portcullis.records SET value = 'other' WHERE key = 'a'",
        "UPDATE portcullis.records SET revision = 1 WHERE key = 'a'",
        "UPDATE portcullis.records SET seal = (SELECT seal FROM portcullis.records WHERE key = 'b') WHERE key = 'a'",
        "UPDATE portcullis.records r SET value = o.value, revision = o.revision, seal = o.seal
             FROM portcullis.records o WHERE r.key = 'a' AND o.key = 'b'",
    ] {
        let (url, store) = filled(cluster).await;
        cluster.sql(name(&url), attack);
        assert!(is_damaged(&store.get("a").await, "record a"), "{attack}");
        assert!(is_damaged(&store.list("", None, 10).await, "record a"), "{attack}");
        assert_eq!(value(&store, "b").await.as_deref(), Some("1"), "{attack}");
        assert!(findings(&store).await[0].contains("record a"), "{attack}");
        let snapshot = store.snapshot(Box::new(std::io::sink())).await;
        assert!(is_damaged(&snapshot, "record a"), "{attack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_record_that_is_put_back_is_found_by_the_check() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, store) = fresh_url(cluster).await;
    store.commit(put("a", "old")).await.unwrap();
    cluster.sql(name(&url), "CREATE TABLE kept AS SELECT * FROM portcullis.records");
    store.commit(put("a", "new")).await.unwrap();
    let back =
        "UPDATE portcullis.records r SET value = k.value, revision = k.revision, seal = k.seal FROM kept k";
    cluster.sql(name(&url), back);
    assert_eq!(findings(&store).await, ["record a is of commit 1, and commit 2 wrote it last"]);
    // Also without what the log says of it: a snapshot has the digest alone.
    let snapshot = store.snapshot(Box::new(std::io::sink())).await;
    assert!(is_damaged(&snapshot, "older ones"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_taken_out_or_put_in_is_found_by_the_check() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, store) = filled(cluster).await;
    cluster.sql(name(&url), "DELETE FROM portcullis.records WHERE key = 'b'");
    assert_eq!(findings(&store).await, ["record b is missing; commit 2 wrote it"]);
    // One that was deleted, and is put in again.
    let (url, store) = filled(cluster).await;
    cluster.sql(name(&url), "CREATE TABLE kept AS SELECT * FROM portcullis.records WHERE key = 'c'");
    store.commit(portcullis_store::Batch::new().delete("c")).await.unwrap();
    cluster.sql(name(&url), "INSERT INTO portcullis.records SELECT * FROM kept");
    assert_eq!(findings(&store).await, ["record c is there, and commit 5 deleted it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_changes_is_read_whole_or_not_at_all() {
    let Some(cluster) = Cluster::shared() else { return };
    for (attack, wrong) in [
        ("DELETE FROM portcullis.change_log WHERE seq = 2", "after 1"),
        ("DELETE FROM portcullis.change_log WHERE seq = 4", "after 3"),
        ("DELETE FROM portcullis.change_log WHERE seq = 1", "after 0"),
        ("UPDATE portcullis.change_log SET changes = '+x' || chr(10) WHERE seq = 3", "commit 3"),
        ("UPDATE portcullis.change_log SET seq = 9 WHERE seq = 4", "commit 9"),
        ("DELETE FROM portcullis.change_log", "after 0"),
    ] {
        let (url, store) = filled(cluster).await;
        assert_eq!(store.changes(0, 10).await.unwrap().len(), 4);
        cluster.sql(name(&url), attack);
        let changes = store.changes(0, 10).await;
        assert!(is_damaged(&changes, wrong), "{attack}: {changes:?}");
        assert!(!findings(&store).await.is_empty(), "{attack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_changed_taken_out_or_put_back_stops_commits() {
    let Some(cluster) = Cluster::shared() else { return };
    for attack in [
        "UPDATE portcullis.store_head SET seq = 2",
        "UPDATE portcullis.store_head SET records = 2",
        "UPDATE portcullis.store_head SET digest = nonce",
        "DELETE FROM portcullis.store_head",
    ] {
        let (url, store) = filled(cluster).await;
        cluster.sql(name(&url), attack);
        for result in [store.commit(put("d", "1")).await, store.changes(3, 9).await.map(|_| 0)] {
            assert!(is_damaged(&result, "head of the records"), "{attack}: {result:?}");
        }
        assert!(PostgresStore::open(&options(&url), Some(&KEY)).await.is_err(), "{attack}");
        assert!(!findings(&store).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_state_that_is_put_back_is_noticed_by_a_node_that_runs() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, store) = filled(cluster).await;
    let tables = ["records", "store_head", "change_log"];
    for table in tables {
        cluster.sql(name(&url), &format!("CREATE TABLE kept_{table} AS SELECT * FROM portcullis.{table}"));
    }
    store.commit(put("a", "newest")).await.unwrap();
    for table in tables {
        let back = format!(
            "DELETE FROM portcullis.{table}; INSERT INTO portcullis.{table} SELECT * FROM kept_{table}"
        );
        cluster.sql(name(&url), &back);
    }
    let commit = store.commit(put("d", "1")).await;
    assert!(is_damaged(&commit, "an older state was put back"), "{commit:?}");
    assert!(is_damaged(&store.changes(5, 9).await, "an older state was put back"));
    assert!(is_damaged(&store.stats().await, "an older state was put back"));
    // One that is started afterwards cannot know.
    open(&url).await.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_one_key_does_not_open_with_another_or_without() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, _) = filled(cluster).await;
    for key in [None, Some(&[1; 32])] {
        let error = PostgresStore::open(&options(&url), key).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("another integrity key"), "{error}");
    }
    open(&url).await;
}
