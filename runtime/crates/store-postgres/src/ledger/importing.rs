//! Takes over the chain that an org had in a data directory: the one that belongs to no node. Its records are stored as
//! they were written, and nobody adds to it any more.
//!
//! Made by the role that owns the schema, as a part of `portcullis migrate`: where older records were dropped before, it
//! writes the anchor of a chain, which no serving role may.

use deadpool_postgres::Object;
use portcullis_core::id::OrgId;
use portcullis_store::for_backends::Link;
use portcullis_store::for_backends::ledger::{Chain, RawLine, parse};
use portcullis_store::for_backends::runs::ended_us;
use portcullis_store::{LedgerError, LedgerLine};
use tokio_postgres::types::ToSql;

use super::chain::{ANCHOR, HEAD, Head, is_sealed, link, seal};
use super::writer::Batch;
use super::{SEGMENT_BYTES, Shared, failed, no_client, signed, writer_number};
use crate::position::Positions;

/// The name of the chain in the tables.
pub(super) const NO_NODE: &str = "";

/// Appends the lines of the chain, which go on from its last record.
pub(super) async fn import(shared: &Shared, org: &OrgId, lines: &[String]) -> Result<(), LedgerError> {
    let chain = Chain { org, node: None };
    let Some(first) = lines.first() else { return Ok(()) };
    let client = shared.client().await?;
    let from = match head(shared, &client, &chain).await? {
        Some(head) => head,
        None => begin(shared, &client, &chain, &raw(&chain, first)?).await?,
    };
    let writer = writer_number(&shared.pool).await.map_err(|error| no_client(&error))?;
    let segment_bytes_max = i64::try_from(SEGMENT_BYTES).unwrap_or(i64::MAX);
    let (mut head, mut batch, mut positions) = (from.clone(), Batch::default(), Positions::new(writer));
    for text in lines {
        let raw = raw(&chain, text)?;
        if raw.seq != head.link.seq.saturating_add(1) || raw.prev != head.link.hash {
            return Err(refused(org, &format!("record {} does not continue the ledger here", raw.seq)));
        }
        let at = LedgerLine::from_raw(text, &raw).map_err(|reason| refused(org, reason))?.event.at;
        if let Some(closed) = head.roll(segment_bytes_max) {
            batch.close(org, &closed);
        }
        let us = signed(ended_us(&at, ""));
        // There is one way to write a line, so what is stored is what came.
        let line = head.extend(&chain, raw.event, &at, &mut positions, us);
        batch.record(org, head.pos, &line);
    }
    batch.head(org, &from, &head, seal(&shared.sealer, HEAD, &chain, &head.link, head.pos).to_vec());
    let lost = batch.execute(&client, NO_NODE).await.map_err(|error| failed(&error))?;
    if lost.is_empty() { Ok(()) } else { Err(refused(org, "another process writes to the same ledger")) }
}

const STORED: &str = "SELECT seq, hash, pos, segment, bytes, oldest_at, newest_at, seal FROM ledger_heads \
                      WHERE org = $1 AND node = $2";

/// Where the chain ends; `None` if it has not begun.
async fn head(shared: &Shared, client: &Object, chain: &Chain<'_>) -> Result<Option<Head>, LedgerError> {
    let row = client.query_opt(STORED, &[&chain.org.as_str(), &NO_NODE]).await;
    let Some(row) = row.map_err(|error| failed(&error))? else { return Ok(None) };
    let read = || {
        let hash: Vec<u8> = row.try_get(1)?;
        let head = Head {
            link: link(row.try_get(0)?, &hash),
            pos: row.try_get(2)?,
            segment: row.try_get(3)?,
            bytes: row.try_get(4)?,
            oldest_at: row.try_get(5)?,
            newest_at: row.try_get(6)?,
        };
        Ok((head, row.try_get::<_, Vec<u8>>(7)?))
    };
    let (head, stored) = read().map_err(|error: tokio_postgres::Error| failed(&error))?;
    if is_sealed(&shared.sealer, HEAD, chain, (&head.link, head.pos), &stored) {
        return Ok(Some(head));
    }
    Err(refused(chain.org, "the seal of the chain's head does not match"))
}

