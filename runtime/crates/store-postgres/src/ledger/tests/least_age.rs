//! What is younger than the owner of the schema allows cannot be dropped by anybody with the serving role, whose clock and
//! words do not count.

use super::*;

/// A ledger whose every record is in a closed segment, in a database that keeps records for 30 days.
async fn closed(database: &Database<'_>) -> Arc<PostgresLedger> {
    database.least_days(30);
    let ledger = Arc::new(database.ledger("a", SMALL).await);
    fill(&ledger, "acme", "a", 30).await;
    database.as_server("SELECT ledger_close('acme', 'a', 30)").await.unwrap();
    ledger
}

/// What the database answers to the serving role that wants to drop each segment, one after the other.
async fn cuts(database: &Database<'_>) -> Vec<Result<(), String>> {
    let numbers = database.sql("SELECT number FROM ledger_segments ORDER BY number");
    let mut answers = Vec::new();
    for number in numbers.lines() {
        answers.push(database.as_server(&format!("SELECT ledger_cut('acme', 'a', {number}, '')")).await);
    }
    assert!(answers.len() > 3, "there is something to drop");
    answers
}

fn are_refused(answers: &[Result<(), String>]) -> bool {
    answers.iter().all(|answer| answer.as_ref().is_err_and(|why| why.contains("is younger than")))
}

/// Drops whatever is closed, as far as the engine is concerned.
fn everything() -> LedgerCut {
    LedgerCut { before: Some("2999-01-01T00:00:00.000000Z".to_owned()), ..LedgerCut::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_serving_role_drops_no_young_record_and_cannot_say_that_it_is_old() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = closed(&database).await;
    assert!(are_refused(&cuts(&database).await));
    for sql in [
        "UPDATE ledger_retention SET least_days = 0",
        "DELETE FROM ledger_retention",
        "INSERT INTO ledger_retention VALUES (true, 0)",
        "UPDATE ledger_records SET written_at = '2000-01-01'",
        "ALTER TABLE ledger_records ALTER COLUMN written_at SET DEFAULT '2000-01-01'",
        "CREATE OR REPLACE FUNCTION ledger_cut_before() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    ] {
        let refused = database.as_server(sql).await.expect_err(sql);
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
    }
    // The records say 2026-01-01 by the node's clock, and a segment says what the role wants: neither counts.
    database.sql("UPDATE ledger_segments SET newest_at = '2000-01-01T00:00:00.000000Z'");
    assert!(are_refused(&cuts(&database).await));
    // One of before the column has its position, which is of now; without the owner's row, 30 days count.
    database.sql("UPDATE ledger_records SET written_at = NULL");
    assert!(are_refused(&cuts(&database).await));
    database.sql("DELETE FROM ledger_retention");
    assert!(are_refused(&cuts(&database).await));
    let report = ledger.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 30 && !report.anchored, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_drops_what_is_old_enough_and_leaves_the_rest_without_an_error() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = closed(&database).await;
    let young = ledger.retain(&org("acme"), &everything()).await.unwrap();
    assert_eq!(young.segments_dropped, 0);
    assert_eq!(ledger.prune(&org("acme"), 1).await.unwrap().segments_dropped, 0);
    // Both sides of the border, which a clock of the nodes has no part in.
    let first = "(SELECT min(seq) FROM ledger_segments)";
    let second = "(SELECT min(seq) FROM ledger_segments WHERE number > 1)";
    database.sql(&format!(
        "UPDATE ledger_records SET written_at = now() - interval '720 hours 1 minute' WHERE seq <= {first}; \
         UPDATE ledger_records SET written_at = now() - interval '719 hours 59 minutes' \
             WHERE seq > {first} AND seq <= {second}"
    ));
    let old = ledger.retain(&org("acme"), &everything()).await.unwrap();
    assert_eq!(old.segments_dropped, 1);
    let report = ledger.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.anchored, "{report:?}");
    // A young record before an old one keeps it: all that goes is looked at.
    database.sql(&format!("UPDATE ledger_records SET written_at = '2000-01-01' WHERE seq = {first}"));
    assert!(are_refused(&cuts(&database).await[..1]));
    database.least_days(29);
    assert_eq!(ledger.retain(&org("acme"), &everything()).await.unwrap().segments_dropped, 1);
}
