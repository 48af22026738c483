//! Which commits are believed to have been made, on a real server.

use std::collections::HashMap;
use std::fmt::Write as _;

use portcullis_store::Store as _;
use portcullis_store_conformance::cluster::Cluster;

use super::super::PostgresStore;
use super::super::judge::{Judged, Token};
use super::*;
use crate::head::Head;
use crate::pool::PostgresOptions;
use crate::test_database::{Database, SERVER};

async fn open(database: &Database<'_>) -> PostgresStore {
    let options = PostgresOptions::new(database.cluster.url(&database.name, SERVER));
    PostgresStore::open(&options, Some(&[7; 32])).await.unwrap()
}

fn put(value: &str) -> Batch {
    Batch::new().put("a", value.as_bytes().to_vec())
}

/// What the log says of a commit.
async fn logged(shared: &Shared, seq: u64) -> Mark {
    let client = shared.pool.client().await.unwrap();
    let row = client.query_one("SELECT seal FROM change_log WHERE seq = $1", &[&number(seq)]).await.unwrap();
    Mark { seq, seal: row.get::<_, &[u8]>(0).try_into().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_transaction_that_got_the_id_of_one_that_was_lost_is_not_taken_for_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let store = open(&database).await;
    let seq = store.commit(put("1")).await.unwrap();
    let there = logged(&store.shared, seq).await;
    let committed = database.sql("SELECT pg_current_xact_id()");
    let client = store.shared.pool.client().await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    let rolled_back = client.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap();
    let rolled_back: String = rolled_back.get(0);
    client.batch_execute("ROLLBACK").await.unwrap();
    let other = Mark { seal: [0; 32], ..there };
    let absent = Mark { seq: seq + 1, ..there };
    for (transaction, first, done) in [
        (&committed, there, true),
        (&committed, other, false),
        (&committed, absent, false),
        (&rolled_back, absent, false),
    ] {
        let written = Written { transaction: transaction.clone(), first };
        assert_eq!(became(&store.shared, &written, Instant::now()).await, Some(done), "{first:?}");
    }
    // One that this server never began.
    let unknown = Written { transaction: "99999999999".to_owned(), first: there };
    assert_eq!(became(&store.shared, &unknown, Instant::now()).await, None);
}

#[test]
fn two_commits_of_the_same_changes_and_number_are_told_apart_by_their_token() {
    let sealer = crate::seal::Sealer::new(Some(&[7; 32]));
    let batch = put("1");
    let first = |token: Token| {
        let mut judged = Judged::new(&sealer, token, Head::default(), HashMap::new());
        judged.judge(&batch).unwrap();
        judged.log.first.unwrap()
    };
    assert_eq!(first([1; 16]), first([1; 16]));
    assert_ne!(first([1; 16]), first([2; 16]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_an_earlier_version_has_no_token_and_one_that_lost_its_token_is_refused() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let store = open(&database).await;
    store.commit(put("1")).await.unwrap();
    let mut earlier = String::new();
    for byte in store.shared.sealer.changes(1, "+a\n", None) {
        write!(earlier, "{byte:02x}").unwrap();
    }
    database.sql(&format!("UPDATE change_log SET token = NULL, seal = '\\x{earlier}'"));
    // Why anew: this node read nothing of it yet.
    let store = open(&database).await;
    assert_eq!(store.changes(0, 9).await.unwrap().len(), 1);
    store.commit(put("2")).await.unwrap();
    assert_eq!(store.changes(0, 9).await.unwrap().len(), 2);
    assert!(store.verify().await.unwrap().findings.is_empty());
    database.sql("UPDATE change_log SET token = NULL WHERE seq = 2");
    let refused = store.changes(0, 9).await;
    assert!(
        matches!(&refused, Err(StoreError::Damaged { what, .. }) if what.contains("commit 2")),
        "{refused:?}"
    );
}

/// Keeps something locked until it is dropped.
async fn locked(shared: &Shared, statement: &str) -> Object {
    let client = shared.pool.client().await.unwrap();
    client.batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_server_is_silent_after_its_first_answer_is_given_up_and_the_next_one_is_made() {
    const SHORT: Duration = Duration::from_millis(300);
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let store = open(&database).await;
    let shared = &*store.shared;
    let batches = [put("1")];
    let group = |answer_max| Group { shared, batches: &batches, notify: false, answer_max };
    // Where the transaction has begun, nothing was done.
    let lock = locked(shared, "SELECT FROM store_head FOR UPDATE").await;
    let given_up = group(SHORT).commit().await;
    assert!(matches!(given_up, Err(Failed::NothingDone(_))));
    lock.batch_execute("ROLLBACK").await.unwrap();
    let made = group(ANSWER_MAX).commit().await.ok().unwrap();
    assert_eq!(*made[0].as_ref().unwrap(), 1);
    // Where everything was sent, it may have been, and the server says which.
    let lock = locked(shared, "LOCK TABLE change_log IN SHARE MODE").await;
    let Err(Failed::Unknown { written, .. }) = group(SHORT).commit().await else {
        panic!("it is not known what became of it");
    };
    assert_eq!(became(shared, &written, Instant::now()).await, None, "it is still under way");
    lock.batch_execute("ROLLBACK").await.unwrap();
    let done = became(shared, &written, Instant::now() + ANSWER_MAX).await.unwrap();
    let revision = store.get("a").await.unwrap().unwrap().revision;
    assert_eq!(revision, if done { 2 } else { 1 });
    assert_eq!(store.commit(put("2")).await.unwrap(), revision + 1);
}