/// The head of a chain that begins here, after the record before this one.
async fn begin(
    shared: &Shared,
    client: &Object,
    chain: &Chain<'_>,
    first: &RawLine<'_>,
) -> Result<Head, LedgerError> {
    let mut head = Head::genesis(chain);
    if first.seq <= 1 {
        return Ok(head);
    }
    head.link = Link { seq: first.seq.saturating_sub(1), hash: first.prev };
    let sealed = |what: &[u8]| seal(&shared.sealer, what, chain, &head.link, head.pos).to_vec();
    // One statement, so that there is no anchor without its head.
    let sql = "WITH head AS (INSERT INTO ledger_heads VALUES ($1, $2, $3, $4, $5, $6, 0, '', '', $7)) \
               INSERT INTO ledger_anchors VALUES ($1, $2, $3, $4, $5, $8)";
    let (org, seq, hash) = (chain.org.as_str(), signed(head.link.seq), head.link.hash.to_vec());
    let (head_seal, anchor_seal) = (sealed(HEAD), sealed(ANCHOR));
    let row: [&(dyn ToSql + Sync); 8] =
        [&org, &NO_NODE, &seq, &hash, &head.pos, &head.segment, &head_seal, &anchor_seal];
    client.execute(sql, &row).await.map_err(|error| failed(&error))?;
    Ok(head)
}

fn raw<'a>(chain: &Chain<'_>, line: &'a str) -> Result<RawLine<'a>, LedgerError> {
    let raw = parse(chain.org, line.as_bytes()).map_err(|reason| refused(chain.org, reason))?;
    if raw.node.is_some() {
        return Err(refused(chain.org, "it is a record of a node's own chain"));
    }
    Ok(raw)
}

fn refused(org: &OrgId, reason: &str) -> LedgerError {
    LedgerError::Unavailable(format!("a record of {org} is not imported: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::{Arc, Mutex};

    use portcullis_core::id::OrgId;
    use portcullis_core::ledger::LedgerEvent;
    use portcullis_store::{FileLedger, Ledger, LedgerLine, LedgerQuery, LedgerSync};
    use portcullis_store_conformance::cluster::{Cluster, SUPERUSER};

    use crate::PostgresLedger;
    use crate::test_database::{Database, node};

    fn event(n: u32) -> LedgerEvent {
        serde_json::from_value(serde_json::json!({
            "entry_id": format!("out_{n}"), "at": format!("2026-01-01T00:00:00.{n:06}Z"), "phase": "refused",
            "org": "acme", "workspace": "main", "connector_id": "salesforce", "revision": 1, "action_id": "list",
            "run_id": "run_1", "method": "GET", "origin": "https://api.example.com", "path": "/v1",
            "verdict": "refuse",
        }))
        .unwrap()
    }

    async fn lines(ledger: &dyn Ledger, org: &OrgId) -> Vec<String> {
        let kept: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&kept);
        let keep = Box::new(move |line: &LedgerLine| {
            sink.lock().unwrap().push(line.as_text().to_owned());
            ControlFlow::Continue(())
        });
        ledger.export(org, &LedgerQuery::default(), keep).await.unwrap();
        std::mem::take(&mut *kept.lock().unwrap())
    }

    #[tokio::test]
    async fn the_chain_of_a_directory_is_stored_as_it_is_and_nodes_write_beside_it() {
        let Some(cluster) = Cluster::shared() else { return };
        let org = OrgId::parse("acme").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let source = FileLedger::open(dir.path(), LedgerSync::Group).unwrap();
        for n in 0..30 {
            source.append(&event(n)).await.unwrap();
        }
        let whole = lines(&source, &org).await;
        // The second time as a chain whose oldest records were dropped.
        for from in [0, 11] {
            let database = Database::new(cluster).await;
            let pool = database.pool_as(SUPERUSER).await;
            let key = Some(&[7; 32]);
            let owner = PostgresLedger::open(pool, node("moved"), key).await.unwrap();
            let wanted = &whole[from..];
            owner.import(&org, wanted[..9].to_vec()).await.unwrap();
            owner.import(&org, wanted[..1].to_vec()).await.unwrap_err();
            owner.import(&org, wanted[10..].to_vec()).await.unwrap_err();
            owner.import(&org, vec![wanted[9].replacen("acme", "acne", 1)]).await.unwrap_err();
            owner.import(&org, wanted[9..].to_vec()).await.unwrap();
            assert_eq!(lines(&owner, &org).await, wanted);
            let serving = database.sealed_ledger("one", 8 << 20, key).await;
            serving.append(&event(99)).await.unwrap();
            let report = serving.verify(&org).await.unwrap();
            assert!(report.is_intact(), "{report:?}");
            assert_eq!((report.records, report.anchored), (wanted.len() as u64 + 1, from > 0));
            assert_eq!(report.chains.len(), 2, "{report:?}");
            let page =
                serving.read(&org, &LedgerQuery { limit: 100, ..LedgerQuery::default() }).await.unwrap();
            assert_eq!(page.entries.len(), wanted.len() + 1);
            assert!(lines(&serving, &org).await.starts_with(wanted));
            let place = "org = 'acme' AND node = '' AND seq = 20";
            database
                .cluster
                .sql(&database.name, &format!("DELETE FROM portcullis.ledger_records WHERE {place}"));
            assert!(
                !serving.verify(&org).await.unwrap().is_intact(),
                "a record that was taken out is missed"
            );
        }
    }
}
