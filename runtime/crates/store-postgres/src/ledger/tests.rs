//! The ledger over a real PostgreSQL: as any ledger, by several nodes, and under the hands of an administrator.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ledger::LedgerPhase;
use portcullis_store::{LedgerCursor, verify_export};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_conformance::ledger::{check_all, event, org};

use super::*;
use crate::test_database::{Database, wait};

mod attacks;
mod crash;
mod least_age;

const SMALL: u64 = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_ledgers_conform() {
    let Some(cluster) = Cluster::shared() else { return };
    check_all(|segment_bytes| {
        Arc::new(wait(async { Database::new(cluster).await.ledger("node-1", segment_bytes).await }))
    })
    .await;
}

/// Appends so many records of `name`, by several tasks.
async fn fill(ledger: &Arc<PostgresLedger>, name: &'static str, prefix: &'static str, count: usize) {
    let mut tasks = Vec::new();
    for task in 0..8 {
        let ledger = Arc::clone(ledger);
        tasks.push(tokio::spawn(async move {
            for n in (0..count).filter(|n| n % 8 == task) {
                let event = event(name, &format!("out_{prefix}{n}"), LedgerPhase::Refused);
                ledger.append(&event).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn exported(ledger: &dyn Ledger, name: &str) -> String {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    let sink = Box::new(move |line: &LedgerLine| {
        let mut text = into.lock().unwrap();
        text.push_str(line.as_text());
        text.push('\n');
        ControlFlow::Continue(())
    });
    ledger.export(&org(name), &LedgerQuery::default(), sink).await.unwrap();
    std::mem::take(&mut *text.lock().unwrap())
}

async fn listed(ledger: &dyn Ledger, name: &str, limit: usize) -> Vec<String> {
    let mut query = LedgerQuery { limit, ..LedgerQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = ledger.read(&org(name), &query).await.unwrap();
        found.extend(page.entries.iter().map(|line| line.event.entry_id.to_string()));
        let Some(next) = page.next else { return found };
        query.starting_after = LedgerCursor::parse(&next.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_one_org_at_once_and_each_chain_is_whole() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let (a, b) = (database.ledger("a", SMALL).await, database.ledger("b", SMALL).await);
    let (a, b) = (Arc::new(a), Arc::new(b));
    tokio::join!(fill(&a, "acme", "a", 120), fill(&b, "acme", "b", 120));
    let report = a.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 240, "{report:?}");
    let chains: Vec<_> = report.chains.iter().map(|chain| (chain.records, chain.last_seq)).collect();
    assert_eq!(chains, [(120, 120), (120, 120)]);
    for limit in [7, 100] {
        let found = listed(&*b, "acme", limit).await;
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (240, 240), "{limit}");
    }
    let text = exported(&*a, "acme").await;
    let offline = verify_export(text.as_bytes(), "acme.ndjson").unwrap();
    assert!(offline.is_intact() && offline.chains == report.chains, "{offline:?}");
    // Each chain is cut by itself; both stay whole.
    assert!(b.prune(&org("acme"), 2).await.unwrap().segments_dropped > 4);
    let report = b.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.anchored && report.segments == 4, "{report:?}");
    fill(&a, "acme", "more", 8).await;
    assert!(a.verify(&org("acme")).await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_under_one_name_write_one_chain_without_a_gap() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let (a, b) = (database.ledger("same", SMALL).await, database.ledger("same", SMALL).await);
    let (a, b) = (Arc::new(a), Arc::new(b));
    for round in 0..6 {
        fill(&a, "acme", ["p", "q", "r", "s", "t", "u"][round], 5).await;
        fill(&b, "acme", ["v", "w", "x", "y", "z", "k"][round], 5).await;
    }
    let report = b.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 60 && report.chains.len() == 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_the_records_of_other_nodes_too() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let (a, b) = (database.ledger("a", SMALL).await, Arc::new(database.ledger("b", SMALL).await));
    let mut lines = a.subscribe(&org("acme"));
    let mut others = a.subscribe(&org("other"));
    fill(&b, "acme", "b", 20).await;
    for seq in 1..=20 {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.recv()).await.unwrap().unwrap();
        assert_eq!(
            (line.seq, line.node.as_ref().map(NodeId::as_str)),
            (seq, Some("b")),
            "in the chain's order"
        );
    }
    a.append(&event("acme", "out_own", LedgerPhase::Refused)).await.unwrap();
    let own = tokio::time::timeout(Duration::from_secs(30), lines.recv()).await.unwrap().unwrap();
    assert_eq!(own.event.entry_id.as_str(), "out_own", "none twice");
    assert!(others.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_a_node_that_is_gone_ends_by_retention() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let gone = Arc::new(database.ledger("gone", SMALL).await);
    fill(&gone, "acme", "g", 10).await;
    drop(gone);
    let here = Arc::new(database.ledger("here", SMALL).await);
    let later = "2999-01-01T00:00:00.000000Z".to_owned();
    let cut = LedgerCut {
        before: Some(later.clone()),
        close_before: Some("2000-01-01T00:00:00.000000Z".to_owned()),
        ..LedgerCut::default()
    };
    here.retain(&org("acme"), &cut).await.unwrap();
    assert!(here.bytes(&org("acme")).await.unwrap() > 0, "what is written to is not closed before its time");
    let left = here.retain(&org("acme"), &LedgerCut { close_before: Some(later), ..cut }).await.unwrap();
    assert_eq!((left.bytes, here.bytes(&org("acme")).await.unwrap()), (0, 0));
    let report = here.verify(&org("acme")).await.unwrap();
    assert!(report.is_intact() && report.records == 0 && report.chains[0].last_seq == 10, "{report:?}");
    assert!(listed(&*here, "acme", 10).await.is_empty());
    // It goes on where it was, if the node comes back.
    let back = database.ledger("gone", SMALL).await;
    assert_eq!(back.append(&event("acme", "out_1", LedgerPhase::Refused)).await.unwrap(), 11);
    assert!(back.verify(&org("acme")).await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_serving_role_can_append_and_read_and_nothing_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = Arc::new(database.ledger("a", SMALL).await);
    fill(&ledger, "acme", "a", 30).await;
    for table in ["ledger_records", "ledger_heads", "ledger_segments", "ledger_anchors"] {
        database.as_server(&format!("SELECT * FROM {table}")).await.unwrap();
        for sql in [
            format!("DELETE FROM {table}"),
            format!("UPDATE {table} SET seq = seq"),
            format!("TRUNCATE {table}"),
            format!("INSERT INTO {table} SELECT * FROM {table} LIMIT 0"),
            format!("DROP TABLE {table}"),
        ] {
            let refused = database.as_server(&sql).await.expect_err(&sql);
            assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
        }
    }
    // The functions that it may call cut nowhere but at the end of a closed segment.
    let last: i64 = database.sql("SELECT max(number) FROM ledger_segments").parse().unwrap();
    for to in [0, last + 1, last + 2] {
        let refused =
            database.as_server(&format!("SELECT ledger_cut('acme', 'a', {to}, '')")).await.unwrap_err();
        assert!(refused.contains("no closed segment"), "{refused}");
    }
    assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
    database.as_server(&format!("SELECT ledger_cut('acme', 'a', {}, '')", last - 1)).await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM ledger_segments"), "1", "up to there");
    // And not where records before the cut were taken out by somebody else.
    database.sql("DELETE FROM ledger_records WHERE seq = (SELECT min(seq) FROM ledger_records)");
    let refused =
        database.as_server(&format!("SELECT ledger_cut('acme', 'a', {last}, '')")).await.unwrap_err();
    assert!(refused.contains("should have"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_in_the_partition_of_their_month_and_empty_old_ones_go() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = Arc::new(database.ledger("a", SMALL).await);
    fill(&ledger, "acme", "a", 5).await;
    let month = "to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')";
    let own = format!(
        "SELECT tableoid::regclass = to_regclass('ledger_records_' || {month}) FROM ledger_records LIMIT 1"
    );
    assert_eq!(database.sql(&own), "t");
    let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger_records'::regclass";
    assert_eq!(database.sql(count), "4", "this month, two more, and the rest");
    let old = |name: &str, from: u64| {
        format!(
            "CREATE TABLE {name} PARTITION OF ledger_records FOR VALUES FROM ({}) TO ({})",
            from << 11,
            (from + 1000) << 11
        )
    };
    database.sql(&old("ledger_records_200001", 946_684_800_000_000));
    database.sql(&old("ledger_records_200002", 949_363_200_000_000));
    let kept = 949_363_200_000_001_u64 << 11;
    database.sql(&format!("INSERT INTO ledger_records VALUES ('other', {kept}, 'a', 1, 'x')"));
    keep_partitions(&ledger.shared.pool).await;
    assert_eq!(database.sql(count), "5", "one that has a record stays");
    assert_eq!(database.sql("SELECT to_regclass('ledger_records_200001') IS NULL"), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_whole_ledgers_keeps_partitions_as_they_are_and_no_node_from_starting() {
    let Some(cluster) = Cluster::shared() else { return };
    let old = "ledger_records_200001";
    let coming = "'ledger_records_' || to_char(now() AT TIME ZONE 'UTC' + interval '2 months', 'YYYYMM')";
    let from = 946_684_800_000_000_u64;
    let empty_old_one = format!(
        "CREATE TABLE {old} PARTITION OF ledger_records FOR VALUES FROM ({}) TO ({})",
        from << 11,
        (from + 1000) << 11
    );
    let missing = format!("DO $$ BEGIN EXECUTE 'DROP TABLE ' || {coming}; END $$");
    let are_there = format!("SELECT to_regclass('{old}') IS NOT NULL, to_regclass({coming}) IS NOT NULL");
    for (change, before, after) in [(empty_old_one, "t|t", "f|t"), (missing, "f|f", "f|t")] {
        let database = Database::new(cluster).await;
        database.sql(&change);
        let reader = database.pool().await.client().await.unwrap();
        let moment =
            "SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT count(*) FROM ledger_records";
        reader.batch_execute(moment).await.unwrap();
        let ledger = Arc::new(database.ledger("a", SMALL).await);
        assert_eq!(database.sql(&are_there), before, "nothing is done that would have to wait");
        fill(&ledger, "acme", "a", 8).await;
        reader.batch_execute("COMMIT").await.unwrap();
        keep_partitions(&ledger.shared.pool).await;
        assert_eq!(database.sql(&are_there), after);
        assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
    }
}
