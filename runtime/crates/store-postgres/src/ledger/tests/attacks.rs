//! What an administrator of the database does to records is named, and nothing is served or appended as if it were not.

use super::*;

const KEY: [u8; 32] = [7; 32];

struct Attack {
    sql: &'static str,
    /// Of the reason that the check of the org gives.
    named: &'static str,
    /// Whether a page of the newest entries is refused, too.
    is_read: bool,
}

const ATTACKS: &[Attack] = &[
    Attack {
        sql: "UPDATE ledger_records SET line = replace(line, '\"verdict\":\"allow\"', '\"verdict\":\"error\"') \
              WHERE org = 'acme' AND seq = 15",
        named: "seq 15): its hash does not match its content",
        is_read: true,
    },
    Attack {
        sql: "UPDATE ledger_records SET org = 'other' WHERE org = 'acme' AND seq = 15",
        named: "seq 15): its seq is 16",
        is_read: true,
    },
    Attack {
        sql: "UPDATE ledger_records SET org = 'acme' WHERE org = 'other' AND seq = 2",
        named: "it is a record of org other",
        is_read: true,
    },
    Attack {
        sql: "UPDATE ledger_records r SET line = (SELECT line FROM ledger_records o WHERE o.org = r.org AND o.seq = 14) \
              WHERE org = 'acme' AND seq = 15",
        named: "its row says seq 15, its line 14",
        is_read: true,
    },
    Attack {
        sql: "UPDATE ledger_records SET node = 'b' WHERE org = 'acme' AND seq = 15",
        named: "seq 15): its seq is 16",
        is_read: true,
    },
    Attack {
        sql: "CREATE TEMP TABLE p AS SELECT seq, pos FROM ledger_records WHERE org = 'acme' AND seq IN (15, 16); \
              UPDATE ledger_records SET pos = pos + 1 WHERE org = 'acme' AND seq = 15; \
              UPDATE ledger_records SET pos = (SELECT pos FROM p WHERE seq = 15) WHERE org = 'acme' AND seq = 16; \
              UPDATE ledger_records SET pos = (SELECT pos FROM p WHERE seq = 16) WHERE org = 'acme' AND seq = 15",
        named: "seq 15): its seq is 16",
        is_read: true,
    },
    Attack {
        sql: "DELETE FROM ledger_records WHERE org = 'acme' AND seq > 12",
        named: "the chain ends at 12, its head says 20",
        is_read: true,
    },
    Attack {
        sql: "DELETE FROM ledger_records WHERE org = 'acme' AND seq = 1",
        named: "seq 1): its seq is 2",
        is_read: true,
    },
    Attack {
        sql: "DO $$ BEGIN EXECUTE 'DROP TABLE ledger_records_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM'); END $$",
        named: "the chain ends at 0, its head says 20",
        is_read: true,
    },
    Attack {
        sql: "DELETE FROM ledger_heads WHERE org = 'acme'",
        named: "no head knows its chain",
        is_read: true,
    },
    // The whole end of a chain with a head that fits: the seal shows that no node made that head.
    Attack {
        sql: "UPDATE ledger_heads h SET seq = r.seq, pos = r.pos, hash = decode(substr(right(r.line, 66), 1, 64), 'hex') \
              FROM ledger_records r WHERE h.org = 'acme' AND r.org = 'acme' AND r.seq = 12; \
              DELETE FROM ledger_records WHERE org = 'acme' AND seq > 12",
        named: "the seal of its head does not match",
        is_read: true,
    },
    // The whole beginning with an anchor that fits.
    Attack {
        sql: "INSERT INTO ledger_anchors SELECT org, node, seq, decode(substr(right(line, 66), 1, 64), 'hex'), pos, '' \
              FROM ledger_records WHERE org = 'acme' AND seq = 5; \
              DELETE FROM ledger_records WHERE org = 'acme' AND seq <= 5",
        named: "the seal of its anchor does not match",
        is_read: true,
    },
];

async fn filled(database: &Database<'_>) -> Arc<PostgresLedger> {
    let ledger = Arc::new(database.sealed_ledger("a", SMALL, Some(&KEY)).await);
    for n in 0..20 {
        ledger.append(&event("acme", &format!("out_{n}"), LedgerPhase::Refused)).await.unwrap();
    }
    for n in 0..3 {
        ledger.append(&event("other", &format!("out_{n}"), LedgerPhase::Refused)).await.unwrap();
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_administrator_does_to_records_is_named_and_stops_the_chain() {
    let Some(cluster) = Cluster::shared() else { return };
    for attack in ATTACKS {
        let database = Database::new(cluster).await;
        let ledger = filled(&database).await;
        assert!(ledger.verify(&org("acme")).await.unwrap().is_intact());
        database.sql(attack.sql);
        let read = ledger.read(&org("acme"), &LedgerQuery::default()).await;
        assert_eq!(
            matches!(read, Err(LedgerError::Damaged { .. })),
            attack.is_read,
            "{}: {read:?}",
            attack.sql
        );
        let report = ledger.verify(&org("acme")).await.unwrap();
        let bad = report.bad.expect(attack.sql).to_string();
        assert!(bad.contains(attack.named), "{}: {bad}", attack.sql);
        assert!(ledger.is_damaged());
        let event = event("acme", "out_next", LedgerPhase::Refused);
        let appended = ledger.append(&event).await;
        assert!(matches!(appended, Err(LedgerError::Damaged { .. })), "{}: {appended:?}", attack.sql);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_moved_to_another_org_is_named_there_too() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = filled(&database).await;
    database.sql("UPDATE ledger_records SET org = 'other' WHERE org = 'acme' AND seq = 15");
    let bad = ledger.verify(&org("other")).await.unwrap().bad.unwrap();
    assert_eq!(bad.reason, "it is a record of org acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_put_back_to_an_earlier_moment_is_refused_by_a_node_that_wrote_since() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let ledger = filled(&database).await;
    database.sql("CREATE TABLE before AS SELECT * FROM ledger_heads WHERE org = 'acme'");
    for n in 20..25 {
        ledger.append(&event("acme", &format!("out_{n}"), LedgerPhase::Refused)).await.unwrap();
    }
    database.sql(
        "DELETE FROM ledger_records WHERE org = 'acme' AND seq > 20; DELETE FROM ledger_heads WHERE org = 'acme'; \
         DELETE FROM ledger_segments WHERE org = 'acme' AND seq > 20; INSERT INTO ledger_heads SELECT * FROM before",
    );
    let refused = ledger.append(&event("acme", "out_25", LedgerPhase::Refused)).await.unwrap_err();
    assert!(refused.to_string().contains("its head says 20, and this node wrote up to 25"), "{refused}");
    // Another org goes on.
    ledger.append(&event("other", "out_25", LedgerPhase::Refused)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_integrity_key_neither_reads_nor_writes() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    drop(filled(&database).await);
    let other = database.sealed_ledger("a", SMALL, Some(&[8; 32])).await;
    assert!(other.read(&org("acme"), &LedgerQuery::default()).await.is_err());
    let refused = other.append(&event("acme", "out_x", LedgerPhase::Refused)).await.unwrap_err();
    assert!(refused.to_string().contains("of another integrity key"), "{refused}");
    let right = database.sealed_ledger("a", SMALL, Some(&KEY)).await;
    assert_eq!(right.append(&event("acme", "out_x", LedgerPhase::Refused)).await.unwrap(), 21);
}
